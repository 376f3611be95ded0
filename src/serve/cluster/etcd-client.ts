import { readFile } from 'node:fs/promises';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { performance } from 'node:perf_hooks';
import { EplbError } from '../../core/errors.ts';
import { fileReason } from '../../formats/bytes/file-reason.ts';
import { wholeAnswer } from '../whole-answer.ts';
import type { EtcdSettings } from './etcd-settings.ts';
import type { KeyValue, RangeRequest, RangeResponse, Txn, TxnResponse, WatchResponse } from './etcd-types.ts';

/** What the settings name, read. */
interface TlsFiles {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** Why etcd did not do what it was asked, or nobody knows whether it did. */
export class EtcdError extends EplbError {
  /** Whether the same may be asked again: nobody knows whether it was done. */
  readonly isUnknown: boolean;
  /** etcd's own number of the reason: that of gRPC. */
  readonly reason: number | undefined;
  constructor(message: string, isUnknown: boolean, reason?: number, options?: ErrorOptions) {
    super('EPLB_ETCD', `etcd: ${message}`, options);
    this.isUnknown = isUnknown;
    this.reason = reason;
  }
}

/** Reasons after which another member, or another moment, may do: see the codes of gRPC. */
const PASSING_REASONS: readonly number[] = [1, 2, 4, 10, 13, 14];
/** etcd hashes passwords slowly, on purpose. */
const AUTHENTICATE_MS = 5000;
const UNAUTHENTICATED = 16;

/**
 * etcd's v3 API by its JSON gateway, which every member has: so no client library is needed. Whichever member
 * answers is asked, until it fails.
 */
export class EtcdClient {
  readonly #urls: readonly URL[];
  readonly #settings: EtcdSettings;
  readonly #attemptMs: number;
  readonly #plainAgent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #tlsAgent: TlsAgent;
  #at = 0;
  #token: string | undefined;
  #lastOkMs = performance.now();
  #lastFailure: string | undefined;
  #isClosed = false;

  private constructor(settings: EtcdSettings, tls: TlsFiles) {
    this.#settings = settings;
    this.#urls = settings.urls.map((url) => new URL(url));
    this.#tlsAgent = new TlsAgent({ keepAlive: true, maxSockets: 64, ...tls });
    // Some attempts have to fit into a lease.
    this.#attemptMs = Math.max(250, (settings.leaseSeconds * 1000) / 4);
  }

  /** @throws EplbError `EPLB_FILE` for certificates that cannot be read */
  static async open(settings: EtcdSettings): Promise<EtcdClient> {
    const { ca, cert, key } = settings.tls ?? {};
    const read = async (path: string | undefined) => {
      if (path === undefined) return undefined;
      return readFile(path).catch((cause) => {
        throw new EplbError('EPLB_FILE', `config.etcd.tls: cannot read ${path}: ${fileReason(cause)}`);
      });
    };
    const [caPem, certPem, keyPem] = await Promise.all([read(ca), read(cert), read(key)]);
    return new EtcdClient(settings, {
      ...(caPem && { ca: caPem }),
      ...(certPem && { cert: certPem }),
      ...(keyPem && { key: keyPem }),
    });
  }

  /** Since etcd did last what it was asked. */
  get silentMs(): number {
    return performance.now() - this.#lastOkMs;
  }

  /** Why the last attempt that failed did. */
  get lastFailure(): string {
    return this.#lastFailure ?? 'no answer';
  }

  /** Linearizable: no write that was acknowledged before is missing. @throws EtcdError */
  range(asked: RangeRequest, deadlineMs?: number): Promise<RangeResponse> {
    return this.#repeated('kv/range', asked, deadlineMs);
  }

  /** Once, to one member: whether it was done is not known when this fails so. @throws EtcdError */
  txn(txn: Txn): Promise<TxnResponse> {
    return this.#once('kv/txn', txn);
  }

  /**
   * Hears of changes from now on, until the connection ends or `signal` says so.
   *
   * @param begun is called once it does
   * @throws EtcdError when the connection ends
   */
  async watch(
    key: string,
    rangeEnd: string,
    heard: (response: WatchResponse) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const body = { create_request: { key: base64(key), range_end: base64(rangeEnd) } };
    const response = await this.#send('watch', body, { signal });
    if (response.statusCode !== 200) throw refusalOf(response.statusCode ?? 0, await textOf(response));
    let rest = '';
    try {
      for await (const part of response.setEncoding('utf8') as AsyncIterable<string>) {
        const lines = (rest + part).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          const { result } = JSON.parse(line) as { result?: WatchResponse };
          if (result === undefined || result.canceled) throw new EtcdError('the watch was ended', true);
          heard(result);
        }
      }
    } catch (cause) {
      if (!signal.aborted) throw unknown('the watch was cut off', cause);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#plainAgent.destroy();
    this.#tlsAgent.destroy();
  }

