import { EplbError } from '../../core/errors.ts';
import { EventHub, type EventSink } from '../epochs/event-hub.ts';
import type { ServeTime } from '../time.ts';

/** Between two looks for changes while somebody watches. */
const LOOK_MS = 1000;

/** What is shown, as its parts are when they are asked for. */
interface FeedSource {
  /** All of it, for who begins to watch. */
  whole(): object;
  /** What has changed since the last call; undefined when nothing has. */
  changes(): object | undefined;
}

/** The streams of a service's dashboard: of all groups together there are only so many. */
export class Watchers {
  readonly #most: number;
  #count = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get count(): number {
    return this.#count;
  }

  /** @throws EplbError `EPLB_LIMIT` */
  check(): void {
    if (this.#count < this.#most) return;
    throw new EplbError('EPLB_LIMIT', `dashboard: ${this.#most} watch already, limits.maxWatchers`);
  }

  /** @returns what gives the place back, once however often it is called */
  enter(): () => void {
    this.check();
    this.#count++;
    let isIn = true;
    return () => {
      if (isIn) this.#count--;
      isIn = false;
    };
  }
}

/**
 * Shows something to those who watch: `state` has all of it, `update` what has changed since. It is looked at
 * once a second while somebody watches, and else not at all.
 */
export class Feed {
  readonly #source: FeedSource;
  readonly #time: ServeTime;
  readonly #watchers: Watchers;
  readonly #hub: EventHub;
  #stopLooking: (() => void) | undefined;

  constructor(source: FeedSource, time: ServeTime, watchers: Watchers) {
    this.#source = source;
    this.#time = time;
    this.#watchers = watchers;
    this.#hub = new EventHub(Number.POSITIVE_INFINITY);
  }

  /** Whether one more may watch. @throws EplbError `EPLB_LIMIT`, `EPLB_CLOSED` */
  check(): void {
    this.#watchers.check();
    this.#hub.check();
  }

  /** Begins a stream. @returns what ends it @throws as {@link check} */
  watch(sink: EventSink, lastEventId: string | undefined): () => void {
    this.check();
    const leave = this.#watchers.enter();
    // Nobody looked while nobody watched: who comes back is to hear of that too.
    this.#look();
    const end = this.#hub.listen(sink, { lastEventId, state: () => this.#source.whole() });
    if (this.#stopLooking === undefined) this.#lookLater();
    return () => {
      end();
      leave();
    };
  }

  /** Ends all streams, and takes no more. */
  close(): void {
    this.#hub.close();
    this.#stopLooking?.();
    this.#stopLooking = undefined;
  }

  #look(): void {
    const changes = this.#source.changes();
    if (changes !== undefined) this.#hub.publish('update', changes);
  }

  #lookLater(): void {
    this.#stopLooking = this.#time.after(LOOK_MS, () => {
      this.#stopLooking = undefined;
      if (this.#hub.numListeners === 0) return;
      this.#look();
      this.#lookLater();
    });
  }
}

/** Which parts are others than at the last call. */
export class Changes<Parts extends object> {
  readonly #texts = new Map<string, string>();

  /** @returns the parts that are; what they are compared by is their JSON */
  of(parts: Parts): Partial<Parts> {
    const changed = Object.entries(parts).filter(([name, part]) => {
      const text = JSON.stringify(part);
      if (this.#texts.get(name) === text) return false;
      this.#texts.set(name, text);
      return true;
    });
    return Object.fromEntries(changed) as Partial<Parts>;
  }
  /** A part that is no more: when it is back, it is another. */
  forget(name: string): void {
    this.#texts.delete(name);
  }
}
