import { setImmediate as nextTurn } from 'node:timers/promises';
import { checkObject, show } from '../core/checks.ts';
import { EplbError, EplbTypeError } from '../core/errors.ts';
import { firstInClosedSlot } from '../core/open-slots.ts';
import { isShared } from '../core/typed-arrays.ts';
import type { JobLayout } from '../engine/layout.ts';
import type { KernelRequest, PlanJob } from '../engine/plan-layers.ts';
import { makeLargeTables } from '../engine/plan-tables.ts';
import { PlanPool } from '../engine/pool.ts';
import type { CoactivationMatrix } from '../loads/coactivation.ts';
import {
  checkLoads,
  copyLoads,
  type LoadMatrix,
  type LoadsInput,
  toLoadMatrix,
} from '../loads/load-matrix.ts';
import {
  checkSamples,
  type LoadSamples,
  oneSample,
  type WrittenSamples,
  writeSamples,
} from '../loads/load-samples.ts';
import type { LoadWindow } from '../loads/load-window.ts';
import { type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';
import type { AbstractEplbPolicy, PolicyContext } from '../policy/abstract.ts';
import { type AdaptiveRequest, carveAdaptiveData } from '../policy/adaptive/request.ts';
import { askPolicy } from '../policy/custom.ts';
import type { PlanDecision } from '../policy/decision.ts';
import { checkCoactivation, checkShape } from '../policy/inline.ts';
import { mappingOf, writePrevious } from '../policy/job-tables.ts';
import type { BalancerSettings } from './options.ts';

/** What may accompany a plan. */
export interface PlanOptions {
  /** Which experts are routed together, for policies that use it. Must not be written until the plan has settled. */
  readonly coactivation?: CoactivationMatrix;
  /**
   * Loads of single steps, for policies that plan from them; they then do not look at the window. Copied. Left out, such a policy takes
   * the window's steps, or `weight` as the one step there is.
   */
  readonly samples?: LoadSamples;
  /**
   * Where the experts are, if not where the live mapping has them: what moves is counted from it. It may have experts in slots that
   * are closed now, which `AdaptiveEplbPolicy` repairs with the fewest moves: say, the mapping of a balancer that had more slots.
   * Where the plan is to keep what there is, it is this mapping.
   */
  readonly previous?: ExpertMapping;
  /**
   * Cancels the plan, which is then rejected with `EPLB_CANCELLED`: between two layers, and within the search for a layer. A plan in the
   * calling thread (`threads: 0`) holds up the signal as well: only the policy's `maxEvaluations` ends it.
   */
  readonly signal?: AbortSignal;
}

/** A plan as it is asked for, with what was read and checked of its options: from checked loads, or from the window. */
export interface PlanRequest {
  readonly weight?: LoadMatrix | undefined;
  readonly coactivation?: CoactivationMatrix | undefined;
  readonly samples?: LoadSamples | undefined;
  readonly previous?: ExpertMapping | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Of the window: see {@link Planner.planIfUneven}. */
  readonly imbalanceThreshold?: number;
}

/** What plans are made from. */
export interface PlanSource {
  /** The live mapping. */
  readonly mapping: ExpertMapping;
  readonly window: LoadWindow;
}

/** Makes a balancer's plans, in the pool or in the calling thread, one after the other. */
export class Planner {
  readonly #settings: BalancerSettings;
  readonly #policy: AbstractEplbPolicy | undefined;
  readonly #region: KernelRegion;
  readonly #job: JobLayout;
  readonly #pool: PlanPool | undefined;
  /** The mapping that the workers' memory has as the one before. */
  #written: ExpertMapping | undefined;
  #isClosed = false;
  #isPlanning = false;
  #lastWork: Promise<unknown> = Promise.resolve();

  constructor(settings: BalancerSettings, region: KernelRegion, job: JobLayout) {
    const { policy, threads, policyGraceMs: graceMs } = settings;
    const custom = policy instanceof URL ? { url: policy.href, graceMs } : undefined;
    this.#settings = settings;
    this.#policy = policy instanceof URL ? undefined : policy;
    this.#region = region;
    this.#job = job;
    this.#pool = threads === 0 ? undefined : new PlanPool(threads, region, job, custom);
  }

  /** How far the plan in flight is; both 0 when there is none. */
  get progress(): { layersDone: number; numLayers: number } {
    if (!this.#isPlanning) return { layersDone: 0, numLayers: 0 };
    return { layersDone: this.#pool?.layersDone ?? 0, numLayers: this.#settings.topology.numLayers };
  }

  /** Throws EplbError `EPLB_CLOSED` after {@link close}. */
  checkOpen(): void {
    if (this.#isClosed) throw closedError();
  }

  /** Starts the worker threads. */
  async start(): Promise<void> {
    this.checkOpen();
    await this.enqueue(async () => this.#pool?.start());
  }

  /** Runs `work` when all that was asked for before has settled. */
  enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastWork.then(work);
    this.#lastWork = result.catch(() => {});
    return result;
  }

  /** Checks what a plan is asked with. It may have to wait, and the caller may reuse what is not shared: that is copied. */
  take(weight: LoadsInput | undefined, options: PlanOptions): PlanRequest {
    return this.#read(weight, options, true);
  }

  /** Plans from what was checked, or from the window; `source` is looked at when the plan begins. */
  async plan(request: PlanRequest, source: PlanSource): Promise<PlanDecision> {
    const decision = await this.#plan(request, source);
    if (decision === undefined)
      throw new EplbError('EPLB_INTERNAL', 'a plan without a threshold was not made');
    return decision;
  }

  /**
   * Plans from the window if the ranks' loads differ by more than the threshold, which is found out in the pool too.
   *
   * @returns undefined when they do not
   */
  async planIfUneven(
    imbalanceThreshold: number,
    signal: AbortSignal,
    source: PlanSource,
  ): Promise<PlanDecision | undefined> {
    return this.#plan({ imbalanceThreshold, signal }, source);
  }

  async #plan(request: PlanRequest, source: PlanSource): Promise<PlanDecision | undefined> {
    this.checkOpen();
    const { imbalanceThreshold, signal } = request;
    if (signal?.aborted) {
      throw new EplbError('EPLB_CANCELLED', 'the plan was cancelled', { cause: signal.reason });
    }
    if (this.#hasNothing(request, source)) return withoutSamples(request, source);
    this.#isPlanning = true;
    try {
      if (this.#pool !== undefined) return await this.#planInPool(this.#pool, request, source);
      const isEven =
        imbalanceThreshold !== undefined && source.window.rankLoadImbalance() <= imbalanceThreshold;
      return isEven ? undefined : this.#planHere(request, source);
    } catch (error) {
      // However far the plan was when close() cancelled it.
      throw this.#isClosed ? closedError() : error;
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
    const request = this.#read(weight, options, false);
    return this.#hasNothing(request, source)
      ? withoutSamples(request, source)
      : this.#planHere(request, source);
  }

  /** Cancels the plan in flight and ends the threads. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#pool?.cancel();
    await this.#lastWork;
    await this.#pool?.close();
  }

  async #planInPool(
    pool: PlanPool,
    plan: PlanRequest,
    { mapping: live, window }: PlanSource,
  ): Promise<PlanDecision | undefined> {
    const mapping = plan.previous ?? live;
    const { coactivation, imbalanceThreshold, signal } = plan;
    const { request } = this.#settings;
    if (this.#written !== mapping) writePrevious(this.#region.buffer, this.#job, mapping);
    this.#written = mapping;
    const loads = this.#writeLoads(request, plan, window);
    if (imbalanceThreshold !== undefined) {
      // Nobody waits for a look: the host's thread has two short turns then, and not a longer one.
      await nextTurn();
      this.checkOpen();
    }
    const job = { loads, hasPrevious: true, coactivation: coactivation?.data, imbalanceThreshold };
    const tables = await (request === undefined
      ? pool.runCustom(job, signal)
      : pool.runLayers({ ...job, request, result: makeLargeTables(this.#settings.topology) }, signal));
    this.checkOpen();
    if (tables === undefined) return undefined;
    const { topology } = this.#settings;
    if (request === undefined || this.#policy === undefined)
      return { status: 'planned', mapping: mappingOf(topology, tables) };
    return this.#policy.decideOn(topology, tables, mapping);
  }

  /** Brings the loads to plan for to where the workers read them. */
  #writeLoads(
    request: KernelRequest | undefined,
    { weight: given, samples, imbalanceThreshold, previous }: PlanRequest,
    window: LoadWindow,
  ): PlanJob['loads'] {
    // The window's sums are of the live mapping's slots, and the workers would read them by the mapping before.
    const weight = given ?? (previous === undefined ? undefined : window.averageLogical());
    if (request?.kernel === 'adaptive') {
      // What the look at the threshold reads.
      if (imbalanceThreshold !== undefined) window.writeSums(this.#job.physicalSums, this.#job.logicalSums);
      const chosen = samples ?? (given && oneSample(given));
      return { from: 'samples', ...this.#writeSamples(request, chosen, window) };
    }
    if (weight === undefined) {
      window.writeSums(this.#job.physicalSums, this.#job.logicalSums);
      return { from: 'window', numSamples: window.numSamples };
    }
    if (isShared(weight.data)) return { from: 'matrix', data: weight.data };
    new Float32Array(this.#region.buffer, this.#job.weights, weight.data.length).set(weight.data);
    return { from: 'weights' };
  }

  #writeSamples(
    request: AdaptiveRequest,
    given: LoadSamples | undefined,
    window: LoadWindow,
  ): WrittenSamples {
    const { numLayers, numLogicalExperts } = this.#settings.topology;
    const { samples: at } = carveAdaptiveData(this.#settings.topology, request, this.#job.kernelData);
    const isGiven = given !== undefined && given.numSamples > 0;
    if (!isGiven && window.buckets !== undefined && window.numSamples > 0) return window.buckets.writeTo(at);
    const length = request.maxSamples * numLayers * numLogicalExperts;
    const out = new Float32Array(this.#region.buffer, at, length);
    return writeSamples(isGiven ? given : oneSample(window.averageLogical()), request.maxSamples, out);
  }

  /** Whether there is nothing to plan from. */
  #hasNothing({ weight, samples, previous }: PlanRequest, { window }: PlanSource): boolean {
    if (
      previous !== undefined &&
      firstInClosedSlot(tablesOf(previous).phyToLog, this.#settings.topology) >= 0
    ) {
      return false;
    }
    if (samples !== undefined && this.#settings.maxSamples > 0) return samples.numSamples === 0;
    return weight === undefined && window.numSamples === 0;
  }

  #planHere(plan: PlanRequest, { mapping, window }: PlanSource): PlanDecision {
    const policy = this.#policy;
    if (policy === undefined) {
      const message = 'policy: one given as a module URL is planned in the pool, not in this thread';
      throw new EplbError('EPLB_POLICY', message);
    }
    const { topology } = this.#settings;
    const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
    const { coactivation, previous = mapping } = plan;
    const { slotsPerRank } = topology;
    const samples = plan.samples ?? (plan.weight === undefined ? window.buckets?.copy() : undefined);
    const context: PolicyContext = {
      previous,
      ...(coactivation === undefined ? {} : { coactivation }),
      ...(samples === undefined ? {} : { samples }),
      ...(slotsPerRank === undefined ? {} : { slotsPerRank }),
    };
    const loads = plan.weight ?? window.averageLogical();
    if (this.#settings.request === undefined) {
      return { status: 'planned', mapping: askPolicy(policy, loads, topology, context) };
    }
    return policy.decide(loads, numPhysicalExperts, numGroups, numNodes, numRanks, context);
  }

  /** Reads and checks what a plan is asked with, each property once. @param isLater whether it is planned in a later turn */
  #read(input: LoadsInput | undefined, options: PlanOptions, isLater: boolean): PlanRequest {
    this.checkOpen();
    const { coactivation, samples, previous, signal } = checkObject('options', options);
    const { topology } = this.#settings;
    if (previous !== undefined) checkShape('previous', previous, topology);
    if (signal !== undefined) checkSignal(signal);
    const { numLayers, numLogicalExperts } = topology;
    return {
      previous,
      signal,
      coactivation: coactivation === undefined ? undefined : checkCoactivation(coactivation, topology),
      samples: samples === undefined ? undefined : checkSamples(samples, numLayers, numLogicalExperts),
      weight: input === undefined ? undefined : this.#readWeight(input, isLater),
    };
  }

  /** Shared memory may be written by other threads: its values are checked where they are read, by the workers, or in a copy. */
  #readWeight(input: LoadsInput, isLater: boolean): LoadMatrix {
    const { numLayers, numLogicalExperts } = this.#settings.topology;
    const weight = toLoadMatrix('weight', input, numLayers, numLogicalExperts);
    if (isShared(weight.data)) {
      const isReadByWorkers = isLater && this.#pool !== undefined && !this.#plansFromSamples;
      return isReadByWorkers ? weight : copyLoads('weight', weight);
    }
    if (isLater) return copyLoads('weight', weight);
    checkLoads('weight', weight);
    return weight;
  }

  /** Loads are then copied to the workers' memory before they are read. */
  get #plansFromSamples(): boolean {
    return this.#settings.request?.kernel === 'adaptive';
  }
}

function withoutSamples({ previous }: PlanRequest, { mapping }: PlanSource): PlanDecision {
  return { status: 'kept', reason: 'no samples', mapping: previous ?? mapping };
}

function checkSignal(signal: unknown): void {
  const isSignal =
    typeof signal === 'object' &&
    signal !== null &&
    typeof Reflect.get(signal, 'aborted') === 'boolean' &&
    typeof Reflect.get(signal, 'addEventListener') === 'function';
  if (!isSignal) throw new EplbTypeError('EPLB_KIND', `signal: ${show(signal)} is not an AbortSignal`);
}

function closedError(): EplbError {
  return new EplbError('EPLB_CLOSED', 'the balancer is closed');
}
