import { EventParser } from './sse.ts';

/** Milliseconds before the next try: the first, and the longest. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
/** The service says something every 15 seconds. */
const SILENT_MS = 40_000;

/** What becomes of a connection. */
export interface ConnectionListener {
  onEvent(type: string, data: unknown): void;
  onStatus(status: 'connecting' | 'live' | 'lost', reason: string): void;
  /** It is not tried again: the token is wrong, or there is no such group. */
  onRefused(status: number, reason: string): void;
}

/**
 * A stream of events that comes back by itself, and goes on where it was. While the tab is hidden there is
 * none: browsers have few connections to one host, for all tabs together.
 */
export class LiveConnection {
  readonly #path: string;
  readonly #token: string | undefined;
  readonly #listener: ConnectionListener;
  #lastEventId = '';
  #attempt: AbortController | undefined;
  #isClosed = false;
  readonly #onVisible = () => this.#followVisibility();

  /** @param path relative to the page */
  constructor(path: string, token: string | undefined, listener: ConnectionListener) {
    this.#path = path;
    this.#token = token;
    this.#listener = listener;
    document.addEventListener('visibilitychange', this.#onVisible);
    this.#followVisibility();
  }

  close(): void {
    this.#isClosed = true;
    this.#attempt?.abort();
    document.removeEventListener('visibilitychange', this.#onVisible);
  }

  #followVisibility(): void {
    if (this.#isClosed) return;
    if (document.hidden) {
      this.#attempt?.abort();
      this.#attempt = undefined;
    } else if (this.#attempt === undefined) {
      const attempt = new AbortController();
      this.#attempt = attempt;
      void this.#run(attempt.signal);
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    let waitMs = FIRST_WAIT_MS;
    this.#listener.onStatus('connecting', '');
    while (!signal.aborted) {
      let reason = 'the service does not answer';
      try {
        const response = await this.#ask(signal);
        if (response.ok) {
          waitMs = FIRST_WAIT_MS;
          await this.#read(response, signal);
          reason = 'the stream has ended';
        } else {
          reason = await reasonOf(response);
          if ([401, 403, 404].includes(response.status)) {
            this.#isClosed = true;
            if (!signal.aborted) this.#listener.onRefused(response.status, reason);
            return;
          }
        }
      } catch {
        // Tried again, as long as it is wanted.
      }
      if (signal.aborted) return;
      this.#listener.onStatus('lost', reason);
      await pause(waitMs, signal);
      waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS);
    }
  }

  #ask(signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept: 'text/event-stream' };
    if (this.#token !== undefined) headers.authorization = `Bearer ${this.#token}`;
    if (this.#lastEventId !== '') headers['last-event-id'] = this.#lastEventId;
    return fetch(this.#path, { headers, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' });
  }

  async #read(response: Response, signal: AbortSignal): Promise<void> {
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    let silence = 0;
    try {
      while (!signal.aborted) {
        clearTimeout(silence);
        silence = setTimeout(() => void reader.cancel(), SILENT_MS);
        const { done, value } = await reader.read();
        if (done || signal.aborted) return;
        this.#listener.onStatus('live', '');
        for (const { type, data, id } of parser.push(value)) {
          this.#listener.onEvent(type, JSON.parse(data));
          this.#lastEventId = id;
        }
      }
    } finally {
      clearTimeout(silence);
    }
  }
}

async function reasonOf(response: Response): Promise<string> {
  try {
    const { message } = (await response.json()) as { message?: unknown };
    return String(message);
  } catch {
    return `status ${response.status}`;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        done();
      },
      { once: true },
    );
  });
}
