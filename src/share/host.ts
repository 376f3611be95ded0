import type { MessagePort } from 'node:worker_threads';
import { checkBalancer, type ExpertLoadBalancer, sharedParts } from '../balancer/expert-load-balancer.ts';
import type { LoadSource, SharedParts } from '../balancer/shared-parts.ts';
import { errorAnswer, type WorkerAnswer } from '../engine/worker-task.ts';
import type { LoadMatrix } from '../loads/load-matrix.ts';
import { foldRow } from '../loads/load-rows.ts';
import { tablesOf } from '../mapping/expert-mapping.ts';
import type { MappingTables } from '../mapping/mapping-tables.ts';
import { loadComlink } from './comlink.ts';
import { Lane } from './lane.ts';
import type { BalancerControl, Connection, FirstConnection } from './protocol.ts';

/**
 * Opens a balancer to one other thread of the host. Send the port there, in the transfer list, and call
 * `connectBalancer` with it. Call this once for each thread.
 *
 * Loads recorded in the other thread enter the step being recorded when `advanceWindow` is called. Loads and
 * the mapping go through shared memory; only control messages go through the port. The port does not keep the
 * process alive.
 *
 * The thread may end at any moment: what it has recorded counts, and a row that it was recording counts
 * either whole or not at all. If the loads of several threads add up to more than the largest float32,
 * 3.4e38, they count as that.
 * @example
 * ```ts
 * const port = shareBalancer(balancer);
 * worker.postMessage({ port }, [port]);
 * ```
 *
 * @throws EplbTypeError `EPLB_KIND` for what is not a balancer, EplbRangeError `EPLB_MEMORY`
 */
export function shareBalancer(balancer: ExpertLoadBalancer): MessagePort {
  const guest = new Guest(checkBalancer('balancer', balancer));
  // The global one, with Node's own methods: importing node:worker_threads would cost start-up.
  const { port1, port2 } = new MessageChannel() as unknown as Record<'port1' | 'port2', MessagePort>;
  port1.on('close', () => guest.leave());
  void answerCalls(guest, port1);
  return port2;
}

/** Answers what comes over the port; what comes before comlink is loaded waits in it. Never rejects. */
async function answerCalls(guest: Guest, port: MessagePort): Promise<void> {
  try {
    const { expose, transfer, nodeEndpoint } = await loadComlink();
    const connect = () => {
      const connection = guest.connect();
      return transfer(connection, [connection.moves]);
    };
    expose({ ...guest.control, connect }, nodeEndpoint(port));
    port.unref();
  } catch (error) {
    port.close();
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}

/** The balancer's side of one connected thread. */
class Guest implements LoadSource {
  readonly #balancer: ExpertLoadBalancer;
  /** The newest comes last; the thread may still record in one before it. */
  readonly #lanes: Lane[];
  /** Brings the thread further connections, once it is connected. */
  #moves: MessagePort | undefined;
  /** The mappings whose loads the thread may still record, by generation. */
  readonly #mappings = new Map<number, MappingTables>();

  constructor(balancer: ExpertLoadBalancer) {
    this.#balancer = balancer;
    this.#lanes = [new Lane(balancer.topology)];
  }

  get #parts(): SharedParts {
    return sharedParts(this.#balancer);
  }

  readonly control: Omit<BalancerControl, 'connect'> = {
    advanceWindow: () => answer(() => this.#balancer.advanceWindow()),
    rebalance: (weight) => this.#rebalance(weight),
  };

  /**
   * Takes what the thread recorded into the step being recorded, each row through the mapping it was recorded
   * under.
   */
  drain(): void {
    // Asked first: the thread records nothing in a lane any more once it holds a mapping by a newer one.
    const isLeft = this.#lanes.map((_, i) => this.#lanes[i + 1] !== undefined && this.#isHeld(i + 1));
    for (const lane of this.#lanes) this.#drain(lane);
    for (let i = isLeft.lastIndexOf(true); i >= 0; i--) this.#lanes.shift();
  }

  #isHeld(index: number): boolean {
    return this.#lanes.slice(index).some(({ generationHeld }) => generationHeld > 0);
  }

  #drain(lane: Lane): void {
    const { window } = this.#parts;
    const live = this.#balancer.generation;
    lane.drain({
      logical: (layer, row) => window.addLogical(layer, row),
      physical: (layer, row, generation) => {
        if (generation === live) {
          window.addPhysical(layer, row);
          return;
        }
        const logical = new Float32Array(this.#balancer.topology.numLogicalExperts);
        foldRow(row, layer, this.#mappings.get(generation)!.phyToLog, logical);
        window.addLogical(layer, logical);
      },
    });
  }

  committed(): void {
    this.#mappings.set(this.#balancer.generation, tablesOf(this.#balancer.mapping));
    const held = this.#lanes[0]!.generationHeld;
    for (const generation of this.#mappings.keys()) if (generation < held) this.#mappings.delete(generation);
  }

  /** The thread gets another lane, and other memory to read the mapping from, with rows of another length. */
  moved(): void {
    if (this.#moves === undefined) return;
    this.#lanes.push(new Lane(this.#balancer.topology));
    this.#moves.postMessage(this.#connection());
  }

  /**
   * The thread is gone: what it recorded last is taken, whole rows wherever it ended, and the lanes given up.
   */
  leave(): void {
    this.drain();
    this.#parts.sources.delete(this);
    this.#moves?.close();
  }

  /**
   * The thread begins with whatever mapping is published when it first looks, so generation 0 is never held
   * unread.
   */
  connect(): FirstConnection {
    // Made before the thread asked, and the topology may have changed since.
    this.#lanes.splice(0, this.#lanes.length, new Lane(this.#balancer.topology));
    this.#parts.sources.add(this);
    this.committed();
    const { port1, port2 } = new MessageChannel() as unknown as Record<'port1' | 'port2', MessagePort>;
    this.#moves?.close();
    this.#moves = port1;
    return { ...this.#connection(), moves: port2 };
  }

  #connection(): Connection {
    const { buffer, layout } = this.#parts.published();
    return { buffer, published: layout, lane: this.#lanes.at(-1)!.buffer };
  }

  async #rebalance(weight: LoadMatrix | undefined): Promise<WorkerAnswer> {
    try {
      await this.#balancer.rebalance(weight);
      return { ok: true };
    } catch (error) {
      return errorAnswer(error, 'EPLB_INTERNAL');
    }
  }
}

function answer(call: () => void): WorkerAnswer {
  try {
    call();
    return { ok: true };
  } catch (error) {
    return errorAnswer(error, 'EPLB_INTERNAL');
  }
}
