import type { MigrationEvent } from '../../migration/coordinator-output.ts';
import type { CoordinatorMessage } from '../../migration/messages.ts';
import { notFound } from '../refusal.ts';
import type { Coordination } from './coordination.ts';
import { lastOutcome } from './epoch-checks.ts';
import type { EpochHost } from './epoch-host.ts';
import {
  countRanks,
  type EpochRankView,
  type EpochView,
  endedView,
  openView,
  plainView,
  rankViews,
} from './epoch-view.ts';
import { EventHub } from './event-hub.ts';
import type { RankBook } from './rank-book.ts';

/** Ended attempts that are listed. */
const MOST_LISTED = 32;

/** Where a group's epochs are, for who is told of them. */
interface Standing {
  readonly host: EpochHost;
  readonly book: RankBook;
  readonly coordination: Coordination | undefined;
  /** When the attempt under way was offered. */
  readonly offeredMs: number;
}

/** Tells ranks and listeners how a group's epochs stand. */
export class EpochTeller {
  readonly hub: EventHub;
  readonly #standing: Standing;
  /** The last message to each rank, and those of the input that is being taken. */
  readonly #orders = new Map<number, CoordinatorMessage>();
  #sent: { readonly rank: number; readonly message: CoordinatorMessage }[] = [];

  constructor(standing: Standing, maxListeners: number) {
    this.#standing = standing;
    this.hub = new EventHub(maxListeners);
  }

  get #coordination(): Coordination | undefined {
    return this.#standing.coordination;
  }

  get #host(): EpochHost {
    return this.#standing.host;
  }

  /** Another input is taken. */
  begin(): void {
    this.#sent = [];
  }

  /** Sends a message to a rank. */
  send(rank: number, message: CoordinatorMessage): void {
    this.#sent.push({ rank, message });
    const before = this.#orders.get(rank);
    this.#orders.set(rank, message);
    // Who listens has it; who has lost it says how it stands, and is answered.
    if (JSON.stringify(before) !== JSON.stringify(message)) this.hub.publish('message', message, rank);
  }

  /** The answers to a rank, and what it has been asked and not done. */
  messagesFor(rank: number): readonly CoordinatorMessage[] {
    const answers = this.#sent.filter(({ rank: to }) => to === rank).map(({ message }) => message);
    if (answers.length > 0) return answers;
    const order = this.#orders.get(rank);
    const entry = this.#coordination?.state.ranks[rank];
    if (entry?.state === 'fenced' && entry.incarnation >= 0) {
      // It may have a lease again, and does not know yet that it is out.
      return [{ type: 'fence', incarnation: entry.incarnation, token: entry.since }];
    }
    if (order === undefined || entry?.incarnation !== order.incarnation) return [];
    const waitingFor = this.#coordination!.machine.view().operation?.waitingFor ?? [];
    return waitingFor.includes(rank) || entry.state === 'unconfirmed' ? [order] : [];
  }

  /** Tells all what the coordinator did. */
  tell(event: MigrationEvent, nowMs: number): void {
    if ('rank' in event) {
      const { type: what, ...more } = event;
      this.hub.publish('rank', { what, ...more });
      return;
    }
    this.hub.publish('epoch', { what: event.type, ...this.viewNamed(event.operationId, nowMs) });
  }

  /** How all stands, for who begins to listen. */
  state(rank: number | undefined, nowMs: number): object {
    const { epoch, held: live } = this.#host.live();
    const { isPaused: paused, isDryRun: dryRun, name: group } = this.#host;
    const state = { group, epoch, digest: live.digest, paused, dryRun };
    const underWay = this.openView(nowMs) ?? null;
    return {
      ...{ ...state, underWay, ranks: countRanks(this.rankViews(nowMs)) },
      ...(rank !== undefined && { messages: this.messagesFor(rank) }),
    };
  }

  /** All ranks, for who asks. */
  ranks(nowMs: number): object {
    const { epoch, held: live } = this.#host.live();
    return { epoch, digest: live.digest, ranks: this.rankViews(nowMs) };
  }

  rankViews(nowMs: number): readonly EpochRankView[] {
    return rankViews(this.#host.declaration.numRanks, this.#standing.book, this.#coordination, nowMs);
  }

  /** The attempt that is under way. */
  openView(nowMs: number): EpochView | undefined {
    const view = this.#coordination?.machine.view();
    if (view?.operation === undefined) return undefined;
    return openView({ ...view, operation: view.operation }, (nowMs - this.#standing.offeredMs) / 1000);
  }

  /** The attempt of a name, which there is. */
  viewNamed(name: string, nowMs: number): EpochView {
    const outcome = this.#coordination!.state.outcomes.get(name);
    return outcome === undefined ? this.openView(nowMs)! : endedView(outcome);
  }

  /** How an epoch stands. @throws EplbError `EPLB_NOT_FOUND` */
  viewOf(epoch: number, nowMs: number): EpochView {
    const open = this.openView(nowMs);
    if (open?.epoch === epoch) return open;
    const outcome = lastOutcome(this.#coordination, epoch);
    if (outcome !== undefined) return endedView(outcome);
    const { epoch: now, held: live } = this.#host.live();
    if (epoch === now) return plainView(epoch, live.digest);
    const mapping = epoch < now ? this.#host.mappingAt(epoch) : undefined;
    if (mapping !== undefined) return plainView(epoch, mapping.digest());
    throw notFound(`epoch ${epoch} is not known; epoch ${now} is live`);
  }

  /** What is live, what is under way, and how the last attempts ended. */
  list(nowMs: number): object {
    const { epoch, held: live } = this.#host.live();
    const ended = [...(this.#coordination?.state.outcomes.values() ?? [])];
    return {
      ...{ epoch, digest: live.digest, underWay: this.openView(nowMs) ?? null },
      ended: ended.slice(-MOST_LISTED).map(endedView),
    };
  }
}
