import { checkWhole } from '../core/checks.ts';
import type { CoordinatorMessage, RankMessage } from './messages.ts';

/**
 * How a coordinator reaches its ranks. Messages may be lost, doubled and reordered, and are plain data that
 * JSON keeps. Whom a message is from is for the transport to know: it is not in the message.
 */
export interface CoordinatorTransport {
  /** Sends, or begins to. What it throws or is rejected with is reported; the message counts as lost. */
  send(rank: number, message: CoordinatorMessage): void | Promise<void>;
  /** Has each message that comes handed over. @returns what ends that */
  onMessage(listener: (rank: number, message: unknown) => void): () => void;
}

/** How a rank reaches its coordinator. */
export interface RankTransport {
  send(message: RankMessage): void | Promise<void>;
  onMessage(listener: (message: unknown) => void): () => void;
}

/** Links within one JavaScript thread: a copy of each message arrives in a later microtask. */
export class MemoryTransport implements CoordinatorTransport {
  #toCoordinator: ((rank: number, message: unknown) => void) | undefined;
  readonly #toRanks = new Map<number, (message: unknown) => void>();

  send(rank: number, message: CoordinatorMessage): void {
    const copy = structuredClone(message);
    queueMicrotask(() => this.#toRanks.get(rank)?.(copy));
  }

  onMessage(listener: (rank: number, message: unknown) => void): () => void {
    this.#toCoordinator = listener;
    return () => {
      if (this.#toCoordinator === listener) this.#toCoordinator = undefined;
    };
  }

  /** The other end of a rank's link. */
  rank(rank: number): RankTransport {
    checkWhole('rank', rank, 0);
    return {
      send: (message) => {
        const copy = structuredClone(message);
        queueMicrotask(() => this.#toCoordinator?.(rank, copy));
      },
      onMessage: (listener) => {
        this.#toRanks.set(rank, listener);
        return () => {
          if (this.#toRanks.get(rank) === listener) this.#toRanks.delete(rank);
        };
      },
    };
  }
}