  /** What may be asked any number of times. */
  async #repeated<T>(path: string, body: object, deadlineMs = 3 * this.#attemptMs): Promise<T> {
    const started = performance.now();
    for (;;) {
      try {
        return await this.#once<T>(path, body);
      } catch (error) {
        const isOver = performance.now() - started >= deadlineMs || this.#isClosed;
        if (isOver || !(error instanceof EtcdError) || !error.isUnknown) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async #once<T>(path: string, body: object): Promise<T> {
    const { user } = this.#settings;
    if (user !== undefined && this.#token === undefined) await this.#authenticate();
    try {
      return await this.#ask<T>(path, body);
    } catch (error) {
      const isExpired =
        error instanceof EtcdError &&
        (error.reason === UNAUTHENTICATED || /invalid auth token|auth revision/.test(error.message));
      if (user === undefined || !isExpired) throw error;
      await this.#authenticate();
      return this.#ask<T>(path, body);
    }
  }

  async #authenticate(): Promise<void> {
    const { user, password } = this.#settings;
    this.#token = undefined;
    const { token } = await this.#ask<{ token: string }>(
      'auth/authenticate',
      { name: user, password },
      Math.max(AUTHENTICATE_MS, this.#attemptMs),
    );
    this.#token = token;
  }

  async #ask<T>(path: string, body: object, timeoutMs = this.#attemptMs): Promise<T> {
    const member = this.#at;
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await this.#send(path, body, { signal });
      const text = await textOf(response);
      if (response.statusCode !== 200) throw refusalOf(response.statusCode ?? 0, text);
      this.#lastOkMs = performance.now();
      return JSON.parse(text) as T;
    } catch (error) {
      const own = error instanceof EtcdError ? error : unknown(`${this.#urls[member]!.host}`, error);
      this.#lastFailure = own.message;
      if (own.isUnknown) this.#leave(member);
      throw own;
    }
  }

  /** Another member is asked from now on, unless one is already. */
  #leave(member: number): void {
    if (this.#at === member) this.#at = (member + 1) % this.#urls.length;
  }

  #send(path: string, body: object, { signal }: { signal: AbortSignal }): Promise<IncomingMessage> {
    const url = new URL(`/v3/${path}`, this.#urls[this.#at]);
    const isTls = url.protocol === 'https:';
    const content = JSON.stringify(body);
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(content),
      ...(this.#token === undefined ? {} : { authorization: this.#token }),
    };
    const options = { method: 'POST', headers, signal, agent: isTls ? this.#tlsAgent : this.#plainAgent };
    const asked: ClientRequest = isTls ? tlsRequest(url, options) : request(url, options);
    return new Promise((resolve, reject) => {
      asked.once('response', resolve);
      asked.on('error', (error) => reject(unknown(url.host, error)));
      asked.end(content);
    });
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const tooLong = (reason: string) => new EtcdError(`the answer is too large: ${reason}`, false);
  return (await wholeAnswer(response, tooLong)).toString('utf8');
}

function unknown(what: string, cause: unknown): EtcdError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new EtcdError(`${what}: ${reason}`, true, undefined, { cause });
}

function refusalOf(status: number, text: string): EtcdError {
  let answered: { message?: unknown; code?: unknown } = {};
  try {
    answered = JSON.parse(text);
  } catch {
    // Not from etcd, but from what stands before it.
  }
  const { message = text.slice(0, 200), code } = answered;
  const reason = typeof code === 'number' ? code : undefined;
  const isPassing = reason === undefined ? status >= 500 : PASSING_REASONS.includes(reason);
  return new EtcdError(`${status}: ${message}`, isPassing, reason);
}

/** A key as the gateway takes it. */
export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** The end of the range of all keys that begin with a prefix. */
export function endOf(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

export const keyOf = ({ key }: KeyValue): string => Buffer.from(key, 'base64').toString('utf8');
export const bytesOf = ({ value = '' }: KeyValue): Buffer => Buffer.from(value, 'base64');
