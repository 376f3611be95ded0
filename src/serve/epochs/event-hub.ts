import { randomBytes } from 'node:crypto';
import { EplbError } from '../../core/errors.ts';

/** Events that are kept for those who come back. */
const MOST_EVENTS = 512;
/** What they may take together. */
const MOST_EVENT_BYTES = 2 ** 20;
/** What may wait for one reader. Who reads more slowly is cut off, and comes back. */
const MOST_WAITING_BYTES = 256 * 1024;
/** Between two signs of life on a quiet stream. */
const QUIET_MS = 15_000;

/** Where the events of one listener go. */
export interface EventSink {
  /** Bytes that were written and not sent yet. */
  readonly waitingBytes: number;
  write(text: string): void;
  /** Ends it when all is sent. */
  end(): void;
  /** Ends it at once. */
  cut(): void;
}

/** What a listener wants to hear. */
export interface ListenOptions {
  /** Also the messages for this rank. */
  readonly rank?: number | undefined;
  /** The last event that it has heard, as it was told. */
  readonly lastEventId?: string | undefined;
  /** How all stands now, for who has heard nothing yet, or misses too much. */
  state(): object;
}

interface KeptEvent {
  readonly number: number;
  readonly rank: number | undefined;
  readonly text: string;
}

interface Listener {
  readonly sink: EventSink;
  readonly rank: number | undefined;
}

/**
 * The events of a group as a stream for any number of listeners, as server-sent events are written. An event
 * is numbered; who comes back with the number of the last one that it heard gets those after it, or, when
 * they are not kept any more, a `state` event.
 */
export class EventHub {
  readonly #maxListeners: number;
  /** Tells numbers of this process from those of another one. */
  readonly #start = randomBytes(6).toString('hex');
  readonly #listeners = new Set<Listener>();
  #events: KeptEvent[] = [];
  #bytes = 0;
  #number = 0;
  #quiet: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;

  constructor(maxListeners: number) {
    this.#maxListeners = maxListeners;
  }

  get numListeners(): number {
    return this.#listeners.size;
  }

  /** Tells all, or those who listen for a rank. */
  publish(type: string, data: object, rank?: number): void {
    const number = ++this.#number;
    const event = { number, rank, text: this.#textOf(number, type, data) };
    this.#events.push(event);
    this.#bytes += event.text.length;
    while (this.#events.length > MOST_EVENTS || this.#bytes > MOST_EVENT_BYTES) {
      this.#bytes -= this.#events.shift()!.text.length;
    }
    for (const listener of this.#listeners) {
      if (rank === undefined || rank === listener.rank) this.#write(listener, event.text);
    }
  }

  /**
   * Begins a stream.
   *
   * @returns what ends it
   * @throws EplbError `EPLB_LIMIT`, `EPLB_CLOSED`
   */
  listen(sink: EventSink, { rank, lastEventId, state }: ListenOptions): () => void {
    this.check();
    const listener = { sink, rank };
    this.#listeners.add(listener);
    const missed = this.#missedSince(lastEventId);
    if (missed === undefined) this.#write(listener, this.#textOf(this.#number, 'state', state()));
    for (const event of missed ?? []) {
      if (event.rank === undefined || event.rank === rank) this.#write(listener, event.text);
    }
    this.#quiet ??= setInterval(() => this.#sayAlive(), QUIET_MS).unref();
    return () => this.#forget(listener);
  }

  /** Whether one more may listen. @throws EplbError `EPLB_LIMIT`, `EPLB_CLOSED` */
  check(): void {
    if (this.#isClosed) throw new EplbError('EPLB_CLOSED', 'events: the group is being closed');
    if (this.#listeners.size < this.#maxListeners) return;
    const message = `events: ${this.#maxListeners} streams are open, as many as limits.maxListeners allows`;
    throw new EplbError('EPLB_LIMIT', message);
  }

  /** Ends all streams, and takes no more. */
  close(): void {
    this.#isClosed = true;
    for (const { sink } of this.#listeners) sink.end();
    this.#listeners.clear();
    clearInterval(this.#quiet);
  }

  #missedSince(lastEventId: string | undefined): readonly KeptEvent[] | undefined {
    const [start, number = ''] = (lastEventId ?? '').split('-');
    if (start !== this.#start || !/^\d{1,15}$/.test(number)) return undefined;
    const last = Number(number);
    const oldest = this.#number - this.#events.length;
    if (last < oldest || last > this.#number) return undefined;
    return this.#events.slice(last - oldest);
  }

  #textOf(number: number, type: string, data: object): string {
    return `id: ${this.#start}-${number}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  #sayAlive(): void {
    for (const listener of this.#listeners) this.#write(listener, ':\n\n');
  }

  #write(listener: Listener, text: string): void {
    const { sink } = listener;
    if (sink.waitingBytes + text.length > MOST_WAITING_BYTES) {
      this.#forget(listener);
      sink.cut();
    } else sink.write(text);
  }

  #forget(listener: Listener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    clearInterval(this.#quiet);
    this.#quiet = undefined;
  }
}
