import { randomUUID } from 'node:crypto';
import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { MigrationView } from '../../migration/coordinator-output.ts';
import type { CoordinatorMessage } from '../../migration/messages.ts';
import { checkRankMessage } from '../../migration/messages.ts';
import { type Held, held } from '../live-epochs.ts';
import { notFound } from '../refusal.ts';
import type { ServeTime } from '../time.ts';
import type { Coordination } from './coordination.ts';
import type { AckBody, HeartbeatBody, OfferBody, RanksBody, RefuseBody } from './epoch-bodies.ts';
import {
  conflict,
  knownAttempt,
  lastOutcome,
  layersOf,
  offerable,
  operationAt,
  speakerOf,
  stale,
} from './epoch-checks.ts';
import { EpochCore, type Resizing } from './epoch-core.ts';
import type { EpochHost, SavedEpochs } from './epoch-host.ts';
import type { EpochTeller } from './epoch-teller.ts';
import {
  countRanks,
  type EpochUnderWay,
  type EpochView,
  operationName,
  type RankCounts,
} from './epoch-view.ts';
import type { EventHub, EventSink } from './event-hub.ts';

const DEFAULT_TTL_MS = 10_000;

/**
 * How a group comes from one epoch to the next: the coordinator of docs/migration.md, with the group's
 * journal, streams of events as the way to its ranks, and leases. Everything goes through the group's queue
 * of changes: what is told is durable.
 */
export class GroupEpochs {
  readonly #core: EpochCore;

  constructor(host: EpochHost, time: ServeTime, maxListeners: number, saved?: SavedEpochs) {
    this.#core = new EpochCore(host, time, maxListeners, saved);
  }

  get hub(): EventHub {
    return this.#teller.hub;
  }

