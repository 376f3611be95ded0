import { Agent, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { EplbError } from '../../core/errors.ts';
import { EVENTS_TYPE, JSON_TYPE, type Reply } from '../reply.ts';
import { wholeAnswer } from '../whole-answer.ts';

/** On requests that one service sends to another: they are not sent on again. */
export const FORWARDED_HEADER = 'eplb-forwarded';
/** What an answer follows from beside its question, for the service that forwarded that. */
export const BASIS_HEADER = 'eplb-basis';
/** Headers of a request that the leader needs. */
const PASSED_ON = ['content-type', 'accept', 'authorization', 'last-event-id'];
/** Longer than a service takes for anything but a stream. */
const TIMEOUT_MS = 60_000;

/** A request as it came. */
export interface Forwarded {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly body: readonly Uint8Array[];
  header(name: string): string | undefined;
}

/** Sends requests to the service that leads. */
export class Forwarder {
  readonly #id: string;
  readonly #agent = new Agent({ keepAlive: true });
  #count = 0;

  /** @param id of this service */
  constructor(id: string) {
    this.#id = id;
  }

  /** Requests that were sent to the leader. */
  get count(): number {
    return this.#count;
  }

  /**
   * @param signal says that the leader is not it any more
   * @throws EplbError `EPLB_NO_LEADER`
   */
  async send(url: string, asked: Forwarded, signal: AbortSignal): Promise<Reply> {
    this.#count++;
    const response = await this.#ask(url, asked, signal);
    const { statusCode = 502, headers } = response;
    const type = headers['content-type'] ?? JSON_TYPE;
    if (statusCode === 200 && type.startsWith(EVENTS_TYPE)) {
      return { status: 200, type, content: '', stream: (outgoing) => passOn(response, outgoing) };
    }
    const passed = Object.entries(headers).filter(
      ([name]) => name.startsWith('eplb-') || name === 'retry-after' || name === 'www-authenticate',
    );
    const content = await wholeAnswer(response).catch((cause) => {
      throw unanswered('its answer was cut off, and it may have been done', cause);
    });
    return {
      status: statusCode,
      type,
      content,
      headers: Object.fromEntries(passed) as Record<string, string>,
    };
  }

  close(): void {
    this.#agent.destroy();
  }

  #ask(url: string, asked: Forwarded, signal: AbortSignal): Promise<IncomingMessage> {
    const { method, path, body } = asked;
    const length = body.reduce((sum, part) => sum + part.length, 0);
    const target = new URL(path, url);
    const given = PASSED_ON.flatMap((name) => {
      const value = asked.header(name);
      return value === undefined ? [] : [[name, value]];
    });
    const isTls = target.protocol === 'https:';
    const headers = {
      ...Object.fromEntries(given),
      [FORWARDED_HEADER]: this.#id,
      ...(length > 0 && { 'content-length': length }),
    };
    // A stream keeps its connection to itself, as it is for long.
    const isShared = !isTls && !asked.header('accept')?.includes(EVENTS_TYPE);
    const options = { method, headers, signal, timeout: TIMEOUT_MS, ...(isShared && { agent: this.#agent }) };
    return new Promise((resolve, reject) => {
      const sent = isTls ? tlsRequest(target, options) : request(target, options);
      let isConnected = false;
      sent.once('socket', (socket) => {
        if (!socket.connecting) isConnected = true;
        else socket.once('connect', () => (isConnected = true));
      });
      sent.once('timeout', () => sent.destroy(new Error('no answer in time')));
      sent.once('response', (response) => {
        // A stream may be quiet for longer.
        if (response.headers['content-type']?.startsWith(EVENTS_TYPE)) response.socket.setTimeout(0);
        resolve(response);
      });
      sent.once('error', (cause) => {
        const what = isConnected ? 'it did not answer, and may have done it' : 'it cannot be reached';
        reject(unanswered(what, cause));
      });
      for (const part of body) sent.write(part);
      sent.end();
    });
  }
}

function unanswered(what: string, cause: Error): EplbError {
  const message = `the service that leads was asked, and ${what}: ${cause.message}`;
  return new EplbError('EPLB_NO_LEADER', message, { cause });
}

/** Until either side ends it. */
function passOn(response: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  response.once('error', () => outgoing.destroy());
  outgoing.once('close', () => response.destroy());
  response.pipe(outgoing);
  return Promise.resolve();
}
