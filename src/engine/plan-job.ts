import type { WrittenSamples } from '../loads/load-samples.ts';
import type { SharedTables } from './plan-tables.ts';

/** A policy's kernel and its parameters: all that a worker is told of a policy, as plain data. */
export interface KernelRequest {
  /** The id of a layer kernel: see layer-kernel.ts. */
  readonly kernel: string;
  /** Room for so many samples in the job, for kernels that plan from samples and not from one mean load. */
  readonly maxSamples?: number;
}

/** What is known of the live mapping, from steps recorded and mappings committed and nothing else. */
export interface JobHistory {
  /** Steps recorded since the plan of the live mapping was made; all, when it was not planned here. */
  readonly numNewSteps: number;
  /** Whether no mapping was ever committed: the live one was made for no loads. */
  readonly isInitial: boolean;
  /** Whether the loads to plan for are those of the window. */
  readonly isOfWindow: boolean;
  /** Whether the job's memory holds what the kernel left when it planned the live mapping. */
  readonly hasMemory: boolean;
}

/** One planning job, as every thread that works on it sees it. Everything else is in the shared memory. */
export interface PlanJob {
  readonly request: KernelRequest;
  /**
   * Where the loads come from: the weights in the shared memory, the host's own shared matrix, the window's
   * sums with the number of samples in them, or the job's samples.
   */
  readonly loads:
    | { readonly from: 'weights' }
    | { readonly from: 'matrix'; readonly data: Float32Array }
    | { readonly from: 'window'; readonly numSamples: number }
    | ({ readonly from: 'samples' } & WrittenSamples);
  /** Whether the previous mapping is in the shared memory: then experts keep their slots where they can. */
  readonly hasPrevious: boolean;
  /** Of the live mapping; left out where nothing is known of it. */
  readonly history?: JobHistory | undefined;
  /** [layers x logical x logical] */
  readonly coactivation?: Float32Array | undefined;
  /** Where the threads write the tables, if not to the memory of the job: see {@link makeLargeTables}. */
  readonly result?: SharedTables | undefined;
  /**
   * Plan nothing unless the ranks' loads over the window differ by more: see windowImbalance in
   * kernels/rank-loads.ts.
   */
  readonly imbalanceThreshold?: number | undefined;
}

/** A job for a custom policy: without a kernel. */
export type CustomJob = Omit<PlanJob, 'request'>;
