import { randomUUID } from 'node:crypto';
import { checkWhole } from '../../core/checks.ts';
import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { Topology } from '../../core/topology.ts';
import type { ExpertMapping } from '../../index.ts';
import type { LoadMatrix } from '../../loads/load-matrix.ts';
import type { MigrationEvent, OfferAnswer } from '../../migration/coordinator-output.ts';
import type { CoordinatorMessage } from '../../migration/messages.ts';
import { checkLayers, checkRankMessage } from '../../migration/messages.ts';
import type { FullDeclaration } from '../declaration.ts';
import { type Held, held } from '../live-epochs.ts';
import { type MappingRecord, mappingOfRecord, mappingRecord } from '../plan-result.ts';
import { notFound } from '../refusal.ts';
import type { ServeTime } from '../time.ts';
import { Coordination } from './coordination.ts';
import type { AckBody, HeartbeatBody, OfferBody, RanksBody, RefuseBody } from './epoch-bodies.ts';
import {
  countRanks,
  type EpochView,
  endedView,
  openView,
  operationName,
  plainView,
  type RankCounts,
  type RankView,
  rankViews,
  readOperationName,
} from './epoch-view.ts';
import { EventHub, type EventSink } from './event-hub.ts';
import { type Death, RankBook, type SavedRanks } from './rank-book.ts';
import { RepairDesk } from './repair-desk.ts';
import { type Damage, layersBetween, ranksWithExperts } from './repairs.ts';

/** Ended attempts that are listed. */
const MOST_LISTED = 32;
const DEFAULT_TTL_MS = 10_000;

/** What is kept of a group's epochs. */
export interface SavedEpochs {
  /** Of the coordinator; none before a rank or an offer came. */
  readonly records: readonly unknown[];
  /** The mapping of the attempt that was offered last. */
  readonly offered: MappingRecord | undefined;
  readonly ranks: SavedRanks | undefined;
}

/** What a group appends to its journal for them, all or none. */
export interface EpochsRecord extends Partial<SavedEpochs> {
  readonly kind: 'epochs';
}

/** The group that epochs are of. */
export interface EpochHost {
  readonly name: string;
  readonly declaration: FullDeclaration;
  /** As it was declared, if no rank were dead. */
  readonly whole: Topology;
  readonly isPaused: boolean;
  readonly isDryRun: boolean;
  live(): { readonly epoch: number; readonly held: Held };
  /** A plan that was answered, with the epoch it was made from; that is undefined for any other mapping. */
  answered(
    digest: string,
  ): { readonly mapping: ExpertMapping; readonly epoch: number | undefined } | undefined;
  mappingAt(epoch: number): ExpertMapping | undefined;
  /** Of the window; undefined when it is empty. */
  averageLoads(): LoadMatrix | undefined;
  /** The step after the last one that was recorded. */
  nextStep(): number;
  /** Runs changes one after the other. */
  change<T>(work: () => Promise<T>): Promise<T>;
  /** Durable when it resolves. */
  append(record: EpochsRecord): Promise<void>;
  /** Another mapping is live; that is durable by now. */
  goLive(epoch: number, next: Held): void;
  /** Ranks are dead or slow from now on. */
  changeRanks(deadRanks: readonly number[], speed: readonly number[] | null): void;
  onFault(error: unknown): void;
}

/**
 * How a group comes from one epoch to the next: the coordinator of docs/migration.md, with the group's
 * journal, streams of events as the way to its ranks, and leases. Everything goes through the group's queue
 * of changes: what is told is durable.
 */
export class GroupEpochs {
  readonly hub: EventHub;
  readonly #host: EpochHost;
  readonly #time: ServeTime;
  readonly #book: RankBook;
  readonly #repairs: RepairDesk;
  #coordination: Coordination | undefined;
  /** The mapping of the attempt that is under way. */
  #offered: Held | undefined;
  #offeredMs = 0;
  #ranksChanged = false;
  /** The last message to each rank, and those of the input that is being taken. */
  readonly #orders = new Map<number, CoordinatorMessage>();
  #sent: { readonly rank: number; readonly message: CoordinatorMessage }[] = [];
  #cancelTimer: (() => void) | undefined;
  #stopped: EplbError | undefined;

