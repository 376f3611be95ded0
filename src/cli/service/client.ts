import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { EplbError, type EplbErrorCode, EplbRangeError } from '../../core/errors.ts';
import { fileReason } from '../../formats/bytes/file-reason.ts';
import { quote } from '../../formats/text.ts';
import { wholeAnswer } from '../../serve/whole-answer.ts';

/** The longest event that is read. */
const MOST_EVENT_LENGTH = 256 * 2 ** 20;
/** How long an answer may take. */
const ANSWER_TIMEOUT_MS = 10_000;
/** A stream of events says something every 15 seconds. */
const QUIET_TIMEOUT_MS = 45_000;

/** Where a service is, and what lets one in. */
export interface ServicePlace {
  /** `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT` */
  readonly url: string;
  readonly token?: string;
}

/** One server-sent event. */
export interface ServiceEvent {
  readonly type: string;
  readonly data: unknown;
}

/** How a request is sent. */
interface RequestOptions {
  readonly body?: object;
  readonly accept?: string;
  readonly timeoutMs?: number;
}

/**
 * Asks a service. What it refuses is thrown with its own code and message; where nobody answers,
 * `EPLB_UNREACHABLE`.
 */
export class ServiceClient {
  readonly #place: ServicePlace;
  readonly #base: URL;
  readonly #socketPath: string | undefined;
  readonly #agent: HttpAgent | HttpsAgent;

  /** @throws EplbRangeError `EPLB_OPTION` for what is not an address */
  constructor(place: ServicePlace) {
    this.#place = place;
    const isSocket = place.url.startsWith('unix:');
    this.#socketPath = isSocket ? place.url.slice('unix:'.length) : undefined;
    this.#base = isSocket ? new URL('http://localhost') : checkedUrl(place.url);
    const Agent = this.#base.protocol === 'https:' ? HttpsAgent : HttpAgent;
    this.#agent = new Agent({ keepAlive: true });
  }

  /** Sends a request, and parses the answer as JSON; undefined where it has no content. */
  async ask<T>(method: string, path: string, body?: object, timeoutMs?: number): Promise<T> {
    const text = await this.#send(method, path, { ...(body && { body }), ...(timeoutMs && { timeoutMs }) });
    try {
      return (text.length === 0 ? undefined : JSON.parse(text.toString('utf8'))) as T;
    } catch (cause) {
      throw this.#unreachable('answers something other than JSON', cause);
    }
  }

