import { performance } from 'node:perf_hooks';
import { EplbError, EplbRangeError, isOwnError } from '../core/errors.ts';
import type { CostModel } from '../cost/cost-model.ts';
import type { BalancerDecision, ExpertLoadBalancer, ExpertMapping, LoadSamples } from '../index.ts';
import type { LoadMatrix } from '../loads/load-matrix.ts';
import type { GroupDashboard } from './dashboard/group-dashboard.ts';
import { layersBetween } from './epochs/damage.ts';
import { repairOf } from './epochs/repairs.ts';
import { tell } from './events.ts';
import type { PlannedRanks } from './group-ranks.ts';
import { type StateRecord, withPlan } from './group-store.ts';
import { type Held, held, type LiveEpochs } from './live-epochs.ts';
import type { GroupMetrics } from './metrics.ts';
import {
  balancednessOf,
  forecastJson,
  type GroupPlan,
  type PlanRecord,
  recordOf,
  resultOf,
} from './plan-result.ts';

/** Plans that may wait at one time. */
const MOST_WAITING = 64;

/** What a plan is asked with. */
export interface PlanQuestion {
  /** [layers x experts] to plan for; the window when left out. */
  readonly loads?: LoadMatrix | undefined;
  readonly samples?: LoadSamples | undefined;
  /** What the ranks hold; the live mapping when left out. */
  readonly previous?: ExpertMapping | undefined;
  /** Which epoch has to be live. */
  readonly generation?: number | undefined;
  /** Names the plan where no loads are given. */
  readonly planId?: string | undefined;
  /** Whether the answer is to say how balanced the loads are. */
  readonly saysBalance: boolean;
}

/** The group that plans are of. */
export interface PlanHost {
  readonly name: string;
  readonly balancer: ExpertLoadBalancer;
  readonly cost: CostModel | undefined;
  readonly epochs: LiveEpochs;
  ranks(): PlannedRanks;
  readonly metrics: GroupMetrics;
  readonly dashboard: GroupDashboard;
  readonly isPaused: boolean;
  readonly isDryRun: boolean;
  /** Throws when the group is being closed. */
  checkOpen(): void;
  /** Runs changes one after the other. */
  change<T>(work: () => Promise<T>): Promise<T>;
  append(record: StateRecord): Promise<void>;
}

/** The mean of the window; undefined when it is empty. */
export function averageLoads(balancer: ExpertLoadBalancer): LoadMatrix | undefined {
  return balancer.numSamples === 0 ? undefined : balancer.getAverageLogicalLoad();
}

/** What a group plans, and has planned. */
export class GroupPlans {
  readonly #host: PlanHost;
  /** What the last plan started from. */
  #lastPrevious: Held;
  #plans: readonly (readonly [string, GroupPlan])[] = [];
  readonly #planning = new Map<string, Promise<GroupPlan>>();
  #numWaiting = 0;
  #counts = { numPlanned: 0, numKept: 0 };

  constructor(host: PlanHost) {
    this.#host = host;
    this.#lastPrevious = host.epochs.live;
  }

  /** How many there were. */
  get counts(): { readonly numPlanned: number; readonly numKept: number } {
    return this.#counts;
  }

  /** The answers that stand for ids, as they are kept. */
  get records(): readonly (readonly [string, PlanRecord])[] {
    return this.#plans.map(([id, plan]) => [id, recordOf(plan)] as const);
  }

  /** Goes on from what was kept. */
  resume(records: readonly (readonly [string, PlanRecord])[], counts: GroupPlans['counts']): void {
    const { numPlanned, numKept } = counts;
    this.#counts = { numPlanned, numKept };
    this.#plans = records.map(([planId, plan]) => [planId, resultOf(plan)] as const);
    const { epochs } = this.#host;
    this.#lastPrevious = epochs.live;
    for (const [, { status, epoch, previousDigest, ...plan }] of this.#plans) {
      const isFromLive = epoch === epochs.epoch && previousDigest === epochs.live.digest;
      if (status === 'planned') epochs.remember(plan, isFromLive ? epoch : undefined);
    }
  }

