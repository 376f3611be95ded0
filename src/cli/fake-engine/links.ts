import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

// How weights get from one rank's process to another's: over a socket in a folder that only this user can
// enter. Who needs an expert asks the rank that has it.
//
// A question is the digest of the mapping that the asker starts from, the layer and the slot; the answer a
// byte that is 1, and the weights, or a 0: the rank does not hold that mapping.

const DIGEST_BYTES = 64;
const QUESTION_BYTES = DIGEST_BYTES + 8;
/** Bytes on this machine: who is not there by then is gone. */
const TIMEOUT_MS = 5000;

/** Where the process of a rank listens. */
export const linkPath = (folder: string, rank: number): string => join(folder, `${rank}.sock`);

/** Answers the questions of other ranks. */
export class WeightServer {
  readonly #server: Server;
  readonly #path: string;
  readonly #sockets = new Set<Socket>();

  /** @param read the weights in a slot; undefined unless all slots hold what the mapping of the digest has */
  constructor(path: string, read: (digest: string, layer: number, slot: number) => Buffer | undefined) {
    this.#path = path;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      // Who asked is gone: nothing is left to do for it.
      socket.on('error', () => socket.destroy());
      let rest: Buffer = Buffer.alloc(0);
      socket.on('data', (part) => {
        rest = Buffer.concat([rest, part]);
        for (; rest.length >= QUESTION_BYTES; rest = rest.subarray(QUESTION_BYTES)) {
          const digest = rest.toString('latin1', 0, DIGEST_BYTES);
          const weights = read(digest, rest.readUInt32LE(DIGEST_BYTES), rest.readUInt32LE(DIGEST_BYTES + 4));
          if (weights === undefined) socket.write(Buffer.of(0));
          else {
            socket.write(Buffer.of(1));
            // A copy: the slot may change before all is sent.
            socket.write(Buffer.from(weights));
          }
        }
      });
    });
  }

  async listen(): Promise<void> {
    // Of a process of this rank that was killed.
    await rm(this.#path, { force: true });
    this.#server.listen(this.#path);
    await once(this.#server, 'listening');
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** What comes over a connection, in pieces of the lengths that are asked for: one at a time. */
class Incoming {
  readonly #socket: Socket;
  #parts: Buffer[] = [];
  #length = 0;
  #changed: () => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (part) => {
      this.#parts.push(part);
      this.#length += part.length;
      this.#changed();
    });
    socket.on('close', () => this.#changed());
    // Heard where it is read from.
    socket.on('error', () => {});
  }

  /** @throws Error when it ends before */
  async read(length: number): Promise<Buffer> {
    while (this.#length < length) {
      if (this.#socket.destroyed) {
        throw this.#socket.errored ?? new Error('the rank that sends has ended');
      }
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
    const all = Buffer.concat(this.#parts);
    this.#parts = [all.subarray(length)];
    this.#length -= length;
    return all.subarray(0, length);
  }
}

interface Link {
  readonly socket: Socket;
  readonly incoming: Incoming;
}

/** Connections to other ranks, for as long as one preparation takes. */
export class WeightLinks {
  readonly #folder: string;
  readonly #links = new Map<number, Link>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Reads the weights of a rank's slot. @throws Error when the rank is gone, or holds another mapping */
  async pull(from: number, digest: string, layer: number, slot: number, into: Buffer): Promise<void> {
    const { socket, incoming } = await this.#link(from);
    const question = Buffer.alloc(QUESTION_BYTES);
    question.write(digest, 'latin1');
    question.writeUInt32LE(layer, DIGEST_BYTES);
    question.writeUInt32LE(slot, DIGEST_BYTES + 4);
    try {
      socket.write(question);
      const [status] = await incoming.read(1);
      if (status !== 1) throw new Error(`rank ${from} does not hold the mapping that this starts from`);
      (await incoming.read(into.length)).copy(into);
    } catch (error) {
      this.#forget(from);
      throw error;
    }
  }

  close(): void {
    for (const rank of [...this.#links.keys()]) this.#forget(rank);
  }

  async #link(rank: number): Promise<Link> {
    const known = this.#links.get(rank);
    if (known !== undefined) return known;
    const socket = connect(linkPath(this.#folder, rank));
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`rank ${rank} does not answer`)));
    const link = { socket, incoming: new Incoming(socket) };
    this.#links.set(rank, link);
    try {
      await once(socket, 'connect');
    } catch (cause) {
      this.#forget(rank);
      throw new Error(`rank ${rank} cannot be reached`, { cause });
    }
    return link;
  }

  #forget(rank: number): void {
    this.#links.get(rank)?.socket.destroy();
    this.#links.delete(rank);
  }
}
