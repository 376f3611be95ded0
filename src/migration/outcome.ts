import { checkWhole } from '../core/checks.ts';
import { checkAscending, checkLayers, checkShortText, count, fieldsOf, unknownType } from './messages.ts';

/** What a group of ranks is to change to. Nothing is known of it here but its name. */
export interface MigrationTarget {
  /** Names the operation: a second call with it is the same operation, before and after a restart. */
  readonly operationId: string;
  /** Of the mapping that is live in all layers once these were activated. */
  readonly digest: string;
  /** The layers that change, in ascending order. */
  readonly layers: readonly number[];
  /** The epoch that the target was planned from. When given, another live one refuses it as stale. */
  readonly fromEpoch?: number;
  /**
   * When the layers are activated: as soon as all ranks have prepared them, or when `activate()` asks for it
   * besides. `whenPrepared` by default.
   */
  readonly activation?: 'whenPrepared' | 'onRequest';
}

/** Where an operation is: waiting for buffers, for the host's request, for the promises, for the swaps. */
export type MigrationPhase = 'preparing' | 'prepared' | 'arming' | 'activating';

/** Why nothing was changed. */
export type MigrationAbortReason =
  | {
      readonly cause: 'refused';
      readonly rank: number;
      readonly layers: readonly number[];
      readonly text: string;
    }
  /** These ranks had not answered. None: the host had not asked for the activation. */
  | {
      readonly cause: 'timedOut';
      readonly phase: Exclude<MigrationPhase, 'activating'>;
      readonly ranks: readonly number[];
    }
  | { readonly cause: 'rankLost'; readonly rank: number; readonly text: string }
  | { readonly cause: 'requested'; readonly text: string };

/** A rank that is out until it confirms an epoch. */
export interface FencedRank {
  readonly rank: number;
  /** It serves nothing, or has not said that it activated: it serves the new epoch or nothing. */
  readonly state: 'stopped' | 'silent';
  readonly text: string;
}

/** How an operation ended. It never changes after. */
export type OperationOutcome = {
  readonly operationId: string;
  readonly digest: string;
  readonly layers: readonly number[];
} & (
  | { readonly status: 'active'; readonly epoch: number; readonly firstStep: number }
  | {
      readonly status: 'fenced';
      readonly epoch: number;
      readonly firstStep: number;
      readonly ranks: readonly FencedRank[];
    }
  | { readonly status: 'aborted'; readonly reason: MigrationAbortReason }
);

/** Checks an outcome that was read. @returns a copy */
export function checkOutcome(value: unknown, numRanks: number, numLayers: number): OperationOutcome {
  const fields = fieldsOf('outcome', value);
  const { status } = fields;
  const common = {
    operationId: checkShortText('operationId', fields.operationId, 1),
    digest: checkShortText('digest', fields.digest, 1),
    layers: checkLayers(fields.layers, numLayers),
  };
  if (status === 'aborted') {
    return { ...common, status, reason: checkReason(fields.reason, numRanks, numLayers) };
  }
  const activation = { epoch: count(fields, 'epoch'), firstStep: count(fields, 'firstStep') };
  if (status === 'active') return { ...common, status, ...activation };
  if (status !== 'fenced') throw unknownType(status);
  const listed: readonly unknown[] = Array.isArray(fields.ranks) ? fields.ranks : [fields.ranks];
  const ranks = listed.map((each) => checkFenced(each, numRanks));
  return { ...common, status, ...activation, ranks };
}

function checkFenced(value: unknown, numRanks: number): FencedRank {
  const { rank, state, text } = fieldsOf('ranks', value);
  if (state !== 'stopped' && state !== 'silent') throw unknownType(state);
  return { rank: checkWhole('rank', rank, 0, numRanks - 1), state, text: checkShortText('text', text) };
}

function checkReason(value: unknown, numRanks: number, numLayers: number): MigrationAbortReason {
  const fields = fieldsOf('reason', value);
  const { cause, phase } = fields;
  if (cause === 'timedOut') {
    if (phase !== 'preparing' && phase !== 'prepared' && phase !== 'arming') throw unknownType(phase);
    return { cause, phase, ranks: checkAscending('ranks', fields.ranks, numRanks) };
  }
  const text = checkShortText('text', fields.text);
  if (cause === 'requested') return { cause, text };
  if (cause !== 'refused' && cause !== 'rankLost') throw unknownType(cause);
  const rank = checkWhole('rank', fields.rank, 0, numRanks - 1);
  if (cause === 'rankLost') return { cause, rank, text };
  return { cause, rank, text, layers: checkLayers(fields.layers, numLayers) };
}
