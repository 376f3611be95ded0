import { availableParallelism } from 'node:os';
import { checkWhole, show } from './checks.ts';
import { createKernelMemory } from './engine/kernel-memory.ts';
import { Carver, carveJob, type JobLayout } from './engine/layout.ts';
import { kernelScratchBytes, type PlanJob } from './engine/plan-layers.ts';
import { PlanPool } from './engine/pool.ts';
import { carveWindow } from './engine/window-layout.ts';
import { EplbError, EplbRangeError, EplbTypeError } from './errors.ts';
import { type ExpertMapping, mappingOfTables } from './expert-mapping.ts';
import { checkLoads, type LoadMatrix, type LoadRow, type LoadsInput, toLoadMatrix } from './load-matrix.ts';
import { LoadWindow } from './load-window.ts';
import type { AbstractEplbPolicy, CoactivationMatrix, PolicyContext } from './policy/abstract.ts';
import { askPolicy, isPolicy } from './policy/custom.ts';
import { DefaultEplbPolicy } from './policy/default.ts';
import { readMapping, writePrevious } from './policy/job-tables.ts';
import { checkCoactivation, checkShape, describe } from './policy/plan-inline.ts';
import { carvePublished, type PublishedLayout, PublishedMapping } from './published-mapping.ts';
import { checkTopology, type Topology } from './topology.ts';
import type { EplbMetrics } from './types.ts';

/** What a balancer is made of. */
export interface ExpertLoadBalancerOptions {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  /** Slots per layer: at least the experts, a multiple of `numRanks`. */
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
  /** Fast-network domains, 1 by default: `numRanks` is a multiple. */
  readonly numNodes?: number;
  /** Groups of experts that routing picks together, 1 by default: they divide the experts evenly. */
  readonly numGroups?: number;
  /**
   * Where experts go; the default policy when left out. An object with a kernel (those of this library) is planned in the
   * pool; another object in this thread; a module URL (its export `policy`, or default export) in a pool thread.
   */
  readonly policy?: AbstractEplbPolicy | URL;
  /** Steps that averages and plans look back on, 100 by default. */
  readonly windowSize?: number;
  /** Worker threads; the host's parallelism less one, at least 1, by default. 0 plans in this thread. */
  readonly threads?: number;
}

/** Other threads' loads, on their way into the window. */
export interface LoadSource {
  /** Brings what was recorded into the step being recorded; called before a step ends. */
  drain(): void;
  /** A mapping went live. */
  committed(): void;
}

/** What sharing a balancer with another thread needs of it. */
export interface SharedParts {
  readonly buffer: ArrayBufferLike;
  readonly published: PublishedLayout;
  readonly window: LoadWindow;
  readonly sources: Set<LoadSource>;
}

/** The parts of a balancer that are shared with other threads. Internal. */
export let sharedParts: (balancer: ExpertLoadBalancer) => SharedParts;

/** What may accompany a plan. */
export interface PlanOptions {
  /** Which experts are routed together, for policies that use it. Must not be written until the plan has settled. */
  readonly coactivation?: CoactivationMatrix;
  /** Cancels the plan, between two layers: it is then rejected with `EPLB_CANCELLED`. */
  readonly signal?: AbortSignal;
}

/**
 * Records the tokens each expert got, step by step, and plans which experts to replicate and where.
 *
 * Recording and reading are synchronous and cheap; planning runs in worker threads and never blocks the caller. Plans of
 * one balancer are made one after the other. One thread owns a balancer; `shareBalancer` lets others take part.
 *
 * @example
 * ```ts
 * await using balancer = new ExpertLoadBalancer({ numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 });
 * balancer.recordLogicalLoad(0, [90, 10, 40, 60]);
 * balancer.advanceWindow();
 * const mapping = await balancer.rebalance();
 * mapping.getPhysicalExperts(0, 0); // the slots of expert 0
 * ```
 */
export class ExpertLoadBalancer {
  /** The sizes, checked. */
  readonly topology: Topology;
  readonly windowSize: number;
  /** Worker threads; 0 when plans are made in this thread. */
  readonly threads: number;
  readonly #policy: AbstractEplbPolicy | undefined;
  readonly #memory: WebAssembly.Memory;
  readonly #job: JobLayout;
  readonly #publishedLayout: PublishedLayout;
  readonly #published: PublishedMapping;
  readonly #window: LoadWindow;
  readonly #pool: PlanPool | undefined;
  readonly #sources = new Set<LoadSource>();
  #mapping: ExpertMapping;
  #generation = 0;
  #isClosed = false;
  #isPlanning = false;
  #lastPlan: Promise<unknown> = Promise.resolve();