  get #teller(): EpochTeller {
    return this.#core.teller;
  }

  /** Whether epochs change by offers alone, as ranks take part. */
  get isCoordinated(): boolean {
    return this.#core.coordination?.hasRanks === true;
  }

  /** What is to be kept of it all. */
  get saved(): SavedEpochs {
    return this.#core.saved;
  }

  /** How many ranks stand how. */
  get rankCounts(): RankCounts {
    return countRanks(this.#teller.rankViews(this.#core.nowMs));
  }

  /** The phase of the attempt that is under way. */
  get underWay(): EpochUnderWay | undefined {
    const operation = this.#core.coordination?.machine.view().operation;
    return operation && { epoch: operation.epoch, digest: operation.digest, state: operation.phase };
  }

  /** How attempts and ranks stand; undefined before a rank or an offer came. */
  get migrationView(): MigrationView | undefined {
    return this.#core.coordination?.machine.view();
  }

  /** Goes on after a restart, and lets time pass from now on. */
  start(): Promise<void> {
    return this.#core.run((nowMs) => {
      this.#core.recallAcks(nowMs);
      this.#core.tick(nowMs);
    });
  }

  /** Modes have changed: what waited for that is offered. */
  modeChanged(): Promise<void> {
    return this.#core.run(() => undefined);
  }

  /** Offers a plan by its digest. @throws EplbError `EPLB_NOT_FOUND`, `EPLB_STALE`, `EPLB_CONFLICT` */
  offer(body: OfferBody): Promise<{ readonly view: EpochView; readonly isNew: boolean }> {
    let name: string | undefined;
    let isNew = false;
    return this.#core.run(
      (nowMs) => {
        name = knownAttempt(this.#core.coordination, body);
        if (name !== undefined) return;
        const { epoch, held: live } = this.#core.host.live();
        const target = offerable(this.#core.host, this.#core.book.deadRanks, body);
        const coordination = this.#core.beginCoordination();
        if (coordination.state.operation === undefined && !coordination.hasRanks)
          this.#core.speakForAll(nowMs);
        name = operationName(epoch + 1, body.operationId ?? randomUUID());
        this.#core.offerTo(coordination, name, live, target, body.activation ?? 'onRequest', nowMs);
        isNew = true;
      },
      (nowMs) => ({ view: this.#teller.viewNamed(name!, nowMs), isNew }),
    );
  }

  /** Takes what a rank has done for an epoch. @throws EplbError, EplbRangeError, EplbTypeError */
  ack(
    epoch: number,
    body: AckBody,
  ): Promise<EpochView & { readonly messages: readonly CoordinatorMessage[] }> {
    const { rank, state = 'prepared', lastStep } = body;
    this.#core.checkRank('ack.rank', rank);
    if (state === 'armed' && lastStep === undefined) {
      throw new EplbTypeError(
        'EPLB_KIND',
        'ack: lastStep is missing: which step is the last without a decision?',
      );
    }
    return this.#core.run(
      (nowMs) => {
        const coordination = this.#coordinated(epoch);
        const isLate = state === 'active' && coordination.state.live.epoch === epoch;
        const operation = isLate ? undefined : operationAt(coordination, epoch);
        const speaker = speakerOf('ack', coordination, epoch, body);
        const message =
          state === 'prepared'
            ? {
                type: 'prepared',
                layers: layersOf(
                  'ack',
                  body,
                  operation!.target.layers,
                  this.#core.host.declaration.numLayers,
                ),
              }
            : state === 'armed'
              ? { type: 'armed', lastStep }
              : { type: 'confirmed', epoch };
        coordination.take(coordination.machine.receive(rank, { ...message, ...speaker }, nowMs));
        if ('layers' in message) this.#core.prepared({ rank, ...speaker, layers: message.layers! });
      },
      (nowMs) => ({ ...this.#teller.viewOf(epoch, nowMs), messages: this.#teller.messagesFor(rank) }),
    );
  }

  /** A rank cannot prepare layers: the attempt is aborted. @throws as {@link ack} */
  refuse(epoch: number, body: RefuseBody): Promise<EpochView> {
    this.#core.checkRank('refuse.rank', body.rank);
    return this.#core.run(
      (nowMs) => {
        const coordination = this.#coordinated(epoch);
        const { target, firstStep } = operationAt(coordination, epoch);
        if (firstStep !== undefined) throw conflict(`refuse: epoch ${epoch} is decided, and goes on`);
        const speaker = speakerOf('refuse', coordination, epoch, body);
        const layers = layersOf('refuse', body, target.layers, this.#core.host.declaration.numLayers);
        const message = { type: 'refused', layers, reason: body.reason, ...speaker };
        coordination.take(coordination.machine.receive(body.rank, message, nowMs));
      },
      (nowMs) => this.#teller.viewOf(epoch, nowMs),
    );
  }

  /** Lets an attempt go live that is prepared. @throws EplbError, EplbRangeError */
  activate(epoch: number, firstStep: number | undefined): Promise<EpochView> {
    return this.#core.run(
      (nowMs) => {
        const coordination = this.#coordinated(epoch);
        const { machine, state } = coordination;
        if (state.live.epoch === epoch) return;
        const { target, ranks } = operationAt(coordination, epoch);
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
        const lastStep = (firstStep ?? this.#core.host.nextStep()) - 1;
        for (const rank of spokenFor) {
          if (state.operation?.firstStep !== undefined) break;
          const { token } = state.operation!;
          const armed = { type: 'armed', incarnation: state.ranks[rank]!.incarnation, token, lastStep };
          coordination.take(machine.receive(rank, armed, nowMs));
        }
      },
      (nowMs) => this.#teller.viewOf(epoch, nowMs),
    );
  }

  /** Ends an attempt that is not decided. @throws EplbError */
  abort(epoch: number, reason: string): Promise<EpochView> {
    return this.#core.run(
      (nowMs) => {
        const coordination = this.#coordinated(epoch);
        const { machine, state } = coordination;
        if (state.live.epoch === epoch) throw conflict(`abort: epoch ${epoch} is live`);
        if (state.operation === undefined && lastOutcome(coordination, epoch)?.status === 'aborted') return;
        const { target } = operationAt(coordination, epoch);
        coordination.take(machine.abort(target.operationId, reason, nowMs));
      },
      (nowMs) => this.#teller.viewOf(epoch, nowMs),
    );
  }

  /** How an epoch stands. @throws EplbError `EPLB_NOT_FOUND` */
  view(epoch: number): Promise<EpochView> {
    return this.#core.run(
      () => undefined,
      (nowMs) => this.#teller.viewOf(epoch, nowMs),
    );
  }

  /** What is live, what is under way, and how the last attempts ended. */
  list(): Promise<object> {
    return this.#core.run(
      () => undefined,
      (nowMs) => this.#teller.list(nowMs),
    );
  }

  /** The mapping of an epoch that is under way, or was live lately. @throws EplbError `EPLB_NOT_FOUND` */
  mappingOf(epoch: number): Held {
    const { epoch: now, held: live } = this.#core.host.live();
    if (epoch === now) return live;
    const operation = this.#core.coordination?.machine.view().operation;
    if (operation?.epoch === epoch && this.#core.offered !== undefined) return this.#core.offered;
    const mapping = this.#core.host.mappingAt(epoch);
    if (mapping !== undefined) return held(mapping);
    throw notFound(`the mapping of epoch ${epoch} is not known; epoch ${now} is live`);
  }

  /** A rank lives, and says how it stands. @throws EplbError `EPLB_STALE`; EplbRangeError, EplbTypeError */
  heartbeat(rank: number, body: HeartbeatBody): Promise<object> {
    this.#core.checkRank('heartbeat.rank', rank);
    const { incarnation, ttlMs = DEFAULT_TTL_MS, stopsWithLease = true } = body;
    const { numLayers } = this.#core.host.declaration;
    const message = body.message && checkRankMessage({ token: 0, ...body.message, incarnation }, numLayers);
    return this.#core.run(
      (nowMs) => {
        const known = this.#core.incarnationOf(rank);
        if (incarnation < known) throw stale(`heartbeat: rank ${rank} has a newer process, ${known}`);
        if (this.#core.book.isBack(rank, incarnation)) this.#core.return(rank);
        const isDead = this.#core.book.deathOf(rank) !== undefined;
        if (!isDead) {
          const lease = { incarnation, ttlMs, stopsWithLease };
          const was = this.#core.book.stateOf(rank);
          if (this.#core.book.renew(rank, lease, nowMs)) this.#core.ranksChanged();
          if (was !== 'alive') this.#core.note('rank', { rank, what: 'alive' });
        }
        if (message === undefined) return;
        if (message.type === 'hello' && isDead) return;
        const coordination =
          message.type === 'hello' ? this.#core.beginCoordination() : this.#core.coordination;
        if (coordination !== undefined) {
          coordination.take(coordination.machine.receive(rank, message, nowMs));
          if (message.type === 'prepared') {
            const { token, layers } = message;
            this.#core.prepared({ rank, incarnation, token, layers });
          }
        }
      },
      (nowMs) => {
        const { lease, state } = this.#teller.rankViews(nowMs)[rank]!;
        const { epoch, held: live } = this.#core.host.live();
        return { lease, state, ttlMs, epoch, digest: live.digest, messages: this.#teller.messagesFor(rank) };
      },
    );
  }

  /** Takes what is reported of ranks. @throws EplbRangeError; nothing is taken then */
  reportRanks({ dead = [], alive = [], slow = [], reason = '' }: RanksBody): Promise<object> {
    for (const [i, rank] of dead.entries()) this.#core.checkRank(`ranks.dead[${i}]`, rank);
    for (const [i, rank] of alive.entries()) this.#core.checkRank(`ranks.alive[${i}]`, rank);
    for (const [i, { rank }] of slow.entries()) this.#core.checkRank(`ranks.slow[${i}].rank`, rank);
    const both = dead.find((rank) => alive.includes(rank));
    if (both !== undefined) throw new EplbRangeError('EPLB_RANGE', `ranks: rank ${both} is dead and alive`);
    return this.#core.run(
      (nowMs) => {
        for (const rank of dead) this.#core.die(rank, 'reported', reason || 'reported', nowMs);
        for (const rank of alive) if (this.#core.book.deathOf(rank) !== undefined) this.#core.return(rank);
        for (const { rank, speed } of slow) {
          if ((this.#core.book.speed?.[rank] ?? 1) === speed) continue;
          this.#core.book.setSpeed(rank, speed);
          this.#core.ranksChanged();
          this.#core.note('rank', { rank, what: 'speed', speed });
        }
      },
      (nowMs) => this.#teller.ranks(nowMs),
    );
  }

  /** All ranks. */
  ranks(): Promise<object> {
    return this.#core.run(
      () => undefined,
      (nowMs) => this.#teller.ranks(nowMs),
    );
  }

  /** Whether one more may listen. @throws EplbError `EPLB_LIMIT`, `EPLB_CLOSED`; EplbRangeError */
  checkListener(rank: number | undefined): void {
    if (rank !== undefined) this.#core.checkRank('query.rank', rank);
    this.hub.check();
  }

  /** Begins a stream of events. @returns what ends it @throws as {@link checkListener} */
  listen(sink: EventSink, rank: number | undefined, lastEventId: string | undefined): Promise<() => void> {
    return this.#core.run(
      () => undefined,
      (nowMs) =>
        this.#teller.hub.listen(sink, { rank, lastEventId, state: () => this.#teller.state(rank, nowMs) }),
    );
  }

  /** Whether a rank takes part in steps: not one that is dead, or fenced. */
  servesSteps(rank: number): boolean {
    const { coordination, book } = this.#core;
    if (book.deathOf(rank) !== undefined) return false;
    return coordination?.hasRanks !== true || coordination.state.ranks[rank]!.state !== 'fenced';
  }

  /** Takes other ranks than before. @throws as `EpochCore.resize` */
  resize(resizing: Resizing): Promise<void> {
    return this.#core.resize(resizing);
  }

  /** Ends streams, and lets no more time pass. */
  close(): void {
    this.#core.close();
  }

  #coordinated(epoch: number): Coordination {
    if (this.#core.coordination !== undefined) return this.#core.coordination;
    throw notFound(`there is no attempt at epoch ${epoch}: offer one with POST /v1/groups/NAME/epochs`);
  }
}
