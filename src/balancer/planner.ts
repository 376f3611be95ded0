import { EplbError } from '../core/errors.ts';
import { nextTurn } from '../core/timers.ts';
import { knowsRanks } from '../core/topology.ts';
import type { JobLayout } from '../engine/layout.ts';
import { loadRunners } from '../engine/load-runners.ts';
import type { PlanRunner } from '../engine/plan-runner.ts';
import type { LoadsInput, LoadsTarget } from '../loads/load-matrix.ts';
import type { LoadWindow } from '../loads/load-window.ts';
import { checkShape } from '../mapping/check-shape.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';
import type { AbstractEplbPolicy, InternalContext, PolicyContext } from '../policy/abstract.ts';
import { askPolicy } from '../policy/custom.ts';
import type { PlanDecision } from '../policy/decision.ts';
import { type MappingHistory, writeMemory } from '../policy/history.ts';
import { plannedMapping, writePrevious } from '../policy/job-tables.ts';
import { kernelOf } from '../policy/kernels.ts';
import { mayStay } from '../policy/may-stay.ts';
import { closedError, type OpenGate } from './open-gate.ts';
import type { BalancerSettings } from './options.ts';
import { writeJobLoads } from './plan-loads.ts';
import { type PlanOptions, type PlanRequest, readPlanRequest, SYNC_NAMES } from './plan-request.ts';

/** What plans are made from. */
export interface PlanSource {
  /** The live mapping, and what is known of it. */
  readonly mapping: ExpertMapping;
  readonly history: MappingHistory;
  readonly window: LoadWindow;
}

/** Makes a balancer's plans, in the pool or in the calling thread, one after the other. */
export class Planner {
  #settings: BalancerSettings;
  readonly #policy: AbstractEplbPolicy | undefined;
  #region: KernelRegion;
  #job: JobLayout;
  /** Whether plans are made in other threads. */
  readonly #usesThreads: boolean;
  /** Loaded with the first plan that needs it: hosts that plan inline never pay for it. */
  #runner: PlanRunner | undefined;
  /** The one for the topology before, until there is one for this: so the pool's threads go on. */
  #formerRunner: PlanRunner | undefined;
  #formerWorkers = { started: 0, woken: 0 };
  readonly #openGate: OpenGate;
  /** The mapping that the workers' memory has as the one before. */
  #written: ExpertMapping | undefined;
  #isPlanning = false;
  #lastWork: Promise<unknown> = Promise.resolve();
  /** Work that has not settled. */
  #numWaiting = 0;

  constructor(settings: BalancerSettings, region: KernelRegion, job: JobLayout, openGate: OpenGate) {
    const { policy } = settings;
    this.#settings = settings;
    this.#openGate = openGate;
    this.#policy = policy instanceof URL ? undefined : policy;
    this.#region = region;
    this.#job = job;
    this.#usesThreads = policy instanceof URL || settings.maxWorkers > 0;
  }