  static {
    sharedParts = (balancer) => ({
      buffer: balancer.#memory.buffer,
      published: balancer.#publishedLayout,
      window: balancer.#window,
      sources: balancer.#sources,
    });
  }

  /**
   * Carves all memory the balancer will ever use; no thread is started before the first plan.
   *
   * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_NOT_WHOLE`, `EPLB_RANGE`, `EPLB_TOPOLOGY`, or `EPLB_MEMORY`
   * when the memory, of which the message says how much, cannot be had
   */
  constructor(options: ExpertLoadBalancerOptions) {
    if (typeof options !== 'object' || options === null) {
      throw new EplbTypeError('EPLB_KIND', `options: ${show(options)} is not an object of sizes`);
    }
    const { numNodes = 1, numGroups = 1, windowSize = 100, policy = new DefaultEplbPolicy() } = options;
    this.topology = checkTopology({ ...options, numNodes, numGroups });
    this.windowSize = checkWhole('windowSize', windowSize, 1, 2 ** 24);
    const threads = checkWhole(
      'threads',
      options.threads ?? Math.max(1, availableParallelism() - 1),
      0,
      1024,
    );
    if (!isPolicy(policy) && !(policy instanceof URL)) {
      throw new EplbTypeError('EPLB_KIND', `policy: ${show(policy)} is neither a policy nor a module URL`);
    }
    if (policy instanceof URL && threads === 0) {
      throw new EplbRangeError(
        'EPLB_RANGE',
        'threads: 0 has no thread for a policy that is given as a module URL',
      );
    }
    const request = isPolicy(policy) ? policy.kernelRequest?.() : undefined;
    this.threads = request === undefined && isPolicy(policy) ? 0 : threads;
    this.#policy = isPolicy(policy) ? policy : undefined;

    const scratchBytes = request === undefined ? 0 : kernelScratchBytes(request, this.topology);
    this.#job = carveJob(this.topology, Math.max(this.threads, 1), scratchBytes);
    const carver = new Carver(this.#job.end);
    this.#publishedLayout = carvePublished(this.topology, carver);
    const windowLayout = carveWindow(this.topology, this.windowSize, carver.end);
    const what = `${describe(this.topology)} with a window of ${this.windowSize}`;
    const { memory, kernels } = createKernelMemory(windowLayout.end, what);
    this.#memory = memory;
    this.#mapping = initialMapping(this.topology);
    this.#published = new PublishedMapping(memory.buffer, this.#publishedLayout);
    this.#published.write(this.#mapping, 0);
    this.#window = new LoadWindow(
      this.topology,
      this.windowSize,
      memory.buffer,
      kernels,
      windowLayout,
      this.#mapping,
    );
    const policyUrl = policy instanceof URL ? policy.href : undefined;
    this.#pool = this.threads === 0 ? undefined : new PlanPool(this.threads, memory, this.#job, policyUrl);
  }

  /** The live mapping. At first, expert i is in slot i, and the redundant slots repeat the experts from 0 on. */
  get mapping(): ExpertMapping {
    return this.#mapping;
  }

  /** How often the live mapping was replaced. */
  get generation(): number {
    return this.#generation;
  }

  /** Steps in the window. */
  get numSamples(): number {
    return this.#window.numSamples;
  }

