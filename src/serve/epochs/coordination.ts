import { CoordinatorMachine } from '../../migration/coordinator-machine.ts';
import type { CoordinatorMachineOptions } from '../../migration/coordinator-options.ts';
import type { CoordinatorOutput, MigrationEvent } from '../../migration/coordinator-output.ts';
import { GroupState } from '../../migration/group-state.ts';
import type { CoordinatorMessage, HeldEpoch } from '../../migration/messages.ts';
import type { OperationOutcome } from '../../migration/outcome.ts';
import type { JournalRecord } from '../../migration/records.ts';

/** The incarnation of ranks that the engine speaks for: those that say hello themselves have larger ones. */
const SPOKEN_FOR = 0;

/** Records after which they are replaced by one. */
const COMPACT_AFTER = 256;

/** What inputs came to, until it is durable. */
export interface Outputs {
  records: JournalRecord[];
  messages: { readonly rank: number; readonly message: CoordinatorMessage }[];
  events: MigrationEvent[];
}

/**
 * The coordinator of a group, and what its records come to. It collects what its inputs give: whoever made
 * that durable takes it, and only then sends and tells it.
 */
export class Coordination {
  readonly machine: CoordinatorMachine;
  /** With all records, also those that are not durable yet. */
  readonly state: GroupState;
  #records: readonly unknown[];
  #outputs: Outputs = emptyOutputs();

  /**
   * @param records as they were kept: see {@link beginning} for the first
   * @param isNew whether they are to be kept yet
   */
  constructor(options: CoordinatorMachineOptions, records: readonly unknown[], isNew = false) {
    this.machine = new CoordinatorMachine(options, records);
    const { numRanks, numLayers, digest } = options;
    this.state = new GroupState({ numRanks, numLayers }, digest);
    // The machine has checked them.
    const checked = records as readonly JournalRecord[];
    for (const record of checked) this.state.apply(record);
    this.#records = records;
    if (isNew) this.#outputs.records.push(...checked);
  }

  /** The first record of a group that is at an epoch. */
  static beginning(size: { numRanks: number; numLayers: number }, live: HeldEpoch): JournalRecord {
    const state = new GroupState(size, live.digest);
    state.live = live;
    return state.checkpoint();
  }

  /** All records so far: what is to be kept. */
  get records(): readonly unknown[] {
    return this.#records;
  }

  /** Whether any rank has ever taken part. */
  get hasRanks(): boolean {
    return this.state.ranks.some(({ incarnation }) => incarnation >= 0);
  }

  /**
   * The record that a coordinator of another number of ranks begins with, between two operations: ranks that
   * are new were never heard of, and how attempts ended by ranks that are gone is forgotten. Undefined before
   * any rank took part: then another one begins anyway.
   */
  resized(numRanks: number): JournalRecord | undefined {
    const checkpoint = this.hasRanks ? this.machine.checkpoint() : undefined;
    if (checkpoint?.type !== 'checkpoint') return undefined;
    const { numLayers, digest, outcomes } = checkpoint;
    const { ranks } = new GroupState({ numRanks, numLayers }, digest);
    for (const [rank, entry] of checkpoint.ranks.slice(0, numRanks).entries()) ranks[rank] = entry;
    const isOfThese = (outcome: OperationOutcome) => ranksIn(outcome).every((rank) => rank < numRanks);
    return { ...checkpoint, numRanks, ranks, outcomes: outcomes.filter(isOfThese) };
  }

  /** Collects what an input gave. @returns it */
  take<T extends CoordinatorOutput>(output: T): T {
    for (const record of output.records) this.state.apply(record);
    this.#records = [...this.#records, ...output.records];
    this.#outputs.records.push(...output.records);
    this.#outputs.messages.push(...output.messages);
    this.#outputs.events.push(...output.events);
    return output;
  }

  /** Says for a rank that does not speak itself that it serves the live epoch, when no operation is open. */
  speakFor(rank: number, nowMs: number): void {
    const { live, ranks } = this.state;
    const token = ranks[rank]!.since;
    const hello = { type: 'hello', incarnation: SPOKEN_FOR, token, holds: live, reason: '', broken: [] };
    this.take(this.machine.receive(rank, hello, nowMs));
    const { since } = this.state.ranks[rank]!;
    const confirmed = { type: 'confirmed', incarnation: SPOKEN_FOR, token: since, epoch: live.epoch };
    this.take(this.machine.receive(rank, confirmed, nowMs));
  }

  /** Whether the engine speaks for any rank. */
  get hasSpokenFor(): boolean {
    return this.state.ranks.some(({ incarnation }) => incarnation === SPOKEN_FOR);
  }

  isSpokenFor(rank: number): boolean {
    return this.state.ranks[rank]!.incarnation === SPOKEN_FOR;
  }

  /** What was collected since the last time. */
  drain(): Outputs {
    const outputs = this.#outputs;
    this.#outputs = emptyOutputs();
    return outputs;
  }

  /** One record in place of all, once there are many and no operation is open. */
  compacted(): JournalRecord | undefined {
    if (this.#records.length < COMPACT_AFTER) return undefined;
    const checkpoint = this.machine.checkpoint();
    if (checkpoint !== undefined) this.#records = [checkpoint];
    return checkpoint;
  }
}

/** The ranks that an outcome names. */
function ranksIn(outcome: OperationOutcome): readonly number[] {
  if (outcome.status === 'fenced') return outcome.ranks.map(({ rank }) => rank);
  if (outcome.status === 'active') return [];
  const { reason } = outcome;
  if (reason.cause === 'timedOut') return reason.ranks;
  return reason.cause === 'requested' ? [] : [reason.rank];
}

function emptyOutputs(): Outputs {
  return { records: [], messages: [], events: [] };
}
