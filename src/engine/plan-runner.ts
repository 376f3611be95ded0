import type { CustomJob } from './plan-job.ts';
import type { PlanTables } from './plan-tables.ts';

/** Runs the jobs of one balancer in other threads. They must not overlap: the caller queues them. */
export interface PlanRunner {
  /** Layers of the job in flight, or of the last one, that are planned. */
  readonly layersDone: number;
  /** Threads that were started for it, and how often one was woken. */
  readonly workersStarted: number;
  readonly workersWoken: number;
  /**
   * Runs a job, whose input must be in the shared memory by now.
   *
   * @returns the tables, on shared memory of their own; undefined when the loads differ less than the job's
   * threshold
   */
  run(job: CustomJob, signal?: AbortSignal): Promise<PlanTables | undefined>;
  /** Starts the threads of a job and waits until they are ready. */
  start(): Promise<void>;
  /** Stops the job in flight: its promise is rejected with `EPLB_CANCELLED`. */
  cancel(): void;
  /** Lets go of the threads. No job may be in flight. */
  close(): Promise<void>;
}