  /** How far the plan in flight is; both 0 when there is none. */
  get planProgress(): { layersDone: number; numLayers: number } {
    if (!this.#isPlanning) return { layersDone: 0, numLayers: 0 };
    return { layersDone: this.#pool?.layersDone ?? 0, numLayers: this.topology.numLayers };
  }

  /**
   * Adds the tokens each slot of the live mapping got to the step being recorded. Loads given twice in a step add up.
   *
   * @param loads [physical], finite and >= 0; copied
   * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_LAYER`, `EPLB_SHAPE`, `EPLB_LOAD`; nothing is recorded then
   */
  recordLoad(layer: number, loads: LoadRow): void {
    this.#checkOpen();
    this.#window.recordPhysical(layer, loads);
  }

  /** As {@link recordLoad}, for the tokens each expert got: loads [logical]. */
  recordLogicalLoad(layer: number, loads: LoadRow): void {
    this.#checkOpen();
    this.#window.recordLogical(layer, loads);
  }

  /** Ends the step being recorded: it becomes the newest sample of the window. Its cost does not grow with the window. */
  advanceWindow(): void {
    this.#checkOpen();
    for (const source of this.#sources) source.drain();
    this.#window.advance();
  }

  /**
   * The mean tokens per step of each slot, [layers x physical], over the samples recorded so far. What was recorded under
   * an older mapping, or for experts, counts for every replica of the expert evenly; so does what was recorded per slot in a
   * layer that got loads of experts in the same step. A copy.
   */
  getAverageLoad(): LoadMatrix {
    return this.#window.averagePhysical();
  }

  /** The mean tokens per step of each expert, [layers x logical], over the samples recorded so far. A copy. */
  getAverageLogicalLoad(): LoadMatrix {
    return this.#window.averageLogical();
  }

  /** The mapping's and the window's tables, copied: as large as the window, so not for every step. */
  metrics(): EplbMetrics {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.topology;
    return {
      numLayers,
      numPhysicalExperts,
      numLogicalExperts,
      numSamples: this.#window.numSamples,
      physicalToLogical: this.#mapping.phyToLog,
      logicalToPhysical: this.#mapping.logToPhy,
      logicalReplicaCount: this.#mapping.replicaCount,
      expertLoadPass: this.#window.pass(),
      expertLoadWindow: this.#window.samples(),
    };
  }

  /**
   * Starts the worker threads now instead of with the first plan, which is then as quick as the others.
   *
   * @throws (as a rejection) EplbError `EPLB_CLOSED`, `EPLB_WORKER_LOST`
   */
  async start(): Promise<void> {
    this.#checkOpen();
    await this.#enqueue(async () => this.#pool?.start());
  }

  /**
   * Plans a mapping and makes it live.
   *
   * @param weight loads [layers x logical] to plan for; the average of the window when left out
   * @returns the mapping, live by then
   * @throws as {@link plan}
   */
  async rebalance(weight?: LoadsInput, options: PlanOptions = {}): Promise<ExpertMapping> {
    const loads = this.#takeLoads(weight, options);
    return this.#enqueue(async () => {
      // Made live before the next plan begins, which is to start from it.
      const mapping = await this.#planNext(loads, options);
      this.commit(mapping);
      return mapping;
    });
  }

  /** As {@link rebalance}, in the calling thread, which it blocks for the whole plan. Not for a policy given as a URL. */
  rebalanceSync(weight?: LoadsInput, options: Omit<PlanOptions, 'signal'> = {}): ExpertMapping {
    this.#checkOpen();
    const loads = this.#checkWeight(weight);
    if (options.coactivation !== undefined) checkCoactivation(options.coactivation, this.topology);
    const mapping = this.#planInline(loads, options.coactivation);
    this.commit(mapping);
    return mapping;
  }

  /**
   * Plans a mapping without making it live, for hosts that move weights first and {@link commit} then. Resolves to the live mapping
   * itself when there is nothing to plan from: no `weight` and no sample.
   *
   * @param weight loads [layers x logical]; the average of the window as it is when the plan begins, when left out
   * @throws (as a rejection) EplbTypeError and EplbRangeError for wrong arguments; EplbError `EPLB_CLOSED`,
   * `EPLB_CANCELLED`, `EPLB_WORKER_LOST` or `EPLB_POLICY`. The live mapping is untouched then.
   */
  async plan(weight?: LoadsInput, options: PlanOptions = {}): Promise<ExpertMapping> {
    const loads = this.#takeLoads(weight, options);
    return this.#enqueue(() => this.#planNext(loads, options));
  }

  /**
   * Makes a mapping live. Loads recorded so far stay with the mapping they were recorded under.
   *
   * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE` for a mapping of another shape
   */
  commit(mapping: ExpertMapping): void {
    this.#checkOpen();
    checkShape('mapping', mapping, this.topology);
    if (mapping === this.#mapping) return;
    this.#window.changeMapping(mapping);
    this.#mapping = mapping;
    this.#generation++;
    this.#published.write(mapping, this.#generation);
    for (const source of this.#sources) source.committed();
  }

  /** Cancels the plan in flight, ends the threads and refuses all further work. Reading stays possible. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#pool?.cancel();
    await this.#lastPlan;
    await this.#pool?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Runs `work` when all that was asked of the pool before has settled. */
  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastPlan.then(work);
    this.#lastPlan = result.catch(() => {});
    return result;
  }

  async #planNext(weight: LoadMatrix | undefined, options: PlanOptions): Promise<ExpertMapping> {
    this.#checkOpen();
    if (options.signal?.aborted) {
      throw new EplbError('EPLB_CANCELLED', 'the plan was cancelled', { cause: options.signal.reason });
    }
    if (weight === undefined && this.#window.numSamples === 0) return this.#mapping;
    this.#isPlanning = true;
    try {
      if (this.#pool === undefined) return this.#planInline(weight, options.coactivation);
      return await this.#planInPool(this.#pool, weight, options);
    } catch (error) {
      // However far the plan was when it was cancelled by it.
      throw this.#isClosed ? closedError() : error;
    } finally {
      this.#isPlanning = false;
    }
  }

  async #planInPool(
    pool: PlanPool,
    weight: LoadMatrix | undefined,
    options: PlanOptions,
  ): Promise<ExpertMapping> {
    const { buffer } = this.#memory;
    const request = this.#policy?.kernelRequest?.();
    writePrevious(buffer, this.#job, this.#mapping);
    const job = {
      loads: this.#writeLoads(weight),
      hasPrevious: true,
      coactivation: options.coactivation?.data,
    };
    if (request === undefined) await pool.runCustom(job, options.signal);
    else await pool.runLayers({ ...job, request }, options.signal);
    if (this.#isClosed) throw closedError();
    return readMapping(buffer, this.#job);
  }

  /** Brings the loads to plan for to where the workers read them. */
  #writeLoads(weight: LoadMatrix | undefined): PlanJob['loads'] {
    if (weight === undefined) {
      this.#window.writeSums(this.#job.physicalSums, this.#job.logicalSums);
      return { from: 'window', numSamples: this.#window.numSamples };
    }
    if (isShared(weight)) return { from: 'matrix', data: weight.data };
    new Float32Array(this.#memory.buffer, this.#job.weights, weight.data.length).set(weight.data);
    return { from: 'weights' };
  }

  #planInline(weight: LoadMatrix | undefined, coactivation: CoactivationMatrix | undefined): ExpertMapping {
    if (this.#policy === undefined) {
      throw new EplbError(
        'EPLB_POLICY',
        'policy: one given as a module URL is planned in the pool, not in this thread',
      );
    }
    if (weight === undefined && this.#window.numSamples === 0) return this.#mapping;
    const { numPhysicalExperts, numGroups, numNodes, numRanks } = this.topology;
    const context: PolicyContext = {
      previous: this.#mapping,
      ...(coactivation === undefined ? {} : { coactivation }),
    };
    const loads = weight ?? this.#window.averageLogical();
    const policy = this.#policy;
    if (policy.kernelRequest?.() === undefined)
      return askPolicy(policy, policy.name, loads, this.topology, context);
    return policy.rebalanceExperts(loads, numPhysicalExperts, numGroups, numNodes, numRanks, context);
  }

  /** Checks what a plan is asked with. It may have to wait, and the caller may reuse the matrix: one that is not shared is copied. */
  #takeLoads(weight: LoadsInput | undefined, options: PlanOptions): LoadMatrix | undefined {
    this.#checkOpen();
    const matrix = this.#checkWeight(weight);
    if (options.coactivation !== undefined) checkCoactivation(options.coactivation, this.topology);
    return matrix === undefined || isShared(matrix) ? matrix : { ...matrix, data: matrix.data.slice() };
  }

  /** Values on a SharedArrayBuffer are checked by whoever reads them, as they are read. */
  #checkWeight(weight: LoadsInput | undefined): LoadMatrix | undefined {
    if (weight === undefined) return undefined;
    const matrix = toLoadMatrix('weight', weight, this.topology.numLayers, this.topology.numLogicalExperts);
    if (!isShared(matrix) || this.#pool === undefined) checkLoads('weight', matrix);
    return matrix;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closedError();
  }
}

function isShared({ data }: LoadMatrix): boolean {
  return data.buffer instanceof SharedArrayBuffer;
}

function closedError(): EplbError {
  return new EplbError('EPLB_CLOSED', 'the balancer is closed');
}

/** Expert i in slot i, and the redundant slots from expert 0 on again. One row is made and copied: cold code is slow. */
function initialMapping(topology: Topology): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const phyToLog = new Int32Array(numLayers * numPhysicalExperts);
  const replicaRank = new Int32Array(numLayers * numPhysicalExperts);
  for (let slot = 0; slot < numPhysicalExperts; slot++) {
    phyToLog[slot] = slot % numLogicalExperts;
    replicaRank[slot] = Math.floor(slot / numLogicalExperts);
  }
  for (let layer = 1; layer < numLayers; layer++) {
    phyToLog.copyWithin(layer * numPhysicalExperts, 0, numPhysicalExperts);
    replicaRank.copyWithin(layer * numPhysicalExperts, 0, numPhysicalExperts);
  }
  return mappingOfTables({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank });
}
