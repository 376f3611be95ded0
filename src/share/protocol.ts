import type { MessagePort } from 'node:worker_threads';
import type { WorkerAnswer } from '../engine/worker-task.ts';
import type { LoadMatrix } from '../loads/load-matrix.ts';
import type { PublishedLayout } from '../mapping/published-mapping.ts';

/** What a thread reads and writes as long as the topology stays: the memories are shared, not copied. */
export interface Connection {
  /** The balancer's memory: the published mapping is read from it. */
  readonly buffer: ArrayBufferLike;
  readonly published: PublishedLayout;
  /** The thread's own lane for recording. */
  readonly lane: SharedArrayBuffer;
}

/** What a thread gets when it connects. */
export interface FirstConnection extends Connection {
  /**
   * Brings a further {@link Connection} each time the topology changes: it is there before the memory that it
   * replaces says so.
   */
  readonly moves: MessagePort;
}

/** The control calls between threads. Errors come back as data: comlink keeps neither class nor code. */
export interface BalancerControl {
  connect(): FirstConnection;
  advanceWindow(): WorkerAnswer;
  rebalance(weight: LoadMatrix | undefined): Promise<WorkerAnswer>;
}
