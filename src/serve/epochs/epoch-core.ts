import { randomUUID } from 'node:crypto';
import { checkWhole } from '../../core/checks.ts';
import { EplbError } from '../../core/errors.ts';
import { type Held, held } from '../live-epochs.ts';
import { mappingOfRecord, mappingRecord } from '../mapping-record.ts';
import type { ServeTime } from '../time.ts';
import { Coordination } from './coordination.ts';
import { type Damage, holdsExperts, layersBetween } from './damage.ts';
import { checkResizable, refusedOffer } from './epoch-checks.ts';
import {
  afterEpochs,
  type EpochHost,
  type EpochsRecord,
  NOTHING_SAVED,
  type SavedAck,
  type SavedEpochs,
} from './epoch-host.ts';
import { EpochTeller } from './epoch-teller.ts';
import { operationName, readOperationName } from './epoch-view.ts';
import { type Death, RankBook, resizedRanks, type SavedRanks } from './rank-book.ts';
import { type FoundRepair, RepairDesk } from './repair-desk.ts';

/** Other ranks than before. */
export interface Resizing {
  readonly numRanks: number;
  /** Of the new ranks, those that are declared to be dead; and how fast the new ranks are. */
  readonly deadRanks: readonly number[];
  readonly speed: readonly number[] | undefined;
  /** Brings the group to them. It changes nothing when it throws. */
  move(ranks: SavedRanks): void;
}

/**
 * Takes what comes in for a group's epochs, one after the other: makes durable what the coordinator and the
 * leases make of it, then tells it, and does what follows from it, as a repair from a death.
 */
export class EpochCore {
  readonly host: EpochHost;
  readonly book: RankBook;
  readonly teller: EpochTeller;
  readonly #time: ServeTime;
  readonly #repairs: RepairDesk;
  #coordination: Coordination | undefined;
  /** The mapping of the attempt that is under way. */
  #offered: Held | undefined;
  #offeredMs = 0;
  #ranksChanged = false;
  /** Acknowledgements that are to be made durable. */
  #acks: SavedAck[] = [];
  #news: { readonly type: string; readonly data: object }[] = [];
  #saved: SavedEpochs;
  #cancelTimer: (() => void) | undefined;
  #stopped: EplbError | undefined;

  constructor(host: EpochHost, time: ServeTime, maxListeners: number, saved?: SavedEpochs) {
    this.host = host;
    this.#time = time;
    this.teller = new EpochTeller(this, maxListeners);
    this.#saved = saved ?? NOTHING_SAVED;
    const { numRanks, deadRanks, rankSpeed } = host.declared;
    this.book = new RankBook(numRanks, deadRanks, rankSpeed ?? null);
    if (saved?.ranks !== undefined) this.book.resume(saved.ranks, time.now());
    this.#repairs = new RepairDesk(host.repairOf, this.book.speed);
    if (saved === undefined || saved.records.length === 0) return;
    this.#coordination = this.#coordinate(saved.records);
    this.#offeredMs = time.now();
    if (saved.offered !== undefined) this.#offered = held(mappingOfRecord(saved.offered));
  }

  /** It begins with the first offer, or the first rank that says hello. */
  get coordination(): Coordination | undefined {
    return this.#coordination;
  }

  get offered(): Held | undefined {
    return this.#offered;
  }

  get offeredMs(): number {
    return this.#offeredMs;
  }

  get nowMs(): number {
    return this.#time.now();
  }

  /** The book of ranks is to be kept as it is by now. */
  ranksChanged(): void {
    this.#ranksChanged = true;
  }