  constructor(host: EpochHost, time: ServeTime, maxListeners: number, saved?: SavedEpochs) {
    this.#host = host;
    this.#time = time;
    this.hub = new EventHub(maxListeners);
    const { numRanks, deadRanks, rankSpeed } = host.declaration;
    this.#book = new RankBook(numRanks, deadRanks, rankSpeed ?? null);
    if (saved?.ranks !== undefined) this.#book.resume(saved.ranks, time.now());
    this.#repairs = new RepairDesk(this.#book.speed);
    if (saved === undefined) return;
    if (saved.records.length === 0) return;
    this.#coordination = this.#coordinate(saved.records);
    this.#offeredMs = time.now();
    if (saved.offered !== undefined) this.#offered = held(mappingOfRecord(saved.offered));
  }

  /** Whether epochs change by offers alone, as ranks take part. */
  get isCoordinated(): boolean {
    return this.#coordination?.hasRanks === true;
  }

  /** What is to be kept of it all. */
  get saved(): SavedEpochs {
    const isOpen = this.#coordination?.state.operation !== undefined;
    return {
      records: this.#coordination?.records ?? [],
      offered: isOpen && this.#offered !== undefined ? mappingRecord(this.#offered.mapping) : undefined,
      ranks: this.#book.save(),
    };
  }

  get deadRanks(): readonly number[] {
    return this.#book.deadRanks;
  }

