import { EplbRangeError } from '../core/errors.ts';
import type { HeldEpoch } from './messages.ts';
import type { MigrationTarget, OperationOutcome } from './outcome.ts';
import {
  type Activation,
  type Checkpoint,
  type GroupSize,
  type JournalRecord,
  type LayerState,
  type RankEntry,
  REMEMBERED_OUTCOMES,
} from './records.ts';

/** An operation under way, as the journal has it. */
export interface OpenOperation {
  readonly token: number;
  readonly target: MigrationTarget;
  /** Those that took part when it began. Some may be fenced since. */
  readonly ranks: readonly number[];
  requested: boolean;
  /** Once it is decided. */
  firstStep: number | undefined;
}

/**
 * What the records of a journal come to. The coordinator changes it by records alone, so that one that was
 * started anew knows what the one before knew.
 */
export class GroupState {
  readonly size: GroupSize;
  live: HeldEpoch;
  /** The newest act's. */
  token = 0;
  /** How the live epoch became so. */
  activation: Activation = { token: 0, firstStep: 0 };
  operation: OpenOperation | undefined;
  readonly ranks: RankEntry[];
  /** Of operations that ended; one under way counts as what its layers were before. */
  readonly layers: LayerState[];
  /** By operation, the oldest first. */
  readonly outcomes = new Map<string, OperationOutcome>();

  constructor(size: GroupSize, digest: string) {
    this.size = size;
    this.live = { epoch: 0, digest };
    const unknown: RankEntry = { state: 'fenced', incarnation: -1, since: 0, reason: 'not heard of yet' };
    this.ranks = Array.from({ length: size.numRanks }, () => unknown);
    this.layers = Array.from({ length: size.numLayers }, () => 'idle');
  }

  /**
   * Takes a record.
   *
   * @throws EplbRangeError `EPLB_FORMAT` when it does not follow from those before; nothing changes
   */
  apply(record: JournalRecord): void {
    if (record.type === 'checkpoint') this.#applyCheckpoint(record);
    else if (record.type === 'begun') this.#applyBegun(record);
    else if (record.type === 'requested') this.#opened(record, false).requested = true;
    else if (record.type === 'decided') this.#applyDecided(record);
    else if (record.type === 'ended') this.#applyEnded(record);
    else this.#applyRank(record);
  }

  /** All of it, as a record. Only between operations. */
  checkpoint(): JournalRecord {
    const { live, token, activation } = this;
    const lists = { ranks: [...this.ranks], layers: [...this.layers], outcomes: [...this.outcomes.values()] };
    return { type: 'checkpoint', ...this.size, ...live, token, activation, ...lists };
  }

  #applyCheckpoint(record: Checkpoint): void {
    this.#expect(this.operation === undefined, 'a checkpoint within an operation');
    this.#expect(record.token >= this.token, 'a checkpoint that goes back');
    this.#expect(
      record.activation.token <= record.token && record.ranks.every(({ since }) => since <= record.token),
      'a checkpoint with a token that was not given out',
    );
    this.live = { epoch: record.epoch, digest: record.digest };
    this.token = record.token;
    this.activation = record.activation;
    for (const [rank, entry] of record.ranks.entries()) this.ranks[rank] = entry;
    for (const [layer, state] of record.layers.entries()) this.layers[layer] = state;
    this.outcomes.clear();
    for (const outcome of record.outcomes) this.outcomes.set(outcome.operationId, outcome);
  }

  #applyBegun({ token, target, ranks }: JournalRecord & { type: 'begun' }): void {
    this.#expect(this.operation === undefined, 'an operation within another');
    this.#expect(!this.outcomes.has(target.operationId), 'an operation for the second time');
    this.#expect(
      ranks.length > 0 && ranks.every((rank) => this.ranks[rank]!.state === 'serving'),
      'an operation with ranks that do not serve',
    );
    this.#take(token);
    this.operation = { token, target, ranks, requested: false, firstStep: undefined };
  }

  #applyDecided({ token, firstStep }: JournalRecord & { type: 'decided' }): void {
    const operation = this.#opened({ token, type: 'decided' }, false);
    operation.firstStep = firstStep;
    this.live = { epoch: this.live.epoch + 1, digest: operation.target.digest };
    this.activation = { token, firstStep };
    for (const rank of operation.ranks) this.#setMember(rank, 'unconfirmed');
  }

  #applyEnded({ token, outcome, type }: JournalRecord & { type: 'ended' }): void {
    const isAborted = outcome.status === 'aborted';
    const operation = this.#opened({ token, type }, !isAborted);
    const { operationId } = operation.target;
    this.#expect(outcome.operationId === operationId, 'the outcome of another operation');
    if (!isAborted) {
      const silent = outcome.status === 'fenced' ? outcome.ranks.map(({ rank }) => rank) : [];
      for (const rank of operation.ranks) if (!silent.includes(rank)) this.#setMember(rank, 'serving');
    }
    for (const layer of operation.target.layers) this.layers[layer] = isAborted ? 'aborted' : 'active';
    this.operation = undefined;
    this.outcomes.set(operationId, outcome);
    if (this.outcomes.size > REMEMBERED_OUTCOMES) {
      for (const oldest of this.outcomes.keys()) {
        this.outcomes.delete(oldest);
        break;
      }
    }
  }

  #applyRank(record: JournalRecord & { type: 'fenced' | 'admitted' | 'confirmed' }): void {
    const { type, token, rank } = record;
    const entry = this.ranks[rank]!;
    if (type === 'confirmed') {
      this.#expect(entry.state === 'unconfirmed' && token <= this.token, 'a confirmation of nothing');
      this.ranks[rank] = { ...entry, state: 'serving' };
      return;
    }
    this.#expect((type === 'fenced') === (entry.state !== 'fenced'), `a rank that is ${type} twice`);
    if (type === 'fenced') {
      this.#take(token);
      this.ranks[rank] = { ...entry, state: 'fenced', since: token, reason: record.reason };
      return;
    }
    this.#expect(this.operation === undefined, 'a rank that is admitted within an operation');
    this.#expect(record.incarnation >= entry.incarnation, 'a rank whose older process is admitted');
    this.#take(token);
    this.ranks[rank] = {
      state: 'unconfirmed',
      incarnation: record.incarnation,
      since: token,
      reason: '',
    };
  }

  /** Those that are fenced stay so. */
  #setMember(rank: number, state: 'serving' | 'unconfirmed'): void {
    const entry = this.ranks[rank]!;
    if (entry.state !== 'fenced') this.ranks[rank] = { ...entry, state };
  }

  #opened({ token, type }: { token: number; type: string }, isDecided: boolean): OpenOperation {
    const { operation } = this;
    const fits = operation?.token === token && (operation.firstStep !== undefined) === isDecided;
    this.#expect(fits, `${type}, which no operation waits for`);
    return operation!;
  }

  #take(token: number): void {
    this.#expect(token === this.token + 1, `token ${token} after ${this.token}`);
    this.token = token;
  }

  #expect(holds: boolean, what: string): void {
    if (!holds) throw new EplbRangeError('EPLB_FORMAT', `journal: ${what}`);
  }
}
