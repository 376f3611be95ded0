import type { IncomingMessage } from 'node:http';
import { EplbError } from '../core/errors.ts';

/** A body as it came, in parts: whoever needs it whole pays for the copy. */
export class RequestBody {
  readonly parts: readonly Uint8Array[];
  readonly length: number;
  #whole: Uint8Array | undefined;

  constructor(parts: readonly Uint8Array[]) {
    this.parts = parts;
    this.length = parts.reduce((sum, part) => sum + part.length, 0);
  }

  /** All of it, in memory of its own, where numbers are aligned. */
  get whole(): Uint8Array {
    this.#whole ??= this.#join();
    return this.#whole;
  }

  #join(): Uint8Array {
    const whole = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

/**
 * Reads a body, as long as it is not too large. From the connection itself: the Request that hides it would
 * copy it twice; and by its events: to iterate over it takes .1 ms of a core more.
 *
 * @throws EplbError `EPLB_TOO_LARGE`; `EPLB_CLOSED` when the client goes before its end
 */
export function readBody(incoming: IncomingMessage, maxBodyBytes: number): Promise<RequestBody> {
  return new Promise((resolve, reject) => {
    const tooLarge = () =>
      new EplbError('EPLB_TOO_LARGE', `body: has more than ${maxBodyBytes} bytes, limits.maxBodyBytes`);
    if (Number(incoming.headers['content-length'] ?? 0) > maxBodyBytes) {
      reject(tooLarge());
      return;
    }
    const parts: Buffer[] = [];
    let length = 0;
    const take = (part: Buffer) => {
      length += part.length;
      if (length <= maxBodyBytes) {
        parts.push(part);
        return;
      }
      // The connection ends with the answer: nothing more of it is read.
      incoming.off('data', take);
      incoming.pause();
      reject(tooLarge());
    };
    const gone = () => reject(new EplbError('EPLB_CLOSED', 'body: the connection ended before it'));
    incoming.on('data', take);
    incoming.once('end', () => {
      // It closes after each request: an error made in vain.
      incoming.off('close', gone);
      resolve(new RequestBody(parts));
    });
    incoming.once('error', gone);
    incoming.once('close', gone);
  });
}