  /** How many ranks stand how. */
  get rankCounts(): RankCounts {
    return countRanks(rankViews(this.#numRanks, this.#book, this.#coordination, this.#time.now()));
  }

  /** The phase of the attempt that is under way. */
  get underWay(): Pick<EpochView, 'epoch' | 'digest' | 'state'> | undefined {
    const operation = this.#coordination?.machine.view().operation;
    return operation && { epoch: operation.epoch, digest: operation.digest, state: operation.phase };
  }

  /** Goes on after a restart, and lets time pass from now on. */
  start(): Promise<void> {
    return this.#run((nowMs) => this.#tick(nowMs));
  }

  /** Modes have changed: what waited for that is offered. */
  modeChanged(): Promise<void> {
    return this.#run(() => undefined);
  }

  /** Offers a plan by its digest. @throws EplbError `EPLB_NOT_FOUND`, `EPLB_STALE`, `EPLB_CONFLICT` */
  offer(body: OfferBody): Promise<{ readonly view: EpochView; readonly isNew: boolean }> {
    let name: string | undefined;
    let isNew = false;
    return this.#run(
      (nowMs) => {
        name = this.#knownAttempt(body);
        if (name !== undefined) return;
        const { epoch, held: live } = this.#host.live();
        const target = this.#offerable(body, epoch, live);
        const coordination = this.#beginCoordination();
        if (coordination.state.operation === undefined && !coordination.hasRanks) this.#speakForAll(nowMs);
        name = operationName(epoch + 1, body.operationId ?? randomUUID());
        this.#offerTo(coordination, name, live, target, body.activation ?? 'onRequest', nowMs);
        isNew = true;
      },
      (nowMs) => ({ view: this.#viewNamed(name!, nowMs), isNew }),
    );
  }

  /** Takes what a rank has done for an epoch. @throws EplbError, EplbRangeError, EplbTypeError */
  ack(
    epoch: number,
    body: AckBody,
  ): Promise<EpochView & { readonly messages: readonly CoordinatorMessage[] }> {
    const { rank, state = 'prepared', lastStep } = body;
    if (state === 'armed' && lastStep === undefined) {
      throw new EplbTypeError(
        'EPLB_KIND',
        'ack: lastStep is missing: which step is the last without a decision?',
      );
    }
    return this.#run(
      (nowMs) => {
        const coordination = this.#coordinated(epoch);
        const isLate = state === 'active' && coordination.state.live.epoch === epoch;
        const operation = isLate ? undefined : this.#operationAt(epoch);
        const speaker = this.#speaker('ack', coordination, epoch, body);
        const message =
          state === 'prepared'
            ? { type: 'prepared', layers: this.#layersOf('ack', body, operation!.target.layers) }
            : state === 'armed'
              ? { type: 'armed', lastStep }
              : { type: 'confirmed', epoch };
        coordination.take(coordination.machine.receive(rank, { ...message, ...speaker }, nowMs));
      },
      (nowMs) => ({ ...this.#viewOf(epoch, nowMs), messages: this.#messagesFor(rank) }),
    );
  }

  /** A rank cannot prepare layers: the attempt is aborted. @throws as {@link ack} */
  refuse(epoch: number, body: RefuseBody): Promise<EpochView> {
    return this.#run(
      (nowMs) => {
        const coordination = this.#coordinated(epoch);
        const { target, firstStep } = this.#operationAt(epoch);
        if (firstStep !== undefined) throw conflict(`refuse: epoch ${epoch} is decided, and goes on`);
        const speaker = this.#speaker('refuse', coordination, epoch, body);
        const layers = this.#layersOf('refuse', body, target.layers);
        const message = { type: 'refused', layers, reason: body.reason, ...speaker };
        coordination.take(coordination.machine.receive(body.rank, message, nowMs));
      },
      (nowMs) => this.#viewOf(epoch, nowMs),
    );
  }

  /** Lets an attempt go live that is prepared. @throws EplbError `EPLB_CONFLICT`, `EPLB_STALE`; EplbRangeError */
  activate(epoch: number, firstStep: number | undefined): Promise<EpochView> {
    return this.#run(
      (nowMs) => {
        const coordination = this.#coordinated(epoch);
        const { machine, state } = coordination;
        if (state.live.epoch === epoch) return;
        const { target, ranks } = this.#operationAt(epoch);
        const spokenFor = ranks.filter((rank) => coordination.isSpokenFor(rank));
        if (firstStep !== undefined && spokenFor.length === 0) {
          throw new EplbRangeError(
            'EPLB_OPTION',
            'activate: firstStep: the ranks say themselves when they swap',
          );
        }
        const { phase, waitingFor } = machine.view().operation!;
        if (phase === 'preparing')
          throw conflict(`activate: ranks have not prepared all layers: ${waitingFor}`);
        coordination.take(machine.activate(target.operationId, nowMs));
        const lastStep = (firstStep ?? this.#host.nextStep()) - 1;
        for (const rank of spokenFor) {
          if (state.operation?.firstStep !== undefined) break;
          const { token } = state.operation!;
          const armed = { type: 'armed', incarnation: state.ranks[rank]!.incarnation, token, lastStep };
          coordination.take(machine.receive(rank, armed, nowMs));
        }
      },
      (nowMs) => this.#viewOf(epoch, nowMs),
    );
  }

  /** Ends an attempt that is not decided. @throws EplbError `EPLB_CONFLICT`, `EPLB_STALE`, `EPLB_NOT_FOUND` */
  abort(epoch: number, reason: string): Promise<EpochView> {
    return this.#run(
      (nowMs) => {
        const { machine, state } = this.#coordinated(epoch);
        if (state.live.epoch === epoch) throw conflict(`abort: epoch ${epoch} is live`);
        if (state.operation === undefined && this.#lastOutcome(epoch)?.status === 'aborted') return;
        const { target } = this.#operationAt(epoch);
        this.#coordination!.take(machine.abort(target.operationId, reason, nowMs));
      },
      (nowMs) => this.#viewOf(epoch, nowMs),
    );
  }

  /** How an epoch stands. @throws EplbError `EPLB_NOT_FOUND` */
  view(epoch: number): Promise<EpochView> {
    return this.#run(
      () => undefined,
      (nowMs) => this.#viewOf(epoch, nowMs),
    );
  }

  /** What is live, what is under way, and how the last attempts ended. */
  list(): Promise<object> {
    return this.#run(
      () => undefined,
      (nowMs) => {
        const { epoch, held: live } = this.#host.live();
        const ended = [...(this.#coordination?.state.outcomes.values() ?? [])];
        return {
          ...{ epoch, digest: live.digest, underWay: this.#openView(nowMs) ?? null },
          ended: ended.slice(-MOST_LISTED).map(endedView),
        };
      },
    );
  }

  /** The mapping of an epoch that is under way, or was live lately. @throws EplbError `EPLB_NOT_FOUND` */
  mappingOf(epoch: number): Held {
    const { epoch: now, held: live } = this.#host.live();
    if (epoch === now) return live;
    const operation = this.#coordination?.machine.view().operation;
    if (operation?.epoch === epoch && this.#offered !== undefined) return this.#offered;
    const mapping = this.#host.mappingAt(epoch);
    if (mapping !== undefined) return held(mapping);
    throw notFound(`the mapping of epoch ${epoch} is not known; epoch ${now} is live`);
  }

  /** A rank lives, and says how it stands. @throws EplbError `EPLB_STALE`; EplbRangeError, EplbTypeError */
  heartbeat(rank: number, body: HeartbeatBody): Promise<object> {
    this.#checkRank('heartbeat.rank', rank);
    const { incarnation, ttlMs = DEFAULT_TTL_MS, stopsWithLease = true } = body;
    const { numLayers } = this.#host.declaration;
    const message = body.message && checkRankMessage({ token: 0, ...body.message, incarnation }, numLayers);
    return this.#run(
      (nowMs) => {
        const known = this.#incarnationOf(rank);
        if (incarnation < known) throw stale(`heartbeat: rank ${rank} has a newer process, ${known}`);
        if (this.#book.isBack(rank, incarnation)) this.#return(rank);
        const isDead = this.#book.deathOf(rank) !== undefined;
        if (!isDead) {
          const lease = { incarnation, ttlMs, stopsWithLease };
          const was = this.#book.stateOf(rank);
          this.#ranksChanged = this.#book.renew(rank, lease, nowMs) || this.#ranksChanged;
          if (was !== 'alive') this.hub.publish('rank', { rank, what: 'alive' });
        }
        if (message === undefined) return;
        if (message.type === 'hello' && isDead) return;
        const coordination = message.type === 'hello' ? this.#beginCoordination() : this.#coordination;
        if (coordination !== undefined) {
          coordination.take(coordination.machine.receive(rank, message, nowMs));
        }
      },
      (nowMs) => {
        const { lease, state } = this.#rankViews(nowMs)[rank]!;
        const { epoch, held: live } = this.#host.live();
        return { lease, state, ttlMs, epoch, digest: live.digest, messages: this.#messagesFor(rank) };
      },
    );
  }

  /** Takes what is reported of ranks. @throws EplbRangeError; nothing is taken then */
  reportRanks({ dead = [], alive = [], slow = [], reason = '' }: RanksBody): Promise<object> {
    for (const [i, rank] of dead.entries()) this.#checkRank(`ranks.dead[${i}]`, rank);
    for (const [i, rank] of alive.entries()) this.#checkRank(`ranks.alive[${i}]`, rank);
    for (const [i, { rank }] of slow.entries()) this.#checkRank(`ranks.slow[${i}].rank`, rank);
    const both = dead.find((rank) => alive.includes(rank));
    if (both !== undefined) throw new EplbRangeError('EPLB_RANGE', `ranks: rank ${both} is dead and alive`);
    return this.#run(
      (nowMs) => {
        for (const rank of dead) this.#die(rank, 'reported', reason || 'reported', nowMs);
        for (const rank of alive) if (this.#book.deathOf(rank) !== undefined) this.#return(rank);
        for (const { rank, speed } of slow) {
          if ((this.#book.speed?.[rank] ?? 1) === speed) continue;
          this.#book.setSpeed(rank, speed);
          this.#ranksChanged = true;
          this.hub.publish('rank', { rank, what: 'speed', speed });
        }
      },
      (nowMs) => this.#ranksAnswer(nowMs),
    );
  }

  /** All ranks. */
  ranks(): Promise<object> {
    return this.#run(
      () => undefined,
      (nowMs) => this.#ranksAnswer(nowMs),
    );
  }

  /** Whether one more may listen. @throws EplbError `EPLB_LIMIT`, `EPLB_CLOSED`; EplbRangeError for no rank */
  checkListener(rank: number | undefined): void {
    if (rank !== undefined) this.#checkRank('query.rank', rank);
    this.hub.check();
  }

  /** Begins a stream of events. @returns what ends it @throws as {@link checkListener} */
  listen(sink: EventSink, rank: number | undefined, lastEventId: string | undefined): Promise<() => void> {
    return this.#run(
      () => undefined,
      (nowMs) => this.hub.listen(sink, { rank, lastEventId, state: () => this.#stateEvent(rank, nowMs) }),
    );
  }

  /** Ends streams, and lets no more time pass. */
  close(): void {
    this.#cancelTimer?.();
    this.#stopped ??= new EplbError('EPLB_CLOSED', `group ${this.#host.name}: is closed`);
    this.hub.close();
  }

  // --- inputs --------------------------------------------------------------------------------------------

  /** Takes an input, makes durable what comes of it, tells it, and then answers. */
  #run(work: (nowMs: number) => void): Promise<void>;
  #run<T>(work: (nowMs: number) => void, answer: (nowMs: number) => T): Promise<T>;
  #run<T>(work: (nowMs: number) => void, answer?: (nowMs: number) => T): Promise<T | undefined> {
    return this.#host.change(async () => {
      if (this.#stopped !== undefined) throw this.#stopped;
      this.#sent = [];
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

  async #commit(nowMs: number): Promise<void> {
    const { records = [], messages = [], events = [] } = this.#coordination?.drain() ?? {};
    const hasBegun = records.some(({ type }) => type === 'begun');
    if (records.length > 0 || this.#ranksChanged) {
      const offered = hasBegun && this.#offered ? mappingRecord(this.#offered.mapping) : undefined;
      await this.#append({
        kind: 'epochs',
        ...(records.length > 0 && { records }),
        ...(offered && { offered }),
        ...(this.#ranksChanged && { ranks: this.#book.save() }),
      });
      this.#ranksChanged = false;
    }
    if (records.some(({ type }) => type === 'decided')) {
      this.#host.goLive(this.#coordination!.state.live.epoch, this.#offered!);
    }
    for (const event of events) this.#tell(event, nowMs);
    for (const { rank, message } of messages) this.#send(rank, message);
    if (this.#coordination?.state.operation === undefined) this.#offered = undefined;
    const checkpoint = this.#coordination?.compacted();
    if (checkpoint !== undefined) await this.#append({ kind: 'epochs', records: [checkpoint] });
  }

  async #append(record: EpochsRecord): Promise<void> {
    try {
      await this.#host.append(record);
    } catch (cause) {
      // The coordinator is ahead of what is known to be durable: nothing that it says may be heard.
      this.#stopped = new EplbError('EPLB_CLOSED', `group ${this.#host.name}: its journal failed`, { cause });
      this.#cancelTimer?.();
      this.#host.onFault(this.#stopped);
      throw this.#stopped;
    }
  }

  /** What follows from how things stand. @returns whether anything is to be made durable */
  #settle(nowMs: number): boolean {
    const coordination = this.#coordination;
    const operation = coordination?.state.operation;
    // An attempt that goes on without a rank still has experts there.
    if (operation === undefined || operation.firstStep !== undefined) {
      this.#host.changeRanks(this.#book.deadRanks, this.#book.speed);
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
    const returned = state.ranks.flatMap(({ state: own }, rank) =>
      own === 'fenced' && coordination.isSpokenFor(rank) && this.#book.deathOf(rank) === undefined
        ? rank
        : [],
    );
    for (const rank of returned) coordination.speakFor(rank, nowMs);
    return this.#offerRepair(coordination, nowMs) || returned.length > 0;
  }

  #offerRepair(coordination: Coordination, nowMs: number): boolean {
    const { isPaused, isDryRun } = this.#host;
    const { ranks } = coordination.state;
    if (isPaused || isDryRun || ranks.some(({ state }) => state === 'unconfirmed')) return false;
    if (ranks.every(({ state }) => state === 'fenced')) return false;
    const { epoch, held: live } = this.#host.live();
    const damage: Damage = {
      ...{ live: live.mapping, whole: this.#host.whole, deadRanks: this.#book.deadRanks },
      servingRanks: ranks.flatMap(({ state }, rank) => (state === 'serving' ? rank : [])),
      ...{
        speed: this.#book.speed,
        forSpeed: this.#repairs.isDueFor(this.#book.speed),
        loads: this.#host.averageLoads(),
      },
    };
    const found = this.#repairs.find(damage, live.digest, nowMs);
    if (found === undefined) return false;
    if (found.status === 'impossible') {
      this.hub.publish('repair', { status: 'impossible', reasons: found.reasons, message: found.message });
      return false;
    }
    this.hub.publish('repair', { status: 'offered', reasons: found.reasons, digest: found.target.digest });
    const isSpokenFor = ranks.some(
      ({ state }, rank) => state === 'serving' && coordination.isSpokenFor(rank),
    );
    const name = operationName(epoch + 1, `repair-${randomUUID()}`);
    const activation = isSpokenFor ? 'onRequest' : 'whenPrepared';
    this.#offerTo(coordination, name, live, found.target, activation, nowMs);
    return true;
  }

  #tick(nowMs: number): void {
    const { suspected, silent } = this.#book.tick(nowMs);
    for (const rank of suspected) this.hub.publish('rank', { rank, what: 'suspected' });
    for (const rank of silent) this.#die(rank, 'lease', 'its lease has run out', nowMs);
    this.#coordination?.take(this.#coordination.machine.tick(nowMs));
  }

  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const times = [
      this.#coordination?.machine.nextTickMs(),
      this.#book.nextTickMs(),
      this.#repairs.nextTryMs,
    ].filter((ms) => ms !== undefined);
    if (times.length === 0 || this.#stopped !== undefined) return;
    const delayMs = Math.max(1, Math.ceil(Math.min(...times) - this.#time.now()));
    this.#cancelTimer = this.#time.after(delayMs, () => {
      this.#run((nowMs) => this.#tick(nowMs)).catch((error: unknown) => {
        if (this.#stopped === undefined) this.#host.onFault(error);
      });
    });
  }

  // --- ranks ---------------------------------------------------------------------------------------------

  get #numRanks(): number {
    return this.#host.declaration.numRanks;
  }

  #checkRank(title: string, rank: unknown): void {
    checkWhole(title, rank, 0, this.#numRanks - 1);
  }

  /** The newest process of a rank that was heard of. */
  #incarnationOf(rank: number): number {
    const lease = this.#book.leaseOf(rank)?.incarnation ?? -1;
    const death = this.#book.deathOf(rank)?.incarnation ?? -1;
    return Math.max(lease, death, this.#coordination?.state.ranks[rank]?.incarnation ?? -1);
  }

  #die(rank: number, cause: Death['cause'], reason: string, nowMs: number): void {
    if (this.#book.deathOf(rank) !== undefined) return;
    this.#book.die(rank, this.#incarnationOf(rank), cause);
    this.#ranksChanged = true;
    const coordination = this.#coordination;
    if (coordination !== undefined) coordination.take(coordination.machine.lost(rank, reason, nowMs));
    this.hub.publish('rank', { rank, what: 'dead', reason });
  }

  #return(rank: number): void {
    this.#book.return(rank);
    this.#ranksChanged = true;
    this.hub.publish('rank', { rank, what: 'returned' });
  }

  #speakForAll(nowMs: number): void {
    for (let rank = 0; rank < this.#numRanks; rank++) {
      if (this.#book.deathOf(rank) === undefined) this.#coordination!.speakFor(rank, nowMs);
    }
  }

  /** Who says it, and to which act: a rank that takes part, and knows of this attempt. */
  #speaker(
    title: string,
    { state }: Coordination,
    epoch: number,
    { rank, incarnation, token, digest }: AckBody,
  ): { readonly incarnation: number; readonly token: number } {
    this.#checkRank(`${title}.rank`, rank);
    const entry = state.ranks[rank]!;
    const { operation, activation, live } = state;
    const isOpen = operation !== undefined && this.#epochOf(operation) === epoch;
    if (entry.state === 'fenced' || (isOpen && !operation.ranks.includes(rank))) {
      const why = entry.reason === '' ? '' : `: ${entry.reason}`;
      throw conflict(`${title}: rank ${rank} takes no part in epoch ${epoch}${why}`);
    }
    const wanted = isOpen ? operation.target.digest : live.digest;
    if (digest !== undefined && digest !== wanted) {
      throw stale(`${title}: digest: epoch ${epoch} is to be ${wanted}`);
    }
    const needed = isOpen ? operation.token : Math.max(activation.token, entry.since);
    if (entry.incarnation > 0 && (incarnation === undefined || token === undefined)) {
      const missing = incarnation === undefined ? 'incarnation' : 'token';
      throw new EplbTypeError('EPLB_KIND', `${title}: ${missing} is missing: rank ${rank} speaks for itself`);
    }
    if (incarnation !== undefined && incarnation !== entry.incarnation) {
      throw stale(`${title}: rank ${rank} is at incarnation ${entry.incarnation}, not ${incarnation}`);
    }
    if (token !== undefined && token !== needed) {
      throw stale(`${title}: token ${token} is not ${needed}, that of epoch ${epoch}`);
    }
    return { incarnation: entry.incarnation, token: token ?? needed };
  }

  #layersOf(title: string, { layers }: AckBody, all: readonly number[]): readonly number[] {
    if (layers === undefined) return all;
    const { numLayers } = this.#host.declaration;
    const checked = checkLayers(
      [...layers].sort((a, b) => a - b),
      numLayers,
    );
    const other = checked.find((layer) => !all.includes(layer));
    if (other === undefined) return checked;
    throw new EplbRangeError(
      'EPLB_LAYER',
      `${title}.layers: layer ${other} does not change; these do: ${all}`,
    );
  }

  // --- attempts ------------------------------------------------------------------------------------------

  #coordinate(records: readonly unknown[], isNew = false): Coordination {
    const { numRanks, numLayers, migration } = this.#host.declaration;
    const { digest } = this.#host.live().held;
    return new Coordination({ numRanks, numLayers, digest, ...migration }, records, isNew);
  }

  /** The coordinator: it begins with the first offer, or the first rank that says hello. */
  #beginCoordination(): Coordination {
    const { epoch, held: live } = this.#host.live();
    const known = this.#coordination;
    // While no rank took part, the engine may have gone on by itself.
    const isBehind = known !== undefined && !known.hasRanks && known.state.live.epoch !== epoch;
    if (known !== undefined && !isBehind) return known;
    const { numRanks, numLayers } = this.#host.declaration;
    const first = Coordination.beginning({ numRanks, numLayers }, { epoch, digest: live.digest });
    this.#coordination = this.#coordinate([first], true);
    return this.#coordination;
  }