  /** A rank has prepared layers of the attempt that is under way. */
  prepared(ack: SavedAck): void {
    const { state } = this.#coordination!;
    const isOfAttempt =
      state.operation?.token === ack.token && state.ranks[ack.rank]!.incarnation === ack.incarnation;
    if (!this.host.keepsAcks || !isOfAttempt || state.operation?.firstStep !== undefined) return;
    const layers = new Set(ack.layers);
    for (const { rank, token, layers: known } of [...(this.#saved.acks ?? []), ...this.#acks]) {
      if (rank === ack.rank && token === ack.token) for (const layer of known) layers.delete(layer);
    }
    if (layers.size > 0) this.#acks.push({ ...ack, layers: [...layers] });
  }

  /** Goes on from what ranks had prepared. */
  recallAcks(nowMs: number): void {
    const coordination = this.#coordination;
    for (const { rank, ...ack } of this.#saved.acks ?? []) {
      coordination?.take(coordination.machine.receive(rank, { type: 'prepared', ...ack }, nowMs));
    }
  }

  /** Tells it to all, once what is known by now is durable. */
  note(type: 'rank' | 'repair', data: object): void {
    this.#news.push({ type, data });
  }

  /** What is kept of it all: not yet what is being made durable. */
  get saved(): SavedEpochs {
    return this.#saved;
  }

  /** Ends streams, and lets no more time pass. */
  close(): void {
    this.#cancelTimer?.();
    this.#stopped ??= new EplbError('EPLB_CLOSED', `group ${this.host.name}: is closed`);
    this.teller.hub.close();
  }

  /** Takes an input, makes durable what comes of it, tells it, and then answers. */
  run(work: (nowMs: number) => void): Promise<void>;
  run<T>(work: (nowMs: number) => void, answer: (nowMs: number) => T): Promise<T>;
  run<T>(work: (nowMs: number) => void, answer?: (nowMs: number) => T): Promise<T | undefined> {
    return this.host.change(async () => {
      if (this.#stopped !== undefined) throw this.#stopped;
      this.teller.begin();
      const nowMs = this.#time.now();
      try {
        work(nowMs);
      } finally {
        // What an input that failed later on has changed is made durable, too.
        await this.#commit(nowMs);
      }
      // Each may bring about another, as a death brings a repair.
      for (let i = 0; i < 4 && this.#settle(nowMs); i++) await this.#commit(nowMs);
      this.#schedule();
      return answer?.(nowMs);
    });
  }

  /**
   * Takes other ranks than before: what is known of those that stay is kept. Ranks that are new are awaited
   * where ranks take part themselves: they are as dead ones until they are heard of.
   *
   * @throws EplbError `EPLB_CONFLICT` while an attempt is under way, or for ranks that are to go and live or
   * hold experts; and as `host.move`. Nothing changes then
   */
  resize({ numRanks, deadRanks, speed, move }: Resizing): Promise<void> {
    return this.host.change(async () => {
      if (this.#stopped !== undefined) throw this.#stopped;
      const coordination = this.#coordination;
      const { numRanks: before } = this.host.declaration;
      checkResizable(coordination, this.book, this.host.lay(this.host.live().held.mapping), before, numRanks);
      this.teller.begin();
      const added = Array.from({ length: Math.max(0, numRanks - before) }, (_, i) => before + i);
      const isAwaited = (rank: number) => coordination?.hasRanks === true || deadRanks.includes(rank);
      const next = resizedRanks(this.book.save(), numRanks, added.filter(isAwaited), speed);
      const first = coordination?.resized(numRanks);
      const coordinated = first && this.#coordinate([first], { numRanks });
      move(next);
      const saved = { records: first === undefined ? [] : [first], offered: undefined, ranks: next };
      await this.#durable(() => this.host.resized(saved));
      this.#saved = saved;
      this.book.resize(numRanks, added.filter(isAwaited), next.speed);
      this.#coordination = coordinated;
      this.note('rank', { what: 'resized', numRanks, before });
      const nowMs = this.#time.now();
      await this.#commit(nowMs);
      for (let i = 0; i < 4 && this.#settle(nowMs); i++) await this.#commit(nowMs);
      this.#schedule();
    });
  }

  async #commit(nowMs: number): Promise<void> {
    const { records = [], messages = [], events = [] } = this.#coordination?.drain() ?? {};
    const hasBegun = records.some(({ type }) => type === 'begun');
    const acks = this.#acks;
    this.#acks = [];
    if (records.length > 0 || acks.length > 0 || this.#ranksChanged) {
      const offered = hasBegun && this.#offered ? mappingRecord(this.#offered.mapping) : undefined;
      await this.#append({
        kind: 'epochs',
        ...(records.length > 0 && { records }),
        ...(acks.length > 0 && { acks }),
        ...(offered && { offered }),
        ...(this.#ranksChanged && { ranks: this.book.save() }),
      });
      this.#ranksChanged = false;
    }
    if (records.some(({ type }) => type === 'decided')) {
      this.host.goLive(this.#coordination!.state.live.epoch, this.#offered!);
    }
    const news = this.#news;
    this.#news = [];
    for (const { type, data } of news) this.teller.hub.publish(type, data);
    for (const event of events) {
      if (event.type === 'ended') {
        this.#repairs.ended(readOperationName(event.operationId).id, event.outcome, nowMs);
      }
      this.teller.tell(event, nowMs);
      this.host.coordinated(event);
    }
    for (const { rank, message } of messages) this.teller.send(rank, message);
    if (this.#coordination?.state.operation === undefined) this.#offered = undefined;
    const checkpoint = this.#coordination?.compacted();
    if (checkpoint !== undefined) await this.#append({ kind: 'epochs', records: [checkpoint] });
  }

  async #append(record: EpochsRecord): Promise<void> {
    await this.#durable(() => this.host.append(record));
    this.#saved = afterEpochs(this.#saved, record);
  }

  async #durable(append: () => Promise<void>): Promise<void> {
    try {
      await append();
    } catch (cause) {
      // The coordinator is ahead of what is known to be durable: nothing that it says may be heard.
      this.#stopped = new EplbError('EPLB_CLOSED', `group ${this.host.name}: its journal failed`, { cause });
      this.#cancelTimer?.();
      this.host.onFault(this.#stopped);
      throw this.#stopped;
    }
  }

  /** What follows from how things stand. @returns whether anything is to be made durable or told */
  #settle(nowMs: number): boolean {
    const coordination = this.#coordination;
    const operation = coordination?.state.operation;
    // An attempt that goes on without a rank still has experts there.
    if (operation === undefined || operation.firstStep !== undefined) {
      this.host.changeRanks(this.#ranksWithoutPlans(), this.book.speed);
    }
    if (coordination === undefined) return false;
    const { state, machine } = coordination;
    if (operation?.firstStep !== undefined) {
      let hasSpoken = false;
      for (const rank of machine.view().operation!.waitingFor) {
        if (!coordination.isSpokenFor(rank) || state.operation === undefined) continue;
        const { incarnation } = state.ranks[rank]!;
        const { token } = operation;
        const confirmed = { type: 'confirmed', incarnation, token, epoch: state.live.epoch };
        coordination.take(machine.receive(rank, confirmed, nowMs));
        hasSpoken = true;
      }
      return hasSpoken;
    }
    if (operation !== undefined) return false;
    const isSpokenFor = (rank: number) =>
      coordination.isSpokenFor(rank) ||
      // One that is new, of an engine that speaks for all others.
      (coordination.hasSpokenFor && state.ranks[rank]!.incarnation < 0 && !this.book.leaseOf(rank));
    const returned = state.ranks.flatMap(({ state: own }, rank) =>
      own === 'fenced' && isSpokenFor(rank) && this.book.deathOf(rank) === undefined ? rank : [],
    );
    for (const rank of returned) coordination.speakFor(rank, nowMs);
    return this.#offerRepair(coordination, nowMs) || returned.length > 0;
  }

  /**
   * Ranks that plans leave empty: dead ones, and of those that are back the ones that hold nothing and do not
   * serve yet. What a plan put there would be nowhere when it goes live.
   */
  #ranksWithoutPlans(): readonly number[] {
    const dead = this.book.deadRanks;
    const entries = this.#coordination?.state.ranks ?? [];
    const mapping = this.host.lay(this.host.live().held.mapping);
    const back = entries.flatMap(({ state }, rank) => {
      const isOut = state === 'fenced' && !dead.includes(rank);
      return isOut && !holdsExperts(mapping, rank, entries.length) ? rank : [];
    });
    return back.length === 0 ? dead : [...dead, ...back].sort((a, b) => a - b);
  }

  #offerRepair(coordination: Coordination, nowMs: number): boolean {
    const { isPaused, isDryRun } = this.host;
    const { ranks } = coordination.state;
    if (isPaused || isDryRun || ranks.some(({ state }) => state === 'unconfirmed')) return false;
    if (ranks.every(({ state }) => state === 'fenced')) return false;
    const { epoch, held: live } = this.host.live();
    const damage: Damage = {
      ...{ live: this.host.lay(live.mapping), whole: this.host.whole, deadRanks: this.book.deadRanks },
      servingRanks: ranks.flatMap(({ state }, rank) => (state === 'serving' ? rank : [])),
      ...{
        speed: this.book.speed,
        forSpeed: this.#repairs.isDueFor(this.book.speed),
        loads: this.host.averageLoads(),
      },
    };
    const found = this.#findRepair(damage, live.digest, nowMs);
    if (found === undefined) return false;
    if (found.status === 'impossible') {
      this.note('repair', {
        status: 'impossible',
        reasons: found.reasons,
        message: found.message,
      });
      return true;
    }
    this.note('repair', {
      status: 'offered',
      reasons: found.reasons,
      digest: found.target.digest,
    });
    const isSpokenFor = ranks.some(
      ({ state }, rank) => state === 'serving' && coordination.isSpokenFor(rank),
    );
    const name = operationName(epoch + 1, `repair-${randomUUID()}`);
    const activation = isSpokenFor ? 'onRequest' : 'whenPrepared';
    this.offerTo(coordination, name, live, found.target, activation, nowMs);
    return true;
  }

  #findRepair(damage: Damage, liveDigest: string, nowMs: number): FoundRepair | undefined {
    try {
      return this.#repairs.find(damage, liveDigest, nowMs);
    } catch (error) {
      // It is no fault of the input that it follows from.
      this.host.onFault(error);
      return undefined;
    }
  }

  /** Lets time pass. */
  tick(nowMs: number): void {
    const { suspected, silent } = this.book.tick(nowMs);
    for (const rank of suspected) this.note('rank', { rank, what: 'suspected' });
    for (const rank of silent) this.die(rank, 'lease', 'its lease has run out', nowMs);
    this.#coordination?.take(this.#coordination.machine.tick(nowMs));
  }

  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const times = [
      this.#coordination?.machine.nextTickMs(),
      this.book.nextTickMs(),
      this.#repairs.nextTryMs,
    ].filter((ms) => ms !== undefined);
    if (times.length === 0 || this.#stopped !== undefined) return;
    const delayMs = Math.max(1, Math.ceil(Math.min(...times) - this.#time.now()));
    this.#cancelTimer = this.#time.after(delayMs, () => {
      this.run((nowMs) => this.tick(nowMs)).catch((error: unknown) => {
        if (this.#stopped === undefined) this.host.onFault(error);
      });
    });
  }

  /** Throws unless there is such a rank. */
  checkRank(title: string, rank: unknown): void {
    checkWhole(title, rank, 0, this.host.declaration.numRanks - 1);
  }

  /** The newest process of a rank that was heard of. */
  incarnationOf(rank: number): number {
    const lease = this.book.leaseOf(rank)?.incarnation ?? -1;
    const death = this.book.deathOf(rank)?.incarnation ?? -1;
    return Math.max(lease, death, this.#coordination?.state.ranks[rank]?.incarnation ?? -1);
  }

  /** A rank is gone, for certain. */
  die(rank: number, cause: Death['cause'], reason: string, nowMs: number): void {
    if (this.book.deathOf(rank) !== undefined) return;
    this.book.die(rank, this.incarnationOf(rank), cause);
    this.#ranksChanged = true;
    const coordination = this.#coordination;
    if (coordination !== undefined) coordination.take(coordination.machine.lost(rank, reason, nowMs));
    this.note('rank', { rank, what: 'dead', reason });
  }

  /** A dead rank lives again. */
  return(rank: number): void {
    this.book.return(rank);
    this.#ranksChanged = true;
    this.note('rank', { rank, what: 'returned' });
  }

  /** The engine speaks for all ranks that live. */
  speakForAll(nowMs: number): void {
    for (let rank = 0; rank < this.host.declaration.numRanks; rank++) {
      if (this.book.deathOf(rank) === undefined) this.#coordination!.speakFor(rank, nowMs);
    }
  }

  #coordinate(
    records: readonly unknown[],
    { numRanks = this.host.declaration.numRanks, isNew = false } = {},
  ): Coordination {
    const { numLayers, migration } = this.host.declaration;
    const { digest } = this.host.live().held;
    return new Coordination({ numRanks, numLayers, digest, ...migration }, records, isNew);
  }

  /** The coordinator: it begins with the first offer, or the first rank that says hello. */
  beginCoordination(): Coordination {
    const { epoch, held: live } = this.host.live();
    const known = this.#coordination;
    // While no rank took part, the engine may have gone on by itself.
    const isBehind = known !== undefined && !known.hasRanks && known.state.live.epoch !== epoch;
    if (known !== undefined && !isBehind) return known;
    const { numRanks, numLayers } = this.host.declaration;
    const first = Coordination.beginning({ numRanks, numLayers }, { epoch, digest: live.digest });
    this.#coordination = this.#coordinate([first], { isNew: true });
    return this.#coordination;
  }

  /** Offers a mapping to the ranks. @throws EplbError when the coordinator takes none now */
  offerTo(
    coordination: Coordination,
    operationId: string,
    live: Held,
    target: Held,
    activation: 'onRequest' | 'whenPrepared',
    nowMs: number,
  ): void {
    const layers = layersBetween(this.host.lay(live.mapping), this.host.lay(target.mapping));
    const { epoch: fromEpoch } = coordination.state.live;
    const offer = { operationId, digest: target.digest, layers, activation, fromEpoch };
    const { answer } = coordination.take(coordination.machine.offer(offer, nowMs));
    if (answer.status === 'refused') throw refusedOffer(answer);
    this.#offered = target;
    this.#offeredMs = nowMs;
  }
}
