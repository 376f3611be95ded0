import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BalancerSettings } from './balancer-options.ts';
import type { WasmMemory } from './engine/kernel-exports.ts';
import type { JobLayout } from './engine/layout.ts';
import type { PlanJob } from './engine/plan-layers.ts';
import { PlanPool } from './engine/pool.ts';
import { EplbError } from './errors.ts';
import type { ExpertMapping } from './expert-mapping.ts';
import { checkLoads, type LoadMatrix, type LoadsInput, toLoadMatrix } from './load-matrix.ts';
import type { LoadWindow } from './load-window.ts';
import type { AbstractEplbPolicy, CoactivationMatrix, PolicyContext } from './policy/abstract.ts';
import { askPolicy } from './policy/custom.ts';
import { mappingOf, writePrevious } from './policy/job-tables.ts';
import { checkCoactivation } from './policy/plan-inline.ts';

/** What may accompany a plan. */
export interface PlanOptions {
  /** Which experts are routed together, for policies that use it. Must not be written until the plan has settled. */
  readonly coactivation?: CoactivationMatrix;
  /** Cancels the plan, between two layers: it is then rejected with `EPLB_CANCELLED`. */
  readonly signal?: AbortSignal;
}

/** A plan as it is asked for: from checked loads, or from the window. */
interface PlanRequest extends PlanOptions {
  readonly weight?: LoadMatrix | undefined;
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
  readonly #buffer: ArrayBufferLike;
  readonly #job: JobLayout;
  readonly #pool: PlanPool | undefined;
  /** The mapping that the workers' memory has as the one before. */
  #written: ExpertMapping | undefined;
  #isClosed = false;
  #isPlanning = false;
  #lastWork: Promise<unknown> = Promise.resolve();

  constructor(settings: BalancerSettings, memory: WasmMemory, job: JobLayout) {
    const { policy, threads } = settings;
    const url = policy instanceof URL ? policy.href : undefined;
    this.#settings = settings;
    this.#policy = policy instanceof URL ? undefined : policy;
    this.#buffer = memory.buffer;
    this.#job = job;
    this.#pool = threads === 0 ? undefined : new PlanPool(threads, memory, job, url);
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

  /** Checks what a plan is asked with. It may have to wait, and the caller may reuse the matrix: one that is not shared is copied. */
  takeLoads(weight: LoadsInput | undefined, options: PlanOptions): LoadMatrix | undefined {
    const matrix = this.#checkLoads(weight, options.coactivation);
    return matrix === undefined || isShared(matrix) ? matrix : { ...matrix, data: matrix.data.slice() };
  }

  /** Plans from checked loads, or from the window; `source` is looked at when the plan begins. */
  async plan(
    weight: LoadMatrix | undefined,
    options: PlanOptions,
    source: PlanSource,
  ): Promise<ExpertMapping> {
    return (await this.#plan({ weight, ...options }, source)) ?? source.mapping;
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
  ): Promise<ExpertMapping | undefined> {
    return this.#plan({ imbalanceThreshold, signal }, source);
  }

  async #plan(request: PlanRequest, source: PlanSource): Promise<ExpertMapping | undefined> {
    this.checkOpen();
    const { weight, coactivation, imbalanceThreshold, signal } = request;
    if (signal?.aborted) {
      throw new EplbError('EPLB_CANCELLED', 'the plan was cancelled', { cause: signal.reason });
    }
    if (weight === undefined && source.window.numSamples === 0) return source.mapping;
    this.#isPlanning = true;
    try {
      if (this.#pool !== undefined) return await this.#planInPool(this.#pool, request, source);
      const isEven =
        imbalanceThreshold !== undefined && source.window.rankLoadImbalance() <= imbalanceThreshold;
      return isEven ? undefined : this.#planHere(weight, coactivation, source);
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
    coactivation: CoactivationMatrix | undefined,
    source: PlanSource,
  ): ExpertMapping {
    const matrix = this.#checkLoads(weight, coactivation);
    if (matrix === undefined && source.window.numSamples === 0) return source.mapping;
    return this.#planHere(matrix, coactivation, source);
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
    { weight, coactivation, imbalanceThreshold, signal }: PlanRequest,
    { mapping, window }: PlanSource,
  ): Promise<ExpertMapping | undefined> {
    const request = this.#policy?.kernelRequest?.();
    if (this.#written !== mapping) writePrevious(this.#buffer, this.#job, mapping);
    this.#written = mapping;
    const loads = this.#writeLoads(weight, window);
    if (imbalanceThreshold !== undefined) {
      // Nobody waits for a look: the host's thread has two short turns then, and not a longer one.
      await nextTurn();
      this.checkOpen();
    }
    const job = { loads, hasPrevious: true, coactivation: coactivation?.data, imbalanceThreshold };
    const tables = await (request === undefined
      ? pool.runCustom(job, signal)
      : pool.runLayers({ ...job, request }, signal));
    this.checkOpen();
    return tables && mappingOf(this.#settings.topology, tables);
  }

  /** Brings the loads to plan for to where the workers read them. */
  #writeLoads(weight: LoadMatrix | undefined, window: LoadWindow): PlanJob['loads'] {
    if (weight === undefined) {
      window.writeSums(this.#job.physicalSums, this.#job.logicalSums);
      return { from: 'window', numSamples: window.numSamples };
    }
    if (isShared(weight)) return { from: 'matrix', data: weight.data };
    new Float32Array(this.#buffer, this.#job.weights, weight.data.length).set(weight.data);
    return { from: 'weights' };
  }

  #planHere(
    weight: LoadMatrix | undefined,
    coactivation: CoactivationMatrix | undefined,
    { mapping: previous, window }: PlanSource,
  ): ExpertMapping {
    const policy = this.#policy;
    if (policy === undefined) {
      const message = 'policy: one given as a module URL is planned in the pool, not in this thread';
      throw new EplbError('EPLB_POLICY', message);
    }
    const { topology } = this.#settings;
    const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
    const context: PolicyContext = { previous, ...(coactivation === undefined ? {} : { coactivation }) };
    const loads = weight ?? window.averageLogical();
    if (policy.kernelRequest?.() === undefined)
      return askPolicy(policy, policy.name, loads, topology, context);
    return policy.rebalanceExperts(loads, numPhysicalExperts, numGroups, numNodes, numRanks, context);
  }

  /** Values on a SharedArrayBuffer are checked by the workers, as they read them. */
  #checkLoads(
    weight: LoadsInput | undefined,
    coactivation: CoactivationMatrix | undefined,
  ): LoadMatrix | undefined {
    this.checkOpen();
    const { topology } = this.#settings;
    if (coactivation !== undefined) checkCoactivation(coactivation, topology);
    if (weight === undefined) return undefined;
    const matrix = toLoadMatrix('weight', weight, topology.numLayers, topology.numLogicalExperts);
    if (!isShared(matrix) || this.#pool === undefined) checkLoads('weight', matrix);
    return matrix;
  }
}

function isShared({ data }: LoadMatrix): boolean {
  return data.buffer instanceof SharedArrayBuffer;
}

function closedError(): EplbError {
  return new EplbError('EPLB_CLOSED', 'the balancer is closed');
}
