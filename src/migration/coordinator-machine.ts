import { checkAtLeast, checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { type CoordinatorMachineOptions, checkCoordinatorOptions } from './coordinator-options.ts';
import type {
  Answered,
  CoordinatorOutput,
  MigrationEvent,
  MigrationView,
  OfferAnswer,
  OperationView,
  RequestAnswer,
} from './coordinator-output.ts';
import { GroupState, type OpenOperation } from './group-state.ts';
import {
  type CoordinatorMessage,
  checkRankMessage,
  checkShortText,
  type HeldEpoch,
  type RankMessage,
  shortText,
} from './messages.ts';
import { OperationProgress } from './operation-progress.ts';
import type {
  FencedRank,
  MigrationAbortReason,
  MigrationPhase,
  MigrationTarget,
  OperationOutcome,
} from './outcome.ts';
import { checkRecord, checkTarget, type JournalRecord, type LayerState } from './records.ts';

/**
 * The coordinator of one group of ranks as a machine: inputs, with the time, give records, messages and
 * events. It has no clock, no timer and no transport, and never waits. docs/migration.md describes the
 * protocol.
 *
 * A method that throws has changed nothing.
 */
export class CoordinatorMachine {
  readonly #options: Required<CoordinatorMachineOptions>;
  readonly #state: GroupState;
  #isNew: boolean;
  #progress: OperationProgress | undefined;
  #deadlineMs: number | undefined;
  #sentMs = Number.NEGATIVE_INFINITY;
  #nowMs = 0;
  #heardMs: (number | undefined)[];
  #numIgnored = 0;
  #records: JournalRecord[] = [];
  #messages: { rank: number; message: CoordinatorMessage }[] = [];
  #events: MigrationEvent[] = [];

  /**
   * @param records - of the journal: with some the machine goes on from there
   * @throws EplbTypeError, EplbRangeError: wrong options, `EPLB_SHAPE` for a journal of a group of another
   *   size, `EPLB_FORMAT` for records that do not follow from each other
   */
  constructor(options: CoordinatorMachineOptions, records: readonly unknown[] = []) {
    this.#options = checkCoordinatorOptions(options);
    const { numRanks, numLayers, digest } = this.#options;
    const state = new GroupState({ numRanks, numLayers }, digest);
    if (!Array.isArray(records)) {
      throw new EplbTypeError('EPLB_KIND', `records: ${show(records)} is not an array`);
    }
    for (const [i, each] of records.entries()) {
      const record = checkRecord(each, state.size);
      if (i === 0 && record.type !== 'checkpoint') {
        throw new EplbRangeError('EPLB_FORMAT', 'journal: does not begin with a checkpoint');
      }
      state.apply(record);
    }
    this.#state = state;
    this.#isNew = records.length === 0;
    this.#heardMs = Array.from({ length: numRanks });
    if (state.operation === undefined) return;
    this.#progress = new OperationProgress(state.operation, numRanks);
    // By the coordinator before.
    this.#progress.mayBeArmed = true;
  }

  /** Takes what a rank said. Whatever of it is late, doubled or out of order changes nothing. */
  receive(rank: number, message: unknown, nowMs: number): CoordinatorOutput {
    const from = checkWhole('rank', rank, 0, this.#options.numRanks - 1);
    const checked = checkRankMessage(message, this.#options.numLayers);
    this.#begin(nowMs);
    this.#take(from, checked);
    return this.#end();
  }

  /** Lets time pass: what waits too long ends, and what had no answer is sent again. */
  tick(nowMs: number): CoordinatorOutput {
    this.#begin(nowMs);
    if (this.#deadlineMs !== undefined && this.#nowMs >= this.#deadlineMs) this.#timeOut();
    if (this.#nowMs - this.#sentMs >= this.#options.resendMs) this.#sendAgain();
    return this.#end();
  }

  /** When the next tick has something to do, or undefined. */
  nextTickMs(): number | undefined {
    const { operation, ranks } = this.#state;
    if (this.#isNew) return this.#nowMs;
    if (operation === undefined && ranks.every(({ state }) => state !== 'unconfirmed')) return undefined;
    const again = this.#sentMs + this.#options.resendMs;
    if (operation === undefined) return again;
    return Math.min(again, this.#deadlineMs ?? this.#nowMs);
  }

  /** Begins an operation; or says how it stands, when there was one of the same name. */
  offer(target: MigrationTarget, nowMs: number): Answered<OfferAnswer> {
    const checked = checkTarget(target, this.#options.numLayers);
    this.#begin(nowMs);
    const answer = this.#offered(checked);
    return { ...this.#end(), answer };
  }

  /** Lets an operation that was offered with `activation: 'onRequest'` go live once it is prepared. */
  activate(operationId: string, nowMs: number): Answered<RequestAnswer> {
    checkShortText('operationId', operationId, 1);
    this.#begin(nowMs);
    const answer = this.#answerFor(operationId);
    const { operation } = this.#state;
    if (answer.status === 'accepted' && !operation!.requested) {
      this.#record({ type: 'requested', token: operation!.token });
      this.#advance();
    }
    return { ...this.#end(), answer };
  }

  /** Ends an operation, unless it was decided. */
  abort(operationId: string, text: string, nowMs: number): Answered<RequestAnswer> {
    checkShortText('operationId', operationId, 1);
    checkShortText('text', text);
    this.#begin(nowMs);
    const answer = this.#answerFor(operationId);
    if (answer.status === 'accepted') this.#abort({ cause: 'requested', text });
    return { ...this.#end(), answer };
  }

  /**
   * Takes it from the host that a rank's process is gone and serves nothing. Never call it for one that is
   * only silent: it may serve, and the others would go on without it.
   */
  lost(rank: number, text: string, nowMs: number): CoordinatorOutput {
    checkWhole('rank', rank, 0, this.#options.numRanks - 1);
    checkShortText('text', text);
    this.#begin(nowMs);
    if (this.#state.ranks[rank]!.state !== 'fenced') this.#stopped(rank, `lost: ${text}`);
    return this.#end();
  }

  /** The epoch that is live: that of the last operation that was decided. */
  get live(): HeldEpoch {
    return this.#state.live;
  }

  /** How an operation ended, if it did and is remembered. */
  outcome(operationId: string): OperationOutcome | undefined {
    return this.#state.outcomes.get(operationId);
  }

  /** All records so far in one, to begin a shorter journal with. None while an operation is under way. */
  checkpoint(): JournalRecord | undefined {
    return this.#state.operation === undefined ? this.#state.checkpoint() : undefined;
  }

  /** How all stands. */
  view(): MigrationView {
    const { live, ranks, operation } = this.#state;
    const shown = ranks.map(({ state, reason }, rank) => {
      const heardMs = this.#heardMs[rank];
      return { state, reason, ...(heardMs === undefined ? {} : { heardMs }) };
    });
    const layers = [...this.#state.layers];
    const common = { ...live, ranks: shown, layers, numIgnored: this.#numIgnored };
    if (operation === undefined) return common;
    const { target, firstStep } = operation;
    for (const layer of target.layers) layers[layer] = this.#layerState(layer);
    const view: OperationView = {
      operationId: target.operationId,
      digest: target.digest,
      layers: [...target.layers],
      epoch: firstStep === undefined ? live.epoch + 1 : live.epoch,
      phase: this.#progress!.phase,
      ranks: [...operation.ranks],
      waitingFor: this.#waitingFor(),
      ...(firstStep === undefined ? {} : { firstStep }),
    };
    return { ...common, operation: view };
  }

  #layerState(layer: number): LayerState {
    const { phase } = this.#progress!;
    if (phase !== 'preparing') return phase === 'arming' ? 'prepared' : phase;
    const isPrepared = this.#participants().every((rank) => this.#progress!.hasPrepared(rank, layer));
    return isPrepared ? 'prepared' : 'preparing';
  }

  #begin(nowMs: number): void {
    // A clock that goes back is taken to stand still.
    this.#nowMs = Math.max(this.#nowMs, checkAtLeast('nowMs', nowMs, 0));
    this.#records = [];
    this.#messages = [];
    this.#events = [];
    if (this.#isNew) this.#records.push(this.#state.checkpoint());
    this.#isNew = false;
    if (this.#state.operation !== undefined && this.#deadlineMs === undefined) this.#startPhase();
  }

  #end(): CoordinatorOutput {
    return { records: this.#records, messages: this.#messages, events: this.#events };
  }

  #record(record: JournalRecord): void {
    this.#state.apply(record);
    this.#records.push(record);
  }

  #send(rank: number, message: CoordinatorMessage): void {
    this.#messages.push({ rank, message });
  }

  /** The process of the rank that was admitted last: messages are for it alone. */
  #incarnationOf(rank: number): number {
    return this.#state.ranks[rank]!.incarnation;
  }

  #take(rank: number, message: RankMessage): void {
    const { incarnation, state, since } = this.#state.ranks[rank]!;
    const isHello = message.type === 'hello';
    // Of a process that is gone, or of one that has not said hello.
    if (message.incarnation < incarnation || (message.incarnation > incarnation && !isHello)) {
      this.#numIgnored++;
      return;
    }
    this.#heardMs[rank] = this.#nowMs;
    if (isHello) this.#takeHello(rank, message);
    else if (state === 'fenced') this.#send(rank, { type: 'fence', incarnation, token: since });
    else if (message.type === 'confirmed') this.#takeConfirmed(rank, message);
    else if (message.token !== this.#state.operation?.token) this.#takeLate(rank, message);
    else this.#takeAnswer(rank, message);
  }

  /** A rank that serves nothing: its process is new, it failed, or it waits to be admitted. */
  #takeHello(rank: number, message: RankMessage & { type: 'hello' }): void {
    const { incarnation, state, since } = this.#state.ranks[rank]!;
    if (state !== 'fenced') {
      if (message.incarnation === incarnation && message.token < since) {
        // It said so before it was admitted.
        this.#numIgnored++;
        return;
      }
      const isNew = message.incarnation > incarnation;
      this.#stopped(rank, isNew ? `restarted: ${message.reason}` : message.reason);
    }
    // Who is admitted takes part in the next operation, not in one under way.
    if (this.#state.operation !== undefined) return;
    const { live } = this.#state;
    if (message.holds?.epoch === live.epoch && message.holds.digest === live.digest) {
      const token = this.#state.token + 1;
      this.#record({ type: 'admitted', token, rank, incarnation: message.incarnation });
      this.#events.push({ type: 'admitted', rank, epoch: live.epoch });
      this.#sendStanding(rank);
    } else {
      this.#send(rank, { type: 'restore', incarnation: message.incarnation, ...live });
    }
  }

  #takeConfirmed(rank: number, { token, epoch }: RankMessage & { type: 'confirmed' }): void {
    const { operation, live } = this.#state;
    if (epoch !== live.epoch || this.#state.ranks[rank]!.state !== 'unconfirmed') return;
    if (token < this.#awaitedToken(rank)) {
      this.#numIgnored++;
    } else if (operation !== undefined) {
      this.#progress!.confirmed(rank);
      this.#advance();
    } else {
      this.#record({ type: 'confirmed', token, rank });
      this.#events.push({ type: 'confirmed', rank, epoch });
    }
  }

  /** An answer to an operation that has ended, for this rank or for all. It may not have heard how. */
  #takeLate(rank: number, message: RankMessage): void {
    this.#numIgnored++;
    if (message.token > this.#state.token) return;
    if (message.token === this.#state.activation.token) {
      if (this.#state.ranks[rank]!.state === 'unconfirmed') this.#sendStanding(rank);
    } else this.#send(rank, { type: 'abort', incarnation: message.incarnation, token: message.token });
  }

  #takeAnswer(rank: number, message: RankMessage): void {
    const progress = this.#progress!;
    if (this.#state.operation!.firstStep !== undefined) {
      // It has not heard of the decision.
      this.#sendStanding(rank);
    } else if (message.type === 'refused') {
      const { layers, reason } = message;
      this.#abort({ cause: 'refused', rank, layers, text: reason });
    } else {
      if (message.type === 'prepared') progress.prepared(rank, message.layers);
      // It may have been asked by the coordinator before, and has prepared all.
      else if (message.type === 'armed') progress.armed(rank, message.lastStep);
      this.#advance();
    }
  }

  /** A rank serves no more, for certain. */
  #stopped(rank: number, text: string): void {
    const reason = shortText(text);
    this.#record({ type: 'fenced', token: this.#state.token + 1, rank, reason });
    this.#events.push({ type: 'fenced', rank, reason });
    const { operation } = this.#state;
    if (!operation?.ranks.includes(rank)) return;
    // Once a rank has promised its last step, one that is gone may have served a later one.
    const mayExclude = this.#options.onLostRank === 'exclude' && !this.#progress!.mayBeArmed;
    const isAborted = operation.firstStep === undefined && !(mayExclude && this.#participants().length > 0);
    if (isAborted) this.#abort({ cause: 'rankLost', rank, text: reason });
    else this.#advance();
  }

  #offered(target: MigrationTarget): OfferAnswer {
    const { operation, outcomes, live, ranks } = this.#state;
    const { operationId } = target;
    const outcome = outcomes.get(operationId);
    const known = operation?.target.operationId === operationId ? operation.target : outcome;
    if (known !== undefined) {
      if (known.digest !== target.digest || String(known.layers) !== String(target.layers)) {
        return refused('renamed', `${operationId} has another target`);
      }
      if (outcome !== undefined) return { status: 'ended', outcome };
      return {
        status: 'accepted',
        epoch: operation!.firstStep === undefined ? live.epoch + 1 : live.epoch,
      };
    }
    if (operation !== undefined) {
      return refused('competing', `${operation.target.operationId} is under way`);
    }
    if (target.fromEpoch !== undefined && target.fromEpoch !== live.epoch) {
      return refused('stale', `planned from epoch ${target.fromEpoch}, and ${live.epoch} is live`);
    }
    if (target.digest === live.digest) return refused('unchanged', `${target.digest} is live`);
    const members = ranksThat(ranks, ({ state }) => state !== 'fenced');
    const unconfirmed = members.filter((rank) => ranks[rank]!.state === 'unconfirmed');
    if (unconfirmed.length > 0) {
      return refused('unconfirmed', `ranks that have not confirmed epoch ${live.epoch}: ${unconfirmed}`);
    }
    if (members.length === 0) return refused('no ranks', 'all ranks are fenced');
    const token = this.#state.token + 1;
    this.#record({ type: 'begun', token, target, ranks: members });
    this.#progress = new OperationProgress(this.#state.operation!, ranks.length);
    this.#events.push({ type: 'begun', operationId, layers: target.layers });
    this.#startPhase();
    this.#sendAgain();
    return { status: 'accepted', epoch: live.epoch + 1 };
  }

  #answerFor(operationId: string): RequestAnswer {
    const { operation, outcomes } = this.#state;
    const outcome = outcomes.get(operationId);
    if (outcome !== undefined) return { status: 'ended', outcome };
    if (operation?.target.operationId !== operationId) return { status: 'unknown' };
    return { status: operation.firstStep === undefined ? 'accepted' : 'decided' };
  }

  /** Goes on to the next phase when all that this one waits for is there. */
  #advance(): void {
    const progress = this.#progress!;
    const operation = this.#state.operation!;
    const { operationId, layers, activation } = operation.target;
    if (progress.phase === 'preparing' && this.#waitingFor().length === 0) {
      this.#events.push({ type: 'prepared', operationId, layers });
      this.#enter('prepared');
    }
    if (progress.phase === 'prepared' && (activation !== 'onRequest' || operation.requested)) {
      this.#enter('arming');
      progress.mayBeArmed = true;
      this.#sendAgain();
    }
    if (progress.phase === 'arming' && this.#waitingFor().length === 0) this.#decide(operation);
    if (progress.phase === 'activating' && this.#waitingFor().length === 0) this.#endActivation(operation);
  }

  /** The point of no return: the record is what makes the new epoch live. */
  #decide(operation: OpenOperation): void {
    const firstStep = this.#progress!.lastOldStep(this.#participants()) + 1;
    this.#record({ type: 'decided', token: operation.token, firstStep });
    const { operationId } = operation.target;
    this.#events.push({ type: 'decided', operationId, epoch: this.#state.live.epoch, firstStep });
    this.#enter('activating');
    this.#sendAgain();
  }

  #endActivation({ token, target, ranks, firstStep }: OpenOperation): void {
    const { operationId, digest, layers } = target;
    const silent = this.#waitingFor();
    const fenced = ranks.filter(
      (rank) => this.#state.ranks[rank]!.state === 'fenced' || silent.includes(rank),
    );
    const common = { operationId, digest, layers, epoch: this.#state.live.epoch, firstStep: firstStep! };
    const listed = fenced.map((rank): FencedRank => {
      if (silent.includes(rank)) return { rank, state: 'silent', text: 'has not confirmed in time' };
      return { rank, state: 'stopped', text: this.#state.ranks[rank]!.reason };
    });
    const outcome: OperationOutcome =
      listed.length === 0 ? { ...common, status: 'active' } : { ...common, status: 'fenced', ranks: listed };
    this.#finish(token, outcome);
  }

  #abort(reason: MigrationAbortReason): void {
    const { token, target } = this.#state.operation!;
    const { operationId, digest, layers } = target;
    // Who does not hear of it asks.
    for (const rank of this.#participants()) {
      this.#send(rank, { type: 'abort', incarnation: this.#incarnationOf(rank), token });
    }
    this.#finish(token, { operationId, digest, layers, status: 'aborted', reason });
  }

  #finish(token: number, outcome: OperationOutcome): void {
    this.#record({ type: 'ended', token, outcome });
    this.#events.push({ type: 'ended', operationId: outcome.operationId, outcome });
    this.#progress = undefined;
    this.#deadlineMs = undefined;
  }

  #timeOut(): void {
    const operation = this.#state.operation!;
    const { phase } = this.#progress!;
    if (phase === 'activating') this.#endActivation(operation);
    else this.#abort({ cause: 'timedOut', phase, ranks: this.#waitingFor() });
  }

  #enter(phase: MigrationPhase): void {
    this.#progress!.phase = phase;
    this.#startPhase();
  }

  #startPhase(): void {
    const { prepareTimeoutMs, armTimeoutMs, activateTimeoutMs } = this.#options;
    const { phase } = this.#progress!;
    const timeouts = { arming: armTimeoutMs, activating: activateTimeoutMs, preparing: prepareTimeoutMs };
    this.#deadlineMs = this.#nowMs + (phase === 'prepared' ? prepareTimeoutMs : timeouts[phase]);
  }

  #participants(): number[] {
    return this.#state.operation!.ranks.filter((rank) => this.#state.ranks[rank]!.state !== 'fenced');
  }

  #waitingFor(): number[] {
    return this.#participants().filter((rank) => !this.#progress!.hasAnswered(rank));
  }

  /** To all that have not answered. */
  #sendAgain(): void {
    this.#sentMs = this.#nowMs;
    if (this.#state.operation !== undefined) {
      for (const rank of this.#waitingFor()) this.#sendAgainTo(rank);
      return;
    }
    for (const [rank, { state }] of this.#state.ranks.entries()) {
      if (state === 'unconfirmed') this.#sendStanding(rank);
    }
  }

  /** What the phase asks of a rank. */
  #sendAgainTo(rank: number): void {
    const { token, target } = this.#state.operation!;
    const { phase } = this.#progress!;
    const incarnation = this.#incarnationOf(rank);
    const { digest, layers } = target;
    if (phase === 'activating') this.#sendStanding(rank);
    else if (phase === 'arming') this.#send(rank, { type: 'arm', incarnation, token });
    else if (phase === 'preparing') {
      const epoch = this.#state.live.epoch + 1;
      this.#send(rank, { type: 'prepare', incarnation, token, layers, epoch, digest });
    }
  }

  /** What an unconfirmed rank has to do to be at the live epoch: activate it, or serve what it holds. */
  #sendStanding(rank: number): void {
    const { live, activation, ranks } = this.#state;
    const { firstStep, token } = activation;
    const { since, incarnation } = ranks[rank]!;
    const { epoch, digest } = live;
    if (since > token) {
      this.#send(rank, { type: 'admit', incarnation, token: since, firstStep, epoch, digest });
    } else this.#send(rank, { type: 'activate', incarnation, token, firstStep, epoch });
  }

  #awaitedToken(rank: number): number {
    return Math.max(this.#state.ranks[rank]!.since, this.#state.activation.token);
  }
}

function refused(reason: (OfferAnswer & { status: 'refused' })['reason'], text: string): OfferAnswer {
  return { status: 'refused', reason, text };
}

function ranksThat<T>(ranks: readonly T[], holds: (entry: T) => boolean): number[] {
  return ranks.flatMap((entry, rank) => (holds(entry) ? [rank] : []));
}