  /** Mappings that plans are likely to start from: the live one, and that of the last question. */
  knownMappings(): readonly Held[] {
    return [this.#host.epochs.live, this.#lastPrevious];
  }

  /**
   * Plans, and changes nothing but what is known of plans.
   *
   * @throws EplbError `EPLB_STALE` for another generation than the live one, `EPLB_LIMIT`, `EPLB_CLOSED`
   */
  plan(question: PlanQuestion): Promise<GroupPlan> {
    const { planId, loads, samples, generation } = question;
    if (generation !== undefined && generation !== this.#host.epochs.epoch) {
      const message = `plan: generation ${generation} is not ${this.#host.epochs.epoch}, the live one`;
      return Promise.reject(new EplbError('EPLB_STALE', message));
    }
    if (loads !== undefined || samples !== undefined) return this.#planNow(question);
    if (planId === undefined) {
      const message = 'plan: give loads to plan for, or a planId to plan from the window';
      return Promise.reject(new EplbRangeError('EPLB_OPTION', message));
    }
    const stands = this.#plans.find(([id]) => id === planId)?.[1];
    if (stands !== undefined) return Promise.resolve(stands);
    const known = this.#planning.get(planId);
    if (known !== undefined) return known;
    const planned = this.#planOnce(planId, question).finally(() => this.#planning.delete(planId));
    this.#planning.set(planId, planned);
    return planned;
  }

  /** Plans from the window. The answer is durable before anybody gets it. */
  async #planOnce(planId: string, question: PlanQuestion): Promise<GroupPlan> {
    const result = await this.#planNow(question);
    await this.#host.change(async () => {
      await this.#host.append({ kind: 'plan', planId, plan: recordOf(result) });
      this.#plans = withPlan(this.#plans, planId, result);
    });
    return result;
  }

  async #planNow(question: PlanQuestion): Promise<GroupPlan> {
    this.#host.checkOpen();
    if (this.#numWaiting >= MOST_WAITING) {
      throw new EplbError(
        'EPLB_LIMIT',
        `plan: ${MOST_WAITING} plans of this group are waiting; ask again later`,
      );
    }
    this.#numWaiting++;
    const started = performance.now();
    const before = question.previous ?? this.#host.epochs.live.mapping;
    try {
      const result = await this.#decide(question);
      const seconds = (performance.now() - started) / 1000;
      this.#note(result, seconds);
      this.#host.dashboard.planned(result, seconds, before, question.loads);
      return result;
    } catch (error) {
      const code = isOwnError(error) ? error.code : 'EPLB_INTERNAL';
      this.#host.metrics.planned({ status: 'failed', reason: code, seconds: 0, moves: 0, bytes: 0 });
      const seconds = (performance.now() - started) / 1000;
      this.#host.dashboard.failed(code, seconds);
      const failed = { status: 'failed', reason: code, seconds, moves: 0, bytes: 0 } as const;
      tell('plan', () => ({ group: this.#host.name, epoch: this.#host.epochs.epoch, ...failed }));
      throw error;
    } finally {
      this.#numWaiting--;
    }
  }

  async #decide({ loads, samples, previous, saysBalance }: PlanQuestion): Promise<GroupPlan> {
    const epoch = this.#host.epochs.epoch;
    const before = this.#heldOf(previous);
    if (this.#host.isPaused) return this.#kept(before, epoch, 'paused');
    const { arePlanned, deadRanks } = this.#host.ranks();
    if (!arePlanned && deadRanks.length > 0) return this.#repaired(before, epoch, loads);
    const decision = await this.#host.balancer.decide(loads, {
      previous: this.#host.ranks().lay(before.mapping),
      ...(samples === undefined ? {} : { samples }),
    });
    if (decision.status === 'kept') return this.#kept(before, epoch, decision.reason);
    const result = this.#planned(decision, before, epoch);
    if (result.status === 'kept' || !saysBalance || loads === undefined) return result;
    const ranks = this.#host.ranks();
    const balancedness = {
      before: balancednessOf(loads, ranks.lay(before.mapping), ranks.now),
      after: balancednessOf(loads, ranks.lay(decision.mapping), ranks.now),
    };
    return { ...result, balancedness };
  }

  /** What keeps every expert on a rank that lives, for policies that cannot plan around dead ones. */
  #repaired(before: Held, epoch: number, loads = averageLoads(this.#host.balancer)): GroupPlan {
    const ranks = this.#host.ranks();
    const { deadRanks, speed, whole } = ranks;
    const damage = {
      live: ranks.lay(before.mapping),
      whole,
      deadRanks,
      servingRanks: [],
      speed,
      forSpeed: false,
      loads,
    };
    try {
      return this.#planned({ mapping: repairOf(damage) }, before, epoch);
    } catch (error) {
      if (!isOwnError(error) || error.code !== 'EPLB_TOPOLOGY') throw error;
      return this.#kept(before, epoch, 'too few slots');
    }
  }

  #heldOf(previous: ExpertMapping | undefined): Held {
    if (previous === undefined) return this.#host.epochs.live;
    const known = this.knownMappings().find(({ mapping }) => mapping === previous);
    this.#lastPrevious = known ?? held(previous);
    return this.#lastPrevious;
  }

  #kept({ mapping, bytes, digest }: Held, epoch: number, reason: string): GroupPlan {
    return { status: 'kept', reason, epoch, mapping, bytes, digest, previousDigest: digest, moves: 0 };
  }

  #planned(
    decision: Pick<Extract<BalancerDecision, { status: 'planned' }>, 'mapping' | 'forecast'>,
    before: Held,
    epoch: number,
  ): GroupPlan {
    const next = held(decision.mapping);
    const ranks = this.#host.ranks();
    // There may be more ranks by now than it was planned for.
    const [from, to] = [ranks.lay(before.mapping), ranks.lay(next.mapping)];
    const isSame =
      from === before.mapping && to === next.mapping
        ? next.digest === before.digest
        : layersBetween(from, to).length === 0;
    if (isSame) return this.#kept(before, epoch, 'unchanged');
    const moves = to.movesFrom(from, ranks.whole.numRanks);
    const forecast = decision.forecast === undefined ? {} : { forecast: forecastJson(decision.forecast) };
    if (this.#host.isDryRun) {
      return { ...this.#kept(before, epoch, 'dry run'), dryRun: { digest: next.digest, moves, ...forecast } };
    }
    const isFromLive = before.digest === this.#host.epochs.live.digest && epoch === this.#host.epochs.epoch;
    this.#host.epochs.remember(next, isFromLive ? epoch : undefined);
    return { status: 'planned', epoch, ...next, previousDigest: before.digest, moves, ...forecast };
  }

  #note({ status, reason, moves, epoch, forecast }: GroupPlan, seconds: number): void {
    const key = status === 'planned' ? 'numPlanned' : 'numKept';
    this.#counts = { ...this.#counts, [key]: this.#counts[key] + 1 };
    const bytes = forecast?.bytes ?? moves * (this.#host.cost?.bytesPerExpert ?? 0);
    const plan = { status, ...(reason === undefined ? {} : { reason }), seconds, moves, bytes };
    this.#host.metrics.planned(plan);
    tell('plan', () => ({ group: this.#host.name, epoch, ...plan }));
  }
}