  /** The answer as text. */
  async text(path: string): Promise<string> {
    return (await this.#send('GET', path, {})).toString('utf8');
  }

  /** The answer in bytes. */
  bytes(path: string): Promise<Uint8Array> {
    return this.#send('GET', path, { accept: 'application/octet-stream' });
  }

  /**
   * Listens to a stream of events until the signal is aborted: one that ends is begun again where it ended.
   *
   * @param onError what went wrong, each time before it is begun again
   */
  async listen(
    path: string,
    onEvent: (event: ServiceEvent) => void,
    { signal, onError, pauseMs = 200 }: StreamOptions,
  ): Promise<void> {
    const state = { lastId: undefined as string | undefined };
    while (!signal.aborted) {
      try {
        await this.#listenOnce(path, onEvent, signal, state);
      } catch (error) {
        if (!signal.aborted) onError?.(error);
      }
      if (!signal.aborted) await sleep(pauseMs, signal);
    }
  }

  /** Lets go of its connections. */
  close(): void {
    this.#agent.destroy();
  }

  async #send(method: string, path: string, options: RequestOptions): Promise<Buffer> {
    const { body, accept, timeoutMs = ANSWER_TIMEOUT_MS } = options;
    const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers = {
      ...(accept === undefined ? {} : { accept }),
      ...(content === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': content.length }),
    };
    let response: IncomingMessage;
    let answer: Buffer;
    try {
      response = await this.#again(() => this.#open(method, path, headers, content, timeoutMs));
      answer = await wholeAnswer(response);
    } catch (cause) {
      throw this.#unreachable(`does not answer: ${reasonOf(cause)}`, cause);
    }
    const status = response.statusCode ?? 0;
    if (status < 300) return answer;
    throw refusalOf(answer) ?? this.#unreachable(`answers with ${status}, and is not eplb serve`);
  }

  /** A connection that was kept may have been closed by the other side just now: then a new one is opened. */
  async #again(open: () => Promise<IncomingMessage>): Promise<IncomingMessage> {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error;
      return open();
    }
  }

  /** Resolves when the head of the answer is there. */
  #open(
    method: string,
    path: string,
    headers: Readonly<Record<string, string | number>>,
    content: Buffer | undefined,
    timeoutMs: number,
  ): Promise<IncomingMessage> {
    const { token } = this.#place;
    const request = this.#base.protocol === 'https:' ? requestHttps : requestHttp;
    return new Promise((resolve, reject) => {
      const sent: ClientRequest = request(
        new URL(path, this.#base),
        {
          method,
          agent: this.#agent,
          timeout: timeoutMs,
          headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
          ...(this.#socketPath === undefined ? {} : { socketPath: this.#socketPath }),
        },
        resolve,
      );
      sent.on('timeout', () => sent.destroy(new Error(`no answer within ${timeoutMs} ms`)));
      sent.on('error', (error: NodeJS.ErrnoException) => {
        const isStale = sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        reject(isStale ? new StaleConnection(error.message, { cause: error }) : error);
      });
      sent.end(content);
    });
  }

  async #listenOnce(
    path: string,
    onEvent: (event: ServiceEvent) => void,
    signal: AbortSignal,
    state: { lastId: string | undefined },
  ): Promise<void> {
    const headers = state.lastId === undefined ? {} : { 'last-event-id': state.lastId };
    const response = await this.#open('GET', path, headers, undefined, QUIET_TIMEOUT_MS);
    const end = () => response.destroy();
    signal.addEventListener('abort', end, { once: true });
    try {
      if (signal.aborted) return;
      if (response.statusCode !== 200) {
        throw (
          refusalOf(await wholeAnswer(response)) ?? this.#unreachable(`answers with ${response.statusCode}`)
        );
      }
      response.setEncoding('utf8');
      let rest = '';
      for await (const part of response) {
        rest += part;
        if (rest.length > MOST_EVENT_LENGTH) throw this.#unreachable('sends an event that is too long');
        const texts = rest.split('\n\n');
        rest = texts.pop()!;
        for (const text of texts) {
          const event = readEvent(text);
          if (event === undefined) continue;
          state.lastId = event.id;
          onEvent(event);
        }
      }
    } finally {
      signal.removeEventListener('abort', end);
      response.destroy();
    }
  }

  #unreachable(what: string, cause?: unknown): EplbError {
    const message = `--url: the service at ${this.#place.url} ${what}`;
    return new EplbError('EPLB_UNREACHABLE', message, { cause });
  }
}

class StaleConnection extends Error {}

/** How a stream is listened to. */
export interface StreamOptions {
  readonly signal: AbortSignal;
  readonly onError?: (error: unknown) => void;
  /** Between the end of a stream and the next one. */
  readonly pauseMs?: number;
}

/** Waits; ends early when the signal is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end, { once: true });
  });
}

function checkedUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url;
  throw new EplbRangeError('EPLB_OPTION', `--url: ${quote(text)} is neither unix:PATH, http:// nor https://`);
}

/** What the service refused, as it says so itself. */
function refusalOf(answer: Buffer): EplbError | undefined {
  try {
    const { code, message } = JSON.parse(answer.toString('utf8')) as { code: unknown; message: unknown };
    if (typeof code !== 'string' || !/^EPLB_[A-Z_]+$/.test(code) || typeof message !== 'string') {
      return undefined;
    }
    return new EplbError(code as EplbErrorCode, `the service refused: ${message}`);
  } catch {
    return undefined;
  }
}

function reasonOf(cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED' || code === 'ENOENT') return 'nobody listens there';
  return fileReason(cause);
}

function readEvent(text: string): (ServiceEvent & { readonly id: string | undefined }) | undefined {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf(':');
    if (at > 0) fields.set(line.slice(0, at), line.slice(at + 1).trimStart());
  }
  const data = fields.get('data');
  if (data === undefined) return undefined;
  return { id: fields.get('id'), type: fields.get('event') ?? 'message', data: JSON.parse(data) };
}
