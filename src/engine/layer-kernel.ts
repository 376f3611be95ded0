import type { Topology } from '../core/topology.ts';
import type { KernelExports, KernelSizes, Pointer } from '../memory/kernel-exports.ts';
import type { JobLayout } from './layout.ts';
import type { KernelRequest, PlanJob } from './plan-job.ts';
import type { PlanTables } from './plan-tables.ts';

/**
 * How the engine runs a policy's kernel on one layer after the other. The engine knows no other way to plan.
 */
export interface LayerKernel<Request extends KernelRequest = KernelRequest> {
  readonly id: Request['kernel'];
  /**
   * Layers that a thread claims at a time: what the kernel places at once, or 1 where a layer takes longer
   * than a claim.
   */
  readonly layersPerClaim: number;
  /** Why slots, ranks and experts have to be dealt evenly to ranks, nodes and groups; left out: no need. */
  readonly evenFor?: string;
  /**
   * Throws EplbRangeError `EPLB_TOPOLOGY` for sizes that it cannot plan for.
   * @param title what closed slots are called
   */
  checkTopology(request: Request, topology: Topology, title: string): void;
  /** Scratch of one thread, in bytes. */
  scratchBytes(request: Request, topology: Topology, sizes: KernelSizes): number;
  /** What all threads of a job share beside what every job has, in bytes. */
  dataBytes(request: Request, topology: Topology): number;
  /**
   * What it remembers of the loads that a mapping was planned for, in bytes. A job has what was left with the
   * plan of the live mapping, and room for what is to be remembered with the new one.
   */
  memoryBytes?(request: Request, topology: Topology): number;
  /**
   * What it remembers with a mapping whose layers were committed one by one: of each layer what was left with
   * the plan that it is of. For kernels with a memory.
   */
  joinMemories?(request: Request, topology: Topology, partOf: (layer: number) => MemoryPart): Uint8Array;
  /**
   * About how long a thread takes for a layer, in nanoseconds, measured on one core: by it a job is given
   * threads. Within a factor of three is well enough, as they go by its root.
   *
   * @param job left out where nothing is known of it
   */
  nanosecondsPerLayer(request: Request, topology: Topology, job?: WorkOfJob): number;
  /** Makes it ready to plan layers of a job in one thread. */
  bind(job: ThreadJob<Request>): BoundKernel;
  /** f64[layers x any], a copy: what it leaves of each layer beside the tables, if it does. */
  takeStats?(request: Request, buffer: ArrayBufferLike, layout: JobLayout): Float64Array;
}

/** What is known of the mapping that a layer comes from. */
export interface MemoryPart {
  /** What the kernel left with its plan; undefined when it was not planned by it. */
  readonly memory: Uint8Array | undefined;
  /** Whether it is the one that a balancer begins with, which was made for no loads. */
  readonly isInitial: boolean;
  /** How many steps older its plan is than the newest of the layers. */
  readonly extraSteps: number;
}

/** What of a job tells how long it takes. */
export type WorkOfJob = Pick<PlanJob, 'loads' | 'coactivation'>;

/** A layer kernel that is ready for a job, in one thread. */
export interface BoundKernel {
  /**
   * Plans layers, into `slots` and `ranks` of the job. Where the job is cancelled meanwhile nothing may be
   * made of them.
   *
   * @param count at most `layersPerClaim`
   */
  plan(first: number, count: number): void;
  /**
   * What is left to do for all layers together, in the thread that planned the last one.
   * @param out the job's tables
   */
  finish?(out: PlanTables): void;
}

/** A job as one thread has it. */
export interface ThreadJob<Request extends KernelRequest = KernelRequest> {
  readonly kernels: KernelExports;
  readonly buffer: ArrayBufferLike;
  readonly layout: JobLayout;
  readonly job: PlanJob;
  readonly request: Request;
  /** The thread's own, as many bytes as the kernel asked for, and no fewer than what every job needs. */
  readonly scratch: Pointer;
  /**
   * i32[layersPerClaim x physical] each: where the layers of a claim are planned, and which replica each slot
   * holds.
   */
  readonly slots: Pointer;
  readonly ranks: Pointer;
}
