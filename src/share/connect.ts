import type { MessagePort } from 'node:worker_threads';
import type { Remote } from 'comlink';
import { checkAtLeast, show } from '../core/checks.ts';
import { fromErrorData } from '../core/error-data.ts';
import { EplbError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import type { Topology } from '../core/topology.ts';
import type { WorkerAnswer } from '../engine/worker-task.ts';
import { type LoadRow, type LoadsInput, toLoadMatrix } from '../loads/load-matrix.ts';
import { type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { PublishedMapping } from '../mapping/published-mapping.ts';
import { loadComlink } from './comlink.ts';
import { Lane } from './lane.ts';
import type { BalancerControl, Connection, FirstConnection } from './protocol.ts';

export interface ConnectOptions {
  /**
   * Milliseconds that a control call may take, 30,000 by default. A call to a thread that died would never
   * settle.
   */
  readonly timeoutMs?: number;
}

/**
 * Connects this thread to a balancer of another thread, over a port from `shareBalancer`.
 *
 * @throws (as a rejection) EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`; EplbError
 *   `EPLB_TIMEOUT` or `EPLB_CLOSED`
 */
export async function connectBalancer(
  port: MessagePort,
  options: ConnectOptions = {},
): Promise<ConnectedBalancer> {
  const timeoutMs = checkAtLeast(
    'timeoutMs',
    checkOptions('options', options, ['timeoutMs']).timeoutMs ?? 30_000,
    0,
  );
  checkPort(port);
  const calls = new BoundedCalls(port, timeoutMs);
  const { wrap, nodeEndpoint, receiveMessageOnPort } = await loadComlink();
  const control = wrap<BalancerControl>(nodeEndpoint(port));
  // Comlink listens for as long as the port is open; only calls under way may keep the thread alive.
  port.unref();
  const connection = await calls.run<FirstConnection>(control.connect());
  const { moves } = connection;
  const nextMove = () => receiveMessageOnPort(moves)?.message as Connection | undefined;
  return new ConnectedBalancer(connection, nextMove, control, calls, [port, moves]);
}

/** Not by its class: a port may be of another context. */
function checkPort(port: unknown): void {
  const isPort =
    typeof port === 'object' &&
    port !== null &&
    ['on', 'postMessage', 'close', 'ref', 'unref'].every(
      (name) => typeof Reflect.get(port, name) === 'function',
    );
  if (!isPort) throw new EplbTypeError('EPLB_KIND', `port: ${show(port)} is not a MessagePort`);
}

/**
 * A balancer that lives in another thread. Loads and the mapping go through shared memory: the calls are
 * synchronous, and neither thread waits for the other. Requests for a rebalance or a new step go through the
 * port.
 */
export class ConnectedBalancer {
  readonly #nextMove: () => Connection | undefined;
  readonly #control: Remote<BalancerControl>;
  readonly #calls: BoundedCalls;
  readonly #ports: readonly MessagePort[];
  #topology: Topology;
  #published: PublishedMapping;
  #lane: Lane;
  #mapping: ExpertMapping;
  #generation: number;

  /** @internal Use {@link connectBalancer}. */
  constructor(
    connection: Connection,
    nextMove: () => Connection | undefined,
    control: Remote<BalancerControl>,
    calls: BoundedCalls,
    ports: readonly MessagePort[],
  ) {
    this.#nextMove = nextMove;
    this.#control = control;
    this.#calls = calls;
    this.#ports = ports;
    const { topology, published, lane } = partsOf(connection);
    this.#topology = topology;
    this.#published = published;
    this.#lane = lane;
    const { mapping, generation } = published.read();
    this.#mapping = mapping;
    this.#generation = generation;
    lane.changeMapping(tablesOf(mapping), generation);
  }

  /** The sizes, and what is known of the ranks, of the mapping that was read last. */
  get topology(): Topology {
    return this.#topology;
  }

  /**
   * The live mapping, whole, as of now. Loads recorded from here on with {@link recordLoad} count as measured
   * under it, until this is read again: read it where the thread takes up a new mapping.
   */
  get mapping(): ExpertMapping {
    if (this.#published.isClosed) this.#move();
    if (this.#published.generation !== this.#generation) {
      const { mapping, generation } = this.#published.read();
      this.#lane.changeMapping(tablesOf(this.#mapping), generation);
      this.#mapping = mapping;
      this.#generation = generation;
    }
    return this.#mapping;
  }

  /** The topology has changed: what was recorded stays in the lane, by experts, and another one follows. */
  #move(): void {
    let connection: Connection | undefined;
    for (let next = this.#nextMove(); next !== undefined; next = this.#nextMove()) connection = next;
    // The balancer's thread is gone, and there is nothing further to come.
    if (connection === undefined) return;
    const { topology, published, lane } = partsOf(connection);
    const { mapping, generation } = published.read();
    this.#lane.changeMapping(tablesOf(this.#mapping), generation);
    lane.changeMapping(tablesOf(mapping), generation);
    this.#topology = topology;
    this.#published = published;
    this.#lane = lane;
    this.#mapping = mapping;
    this.#generation = generation;
  }

  /** The generation of the mapping that was read last. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * As `ExpertLoadBalancer.recordLoad`, for slots of the mapping that was read last. A load is refused when
   * it is too large for a float32 together with what this thread has recorded in the step.
   */
  recordLoad(layer: number, loads: LoadRow): void {
    this.#calls.checkOpen();
    this.#lane.recordPhysical(layer, loads);
  }

  /** As `ExpertLoadBalancer.recordLogicalLoad`. */
  recordLogicalLoad(layer: number, loads: LoadRow): void {
    this.#calls.checkOpen();
    this.#lane.recordLogical(layer, loads);
  }

  /**
   * Ends the step of the balancer, with what all threads have recorded.
   *
   * @throws (as a rejection) as {@link rebalance}
   */
  async advanceWindow(): Promise<void> {
    throwIfFailed(await this.#calls.run<WorkerAnswer>(this.#control.advanceWindow()));
  }

  /**
   * Has the balancer plan and make the mapping live, and reads it.
   *
   * @throws (as a rejection) as `ExpertLoadBalancer.rebalance`, and EplbError `EPLB_TIMEOUT` or `EPLB_CLOSED`
   */
  async rebalance(weight?: LoadsInput): Promise<ExpertMapping> {
    const matrix = weight === undefined ? undefined : toLoadMatrix('weight', weight);
    throwIfFailed(await this.#calls.run<WorkerAnswer>(this.#control.rebalance(matrix)));
    return this.mapping;
  }

  /** Leaves the balancer; what was recorded still counts. Idempotent. */
  close(): void {
    this.#calls.close();
    for (const port of this.#ports) port.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function partsOf({ buffer, published, lane }: Connection) {
  const topology = Object.freeze(published.topology);
  return {
    topology,
    published: new PublishedMapping(buffer, published),
    lane: new Lane(topology, lane),
  };
}

/** Calls over a port that end, whatever becomes of the other side. */
class BoundedCalls {
  readonly #port: MessagePort;
  readonly #timeoutMs: number;
  readonly #open = new Set<(error: EplbError) => void>();
  #isClosed = false;

  constructor(port: MessagePort, timeoutMs: number) {
    this.#port = port;
    this.#timeoutMs = timeoutMs;
    port.on('close', () => this.close());
  }

  checkOpen(): void {
    if (this.#isClosed) throw new EplbError('EPLB_CLOSED', 'the connection to the balancer is closed');
  }

  /** Settles as `call` does, or is rejected when it takes too long or the port closes. */
  async run<T>(call: Promise<T>): Promise<T> {
    this.checkOpen();
    this.#port.ref();
    let timer: NodeJS.Timeout | undefined;
    let fail: (error: EplbError) => void = () => {};
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    const late = () =>
      fail(new EplbError('EPLB_TIMEOUT', `no answer from the balancer within ${this.#timeoutMs} ms`));
    this.#open.add(fail);
    timer = setTimeout(late, this.#timeoutMs);
    try {
      return await Promise.race([call, failed]);
    } finally {
      clearTimeout(timer);
      this.#open.delete(fail);
      if (this.#open.size === 0) this.#port.unref();
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const fail of this.#open)
      fail(new EplbError('EPLB_CLOSED', 'the connection to the balancer is closed'));
  }
}

function throwIfFailed(answer: WorkerAnswer): void {
  if (!answer.ok) throw fromErrorData(answer);
}