  #coordinated(epoch: number): Coordination {
    if (this.#coordination !== undefined) return this.#coordination;
    throw notFound(`there is no attempt at epoch ${epoch}: offer one with POST /v1/groups/NAME/epochs`);
  }

  #epochOf({ firstStep }: { readonly firstStep: number | undefined }): number {
    const { live } = this.#coordination!.state;
    return firstStep === undefined ? live.epoch + 1 : live.epoch;
  }

  /** @throws EplbError `EPLB_STALE`, `EPLB_NOT_FOUND` when another one, or none, is under way */
  #operationAt(epoch: number) {
    const { operation, live } = this.#coordination!.state;
    if (operation !== undefined && this.#epochOf(operation) === epoch) return operation;
    if (epoch <= live.epoch) throw stale(`epoch ${epoch} is past: epoch ${live.epoch} is live`);
    const outcome = this.#lastOutcome(epoch);
    if (outcome?.status === 'aborted') throw stale(`the attempt at epoch ${epoch} was aborted`);
    throw notFound(`there is no attempt at epoch ${epoch}; epoch ${live.epoch} is live`);
  }

  #lastOutcome(epoch: number) {
    const outcomes = [...(this.#coordination?.state.outcomes.values() ?? [])];
    return outcomes.findLast(({ operationId }) => readOperationName(operationId).epoch === epoch);
  }

  /** The name of the attempt that an offer repeats. */
  #knownAttempt({ operationId, digest }: OfferBody): string | undefined {
    const { operation, outcomes } = this.#coordination?.state ?? {};
    const target = operation?.target;
    if (operationId === undefined) return target?.digest === digest ? target.operationId : undefined;
    const known = [...(target === undefined ? [] : [target]), ...(outcomes?.values() ?? [])].find(
      (one) => readOperationName(one.operationId).id === operationId,
    );
    if (known === undefined || known.digest === digest) return known?.operationId;
    throw conflict(`offer: ${operationId} was offered with another digest, ${known.digest}`);
  }

  #offerable({ digest, fromEpoch }: OfferBody, epoch: number, live: Held): Held {
    const { isPaused, isDryRun } = this.#host;
    if (isPaused) throw conflict('offer: the group is paused; POST resume first');
    if (isDryRun) throw conflict('offer: the group is in a dry run: its plans are only shown');
    if (fromEpoch !== undefined && fromEpoch !== epoch) {
      throw stale(`offer: fromEpoch ${fromEpoch} is not ${epoch}, the live one`);
    }
    if (digest === live.digest) throw conflict(`offer: ${digest} is live`);
    const plan = this.#host.answered(digest);
    if (plan === undefined) throw notFound(`offer: no plan with the digest ${digest} was answered`);
    if (plan.epoch !== epoch) {
      const from = plan.epoch === undefined ? 'another mapping than the live one' : `epoch ${plan.epoch}`;
      throw stale(`offer: the plan was made from ${from}, and epoch ${epoch} is live; plan again`);
    }
    const holders = ranksWithExperts(plan.mapping, this.#numRanks);
    const dead = this.#book.deadRanks.find((rank) => holders.has(rank));
    if (dead !== undefined)
      throw stale(`offer: the plan has experts on rank ${dead}, which is dead; plan again`);
    return held(plan.mapping);
  }

  #offerTo(
    coordination: Coordination,
    operationId: string,
    live: Held,
    target: Held,
    activation: 'onRequest' | 'whenPrepared',
    nowMs: number,
  ): void {
    const layers = layersBetween(live.mapping, target.mapping);
    const { epoch: fromEpoch } = coordination.state.live;
    const offer = { operationId, digest: target.digest, layers, activation, fromEpoch };
    const { answer } = coordination.take(coordination.machine.offer(offer, nowMs));
    if (answer.status === 'refused') throw refusedOffer(answer);
    this.#offered = target;
    this.#offeredMs = nowMs;
  }

  // --- what is told --------------------------------------------------------------------------------------

  #send(rank: number, message: CoordinatorMessage): void {
    this.#sent.push({ rank, message });
    const before = this.#orders.get(rank);
    this.#orders.set(rank, message);
    // Who listens has it; who has lost it says how it stands, and is answered.
    if (JSON.stringify(before) !== JSON.stringify(message)) this.hub.publish('message', message, rank);
  }

  /** The answers to a rank, and what it has been asked and not done. */
  #messagesFor(rank: number): readonly CoordinatorMessage[] {
    const answers = this.#sent.filter(({ rank: to }) => to === rank).map(({ message }) => message);
    if (answers.length > 0) return answers;
    const order = this.#orders.get(rank);
    const entry = this.#coordination?.state.ranks[rank];
    if (order === undefined || entry?.incarnation !== order.incarnation) return [];
    const waitingFor = this.#coordination!.machine.view().operation?.waitingFor ?? [];
    return waitingFor.includes(rank) || entry.state === 'unconfirmed' ? [order] : [];
  }

  #tell(event: MigrationEvent, nowMs: number): void {
    if ('rank' in event) {
      const { type: what, ...more } = event;
      this.hub.publish('rank', { what, ...more });
      return;
    }
    if (event.type === 'ended')
      this.#repairs.ended(readOperationName(event.operationId).id, event.outcome, nowMs);
    this.hub.publish('epoch', { what: event.type, ...this.#viewNamed(event.operationId, nowMs) });
  }

  #stateEvent(rank: number | undefined, nowMs: number): object {
    const { epoch, held: live } = this.#host.live();
    const { isPaused: paused, isDryRun: dryRun, name: group } = this.#host;
    const state = { group, epoch, digest: live.digest, paused, dryRun };
    const underWay = this.#openView(nowMs) ?? null;
    return {
      ...{ ...state, underWay, ranks: countRanks(this.#rankViews(nowMs)) },
      ...(rank !== undefined && { messages: this.#messagesFor(rank) }),
    };
  }

  #ranksAnswer(nowMs: number): object {
    const { epoch, held: live } = this.#host.live();
    return { epoch, digest: live.digest, ranks: this.#rankViews(nowMs) };
  }

  #rankViews(nowMs: number): readonly RankView[] {
    return rankViews(this.#numRanks, this.#book, this.#coordination, nowMs);
  }

  #openView(nowMs: number): EpochView | undefined {
    const view = this.#coordination?.machine.view();
    if (view?.operation === undefined) return undefined;
    return openView({ ...view, operation: view.operation }, (nowMs - this.#offeredMs) / 1000);
  }

  #viewNamed(name: string, nowMs: number): EpochView {
    const outcome = this.#coordination!.state.outcomes.get(name);
    return outcome === undefined ? this.#openView(nowMs)! : endedView(outcome);
  }

  #viewOf(epoch: number, nowMs: number): EpochView {
    const open = this.#openView(nowMs);
    if (open?.epoch === epoch) return open;
    const outcome = this.#lastOutcome(epoch);
    if (outcome !== undefined) return endedView(outcome);
    const { epoch: now, held: live } = this.#host.live();
    if (epoch === now) return plainView(epoch, live.digest);
    const mapping = epoch < now ? this.#host.mappingAt(epoch) : undefined;
    if (mapping !== undefined) return plainView(epoch, mapping.digest());
    throw notFound(`epoch ${epoch} is not known; epoch ${now} is live`);
  }
}

const conflict = (message: string) => new EplbError('EPLB_CONFLICT', message);
const stale = (message: string) => new EplbError('EPLB_STALE', message);

function refusedOffer({ reason, text }: OfferAnswer & { status: 'refused' }): EplbError {
  return new EplbError(reason === 'stale' ? 'EPLB_STALE' : 'EPLB_CONFLICT', `offer: ${reason}: ${text}`);
}