  /** How far the plan in flight is; both 0 when there is none. */
  get progress(): { layersDone: number; numLayers: number } {
    if (!this.#isPlanning) return { layersDone: 0, numLayers: 0 };
    const runner = this.#runner ?? this.#formerRunner;
    return { layersDone: runner?.layersDone ?? 0, numLayers: this.#settings.topology.numLayers };
  }

  /** Threads that were started for plans, and how often one was woken. */
  get workers(): { readonly started: number; readonly woken: number } {
    const { started, woken } = this.#formerWorkers;
    const { workersStarted = 0, workersWoken = 0 } = this.#runner ?? {};
    return { started: started + workersStarted, woken: woken + workersWoken };
  }

  /**
   * Plans for another topology, in other memory, from the next plan on. The one in flight goes on as it
   * began.
   */
  changeTopology(settings: BalancerSettings, region: KernelRegion, job: JobLayout): void {
    this.#settings = settings;
    this.#region = region;
    this.#job = job;
    this.#written = undefined;
    if (this.#runner === undefined) return;
    this.#formerWorkers = this.workers;
    this.#formerRunner = this.#runner;
    this.#runner = undefined;
  }

  /** Starts the worker threads. */
  async start(): Promise<void> {
    this.#openGate.check();
    await this.enqueue(async () => {
      try {
        if (!this.#usesThreads) return;
        const starting = (await this.#loadRunner()).start();
        this.#closeFormerRunner();
        await starting;
      } catch (error) {
        throw this.#openGate.isClosed ? closedError() : error;
      }
    });
  }

  /** Runs `work` when all that was asked for before has settled. */
  enqueue<T>(work: () => Promise<T>): Promise<T> {
    this.#numWaiting++;
    const result = this.#lastWork.then(work).finally(() => {
      this.#numWaiting--;
    });
    this.#lastWork = result.catch(() => {});
    return result;
  }

  /**
   * Checks what a plan is asked with, by options of these names. It may have to wait, and the caller may
   * reuse what is not shared: that is copied.
   */
  take(weight: LoadsInput | undefined, options: PlanOptions, names?: readonly string[]): PlanRequest {
    this.#openGate.check();
    const isReadByWorkers = this.#usesThreads && !this.#plansFromSamples;
    const request = readPlanRequest(this.#settings.topology, weight, options, {
      isLater: true,
      isReadByWorkers,
      ...(names === undefined ? {} : { names }),
      target: isReadByWorkers && this.#numWaiting === 0 ? this.#loadsTarget : undefined,
      room: this.#usesThreads ? undefined : this.#loadsTarget,
    });
    return request.isWritten ? { ...request, writtenTo: this.#region } : request;
  }

  /** The job's loads. */
  get #loadsTarget(): LoadsTarget {
    const { kernels, buffer } = this.#region;
    const { topology, weights } = this.#job;
    const length = topology.numLayers * topology.numLogicalExperts;
    return {
      data: new Float32Array(buffer, weights, length),
      firstInvalid: () => kernels.firstInvalid(weights, length),
    };
  }

  /** Plans from what was checked, or from the window; `source` is asked when the plan begins. */
  async plan(request: PlanRequest, source: () => PlanSource): Promise<PlanDecision> {
    const decision = await this.#plan(request, source);
    if (decision === undefined)
      throw new EplbError('EPLB_INTERNAL', 'a plan without a threshold was not made');
    return decision;
  }

  /**
   * Plans from the window if the ranks' loads differ by more than the threshold, which is found out in the
   * pool too.
   *
   * @returns undefined when they do not
   */
  async planIfUneven(
    imbalanceThreshold: number,
    signal: AbortSignal,
    source: () => PlanSource,
  ): Promise<PlanDecision | undefined> {
    return this.#plan({ imbalanceThreshold, signal }, source);
  }

  async #plan(request: PlanRequest, sourceNow: () => PlanSource): Promise<PlanDecision | undefined> {
    this.#openGate.check();
    const { imbalanceThreshold, signal } = request;
    if (signal?.aborted) {
      throw new EplbError('EPLB_CANCELLED', 'the plan was cancelled', { cause: signal.reason });
    }
    const source = sourceNow();
    // Ranks may have changed since it was asked for.
    if (request.previous !== undefined) checkShape('previous', request.previous, this.#settings.topology);
    if (this.#hasNothing(request, source)) return withoutSamples(request, source);
    this.#isPlanning = true;
    try {
      if (this.#usesThreads) return await this.#planInThreads(request, sourceNow);
      const isEven =
        imbalanceThreshold !== undefined && source.window.rankLoadImbalance() <= imbalanceThreshold;
      return isEven ? undefined : this.#planHere(request, source);
    } catch (error) {
      // However far the plan was when close() cancelled it.
      throw this.#openGate.isClosed ? closedError() : error;
    } finally {
      this.#isPlanning = false;
    }
  }

  /** Plans in the calling thread, at once. */
  planSync(
    weight: LoadsInput | undefined,
    options: Omit<PlanOptions, 'signal'>,
    source: PlanSource,
  ): PlanDecision {
    this.#openGate.check();
    const room = this.#usesThreads ? undefined : this.#loadsTarget;
    const taken = { isLater: false, isReadByWorkers: false, names: SYNC_NAMES, room };
    const request = readPlanRequest(this.#settings.topology, weight, options, taken);
    return this.#hasNothing(request, source)
      ? withoutSamples(request, source)
      : this.#planHere(request, source);
  }

  /** Cancels the plan in flight and ends the threads. Idempotent. */
  async close(): Promise<void> {
    this.#openGate.close();
    this.#runner?.cancel();
    this.#formerRunner?.cancel();
    await this.#lastWork;
    await this.#runner?.close();
    await this.#formerRunner?.close();
  }

  /** @throws EplbError `EPLB_CLOSED` when the balancer was closed meanwhile */
  async #loadRunner(): Promise<PlanRunner> {
    const { policy, policyGraceMs: graceMs, request, maxWorkers: maxThreads, idle } = this.#settings;
    const { KernelRunner, PolicyRunner } = await loadRunners();
    this.#openGate.check();
    if (this.#runner !== undefined) return this.#runner;
    if (policy instanceof URL) {
      this.#runner = new PolicyRunner(this.#region, this.#job, { url: policy.href, graceMs });
    } else {
      const options = { kernel: kernelOf(request!), request: request!, maxThreads, spins: idle === 'spin' };
      this.#runner = new KernelRunner(this.#region, this.#job, options);
    }
    return this.#runner;
  }

  /** Plans are made one after the other: that one's are done. */
  #closeFormerRunner(): void {
    void this.#formerRunner?.close();
    this.#formerRunner = undefined;
  }

  async #planInThreads(plan: PlanRequest, sourceNow: () => PlanSource): Promise<PlanDecision | undefined> {
    // Ranks may change while it is loaded, too.
    while (this.#runner === undefined) await this.#loadRunner();
    if (plan.previous !== undefined) checkShape('previous', plan.previous, this.#settings.topology);
    // From here on all is of one topology, whatever becomes of the ranks.
    const [runner, region, layout, settings] = [this.#runner, this.#region, this.#job, this.#settings];
    const source = sourceNow();
    const { window } = source;
    const mapping = plan.previous ?? source.mapping;
    const history = historyFor(plan, source);
    const { coactivation, imbalanceThreshold, signal } = plan;
    const { topology, request } = settings;
    if (this.#written !== mapping) writePrevious(region.buffer, layout, mapping);
    this.#written = mapping;
    const isWritten = plan.writtenTo === region;
    const given = { ...plan, isWritten };
    const loads = writeJobLoads(region.buffer, layout, this.#plansFromSamples, given, window);
    if (imbalanceThreshold !== undefined) {
      // Nobody waits for a look: the host's thread has two short turns then, and not a longer one.
      await nextTurn();
      this.#openGate.check();
    }
    const job = {
      loads,
      hasPrevious: true,
      history: history && writeMemory(region.buffer, layout, history),
      coactivation: coactivation?.data,
      imbalanceThreshold,
    };
    const running = runner.run(job, signal);
    if (runner === this.#runner) this.#closeFormerRunner();
    const tables = await running;
    this.#openGate.check();
    if (tables === undefined) return undefined;
    if (request === undefined || this.#policy === undefined)
      return { status: 'planned', mapping: plannedMapping(topology, tables) };
    return this.#policy.decideOn(topology, tables, mapping);
  }

  /** Loads are then copied to the workers' memory before they are read. */
  get #plansFromSamples(): boolean {
    return this.#job.maxSamples > 0;
  }

  /** Whether there is nothing to plan from. */
  #hasNothing({ weight, samples, previous }: PlanRequest, { window, mapping }: PlanSource): boolean {
    const { topology } = this.#settings;
    // What is live has nothing in closed slots.
    const mayBreak = previous !== undefined || topology.rules !== undefined;
    if (mayBreak && !mayStay(previous ?? mapping, topology)) return false;
    if (samples !== undefined && this.#settings.maxSamples > 0) return samples.numSamples === 0;
    return weight === undefined && window.numSamples === 0;
  }

  #planHere(plan: PlanRequest, source: PlanSource): PlanDecision {
    const { mapping, window } = source;
    const policy = this.#policy;
    if (policy === undefined) {
      const message = 'policy: one given as a module URL is planned in the pool, not in this thread';
      throw new EplbError('EPLB_POLICY', message);
    }
    const { topology } = this.#settings;
    const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
    const { coactivation, previous = mapping } = plan;
    const { slotsPerRank } = topology;
    const samples = plan.samples ?? (plan.weight === undefined ? window.sampleMemory?.copy() : undefined);
    const history = historyFor(plan, source);
    const context: PolicyContext & InternalContext = {
      previous,
      ...(history === undefined ? {} : { history }),
      ...(coactivation === undefined ? {} : { coactivation }),
      ...(samples === undefined ? {} : { samples }),
      ...(slotsPerRank === undefined ? {} : { slotsPerRank }),
      ...(knowsRanks(topology) ? { topology } : {}),
    };
    const loads = plan.weight ?? window.averageLogical();
    if (this.#settings.request === undefined) {
      return { status: 'planned', mapping: askPolicy(policy, loads, topology, context) };
    }
    return policy.decide(loads, numPhysicalExperts, numGroups, numNodes, numRanks, context);
  }
}

function withoutSamples({ previous }: PlanRequest, { mapping }: PlanSource): PlanDecision {
  return { status: 'kept', reason: 'no samples', mapping: previous ?? mapping };
}

/** What is known of the mapping that a plan starts from: of the live one. */
function historyFor(plan: PlanRequest, { mapping, history }: PlanSource): MappingHistory | undefined {
  if ((plan.previous ?? mapping) !== mapping) return undefined;
  return { ...history, isOfWindow: plan.samples === undefined && plan.weight === undefined };
}
