import { codeOf } from '../core/events.ts';
import type { LoadsInput } from '../loads/load-matrix.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { BalancerDecision, PlanDecision } from '../policy/decision.ts';
import { memoryOf } from '../policy/history.ts';
import type { LiveState } from './live-state.ts';
import { type PlanOutcome, planEvent } from './plan-event.ts';
import {
  type PlanOptions,
  type PlanRequest,
  REBALANCE_NAMES,
  type RebalanceOptions,
  readMostPlans,
} from './plan-request.ts';
import type { Planner, PlanSource } from './planner.ts';

/** What a plan is made from. */
interface PlanMoment {
  readonly mapping: ExpertMapping;
  readonly generation: number;
  readonly numSteps: number;
}

/** Plans from what is live in a balancer, remembers what each plan was made from, and reports each. */
export class BalancerPlans {
  readonly #live: LiveState;
  readonly #planner: Planner;
  /** Of plans that their caller tells of itself. */
  readonly toldElsewhere = new WeakSet<AbortSignal>();

  constructor(live: LiveState, planner: Planner) {
    this.#live = live;
    this.#planner = planner;
  }

  /** As `ExpertLoadBalancer.rebalance`. */
  async rebalance(weight: LoadsInput | undefined, options: RebalanceOptions): Promise<ExpertMapping> {
    const mostPlans = readMostPlans(options);
    const request = this.#planner.take(weight, options, REBALANCE_NAMES);
    const live = this.#live;
    return this.#planner.enqueue(async () => {
      for (let plans = 0; plans < mostPlans; plans++) {
        const { mapping, generation } = await this.#told(() => this.#decide(request));
        // Made live before the next plan begins, which is to start from it.
        if (generation === live.generation) return live.replace(mapping);
      }
      return live.mapping;
    });
  }

  /** As `ExpertLoadBalancer.rebalanceSync`. */
  rebalanceSync(weight: LoadsInput | undefined, options: Omit<RebalanceOptions, 'signal'>): ExpertMapping {
    const live = this.#live;
    for (let plansLeft = readMostPlans(options); plansLeft > 0; plansLeft--) {
      const { generation } = live;
      const { mapping, ...decision } = this.#planSync(weight, options);
      if (decision.status === 'planned') live.gains.expect(mapping, decision.forecast);
      if (generation === live.generation) return live.replace(mapping);
    }
    return live.mapping;
  }

  /** As `ExpertLoadBalancer.decide`. */
  async decide(weight: LoadsInput | undefined, options: PlanOptions): Promise<BalancerDecision> {
    const request = this.#planner.take(weight, options);
    const plan = () => this.#planner.enqueue(() => this.#decide(request));
    const { signal } = request;
    return signal && this.toldElsewhere.has(signal) ? plan() : this.#told(plan);
  }

  /** As `SharedParts.planIfUneven`. */
  decideIfUneven(threshold: number, signal: AbortSignal): Promise<BalancerDecision | undefined> {
    return this.#planner.enqueue(async () => {
      const before = this.#now();
      const decision = await this.#planner.planIfUneven(threshold, signal, () => this.#source);
      return decision && this.#note(decision, before);
    });
  }

  async #decide(request: PlanRequest): Promise<BalancerDecision> {
    const before = this.#now();
    return this.#note(await this.#planner.plan(request, () => this.#source), before);
  }

  #planSync(weight: LoadsInput | undefined, options: Omit<RebalanceOptions, 'signal'>): PlanDecision {
    const startMs = performance.now();
    const decision = this.#planner.planSync(weight, options, this.#source);
    this.#tell(decision, startMs);
    return decision;
  }

  /** Plans, and tells what became of that. */
  async #told(plan: () => Promise<BalancerDecision>): Promise<BalancerDecision> {
    const startMs = performance.now();
    try {
      const decision = await plan();
      this.#tell(decision, startMs);
      return decision;
    } catch (error) {
      this.#tell({ status: 'failed', reason: codeOf(error) }, startMs);
      throw error;
    }
  }

  #tell(outcome: PlanOutcome, startMs: number): void {
    const seconds = (performance.now() - startMs) / 1000;
    this.#live.events.tell('plan', () => planEvent(this.#live, outcome, seconds));
  }

  /**
   * Remembers what a plan was made from. What stays is the mapping that is live now: one that is live no more
   * must not come back by the commit of a plan that changes nothing.
   */
  #note(decision: PlanDecision, before: PlanMoment): BalancerDecision {
    const { generation, numSteps } = before;
    const { mappings, gains } = this.#live;
    if (decision.status === 'planned') {
      mappings.notePlan(decision.mapping, generation, numSteps);
      // What was planned for other ranks never goes live as it is.
      if (generation >= mappings.relaidAt) gains.expect(decision.mapping, decision.forecast);
    }
    const isKept = decision.status === 'kept' && decision.mapping === before.mapping;
    return { ...decision, mapping: isKept ? mappings.mapping : decision.mapping, generation };
  }

  #now(): PlanMoment {
    const { mapping, generation, numSteps } = this.#live;
    return { mapping, generation, numSteps };
  }

  get #source(): PlanSource {
    const { mapping, mappings, numSteps, window } = this.#live;
    const isInitial = mappings.isFirst(mapping);
    const history = { numNewSteps: numSteps - mappings.since, isInitial, memory: memoryOf(mapping) };
    return { mapping, history, window };
  }
}
