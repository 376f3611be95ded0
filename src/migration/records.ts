import { checkWhole } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import {
  checkAscending,
  checkHeldEpoch,
  checkLayers,
  checkShortText,
  count,
  fieldsOf,
  type HeldEpoch,
  unknownType,
} from './messages.ts';
import { checkOutcome, type MigrationTarget, type OperationOutcome } from './outcome.ts';

/** How many outcomes are remembered, for hosts that ask again. */
export const REMEMBERED_OUTCOMES = 1000;

/** The size of a group. It never changes. */
export interface GroupSize {
  readonly numRanks: number;
  readonly numLayers: number;
}

/** An activation that was decided: what a rank has to be told to be at the live epoch. */
export interface Activation {
  readonly token: number;
  readonly firstStep: number;
}

/**
 * How the coordinator sees a rank.
 *
 * - `serving`: it said that it serves the live epoch.
 * - `unconfirmed`: it may serve the live epoch, or nothing. It has not said so.
 * - `fenced`: it serves nothing, and takes no part until it is admitted.
 */
export type RankState = 'serving' | 'unconfirmed' | 'fenced';

/** A rank as the journal has it. */
export interface RankEntry {
  readonly state: RankState;
  /** The start of the rank's process that is meant; -1 before the first. */
  readonly incarnation: number;
  /** The token of its last admission, or of what fenced it. What the rank says of before counts no more. */
  readonly since: number;
  /** Why it is fenced. */
  readonly reason: string;
}

/**
 * What a layer is in. `idle`: never changed. `active` and `aborted` are how the last operation with it ended.
 */
export type LayerState = 'idle' | 'preparing' | 'prepared' | 'activating' | 'active' | 'aborted';

/** All that a coordinator knows between two operations. */
export interface Checkpoint extends GroupSize, HeldEpoch {
  readonly token: number;
  readonly activation: Activation;
  readonly ranks: readonly RankEntry[];
  readonly layers: readonly LayerState[];
  readonly outcomes: readonly OperationOutcome[];
}

/**
 * What a coordinator has decided. Replayed in order, these are its whole memory. Each act has a token: the
 * number of the one before plus 1.
 *
 * - `checkpoint`: what all records before this one come to. A journal begins with one.
 * - `begun`: an operation, and the ranks that take part.
 * - `requested`: the host asked for the activation.
 * - `decided`: the operation goes live. Before this record it does not, after it it does.
 * - `ended`: with its outcome.
 * - `fenced`, `admitted`, `confirmed`: a rank.
 */
export type JournalRecord =
  | ({ readonly type: 'checkpoint' } & Checkpoint)
  | {
      readonly type: 'begun';
      readonly token: number;
      readonly target: MigrationTarget;
      readonly ranks: readonly number[];
    }
  | { readonly type: 'requested'; readonly token: number }
  | { readonly type: 'decided'; readonly token: number; readonly firstStep: number }
  | { readonly type: 'ended'; readonly token: number; readonly outcome: OperationOutcome }
  | { readonly type: 'fenced'; readonly token: number; readonly rank: number; readonly reason: string }
  | { readonly type: 'admitted'; readonly token: number; readonly rank: number; readonly incarnation: number }
  | { readonly type: 'confirmed'; readonly token: number; readonly rank: number };

const LAYER_STATES: readonly unknown[] = ['idle', 'active', 'aborted'] satisfies LayerState[];
const RANK_STATES: readonly unknown[] = ['serving', 'unconfirmed', 'fenced'] satisfies RankState[];

/**
 * Checks a record that was read. Whether it follows from those before it is for the state to say.
 *
 * @returns the record, of own fields and arrays alone
 * @throws EplbTypeError, EplbRangeError
 */
export function checkRecord(value: unknown, size: GroupSize): JournalRecord {
  const fields = fieldsOf('record', value);
  const { type } = fields;
  if (type === 'checkpoint') return { type, ...checkCheckpoint(fields, size) };
  const token = count(fields, 'token');
  if (type === 'requested') return { type, token };
  if (type === 'decided') return { type, token, firstStep: count(fields, 'firstStep') };
  if (type === 'ended') {
    return { type, token, outcome: checkOutcome(fields.outcome, size.numRanks, size.numLayers) };
  }
  if (type === 'begun') {
    const ranks = checkAscending('ranks', fields.ranks, size.numRanks);
    return { type, token, ranks, target: checkTarget(fields.target, size.numLayers) };
  }
  const rank = checkWhole('rank', fields.rank, 0, size.numRanks - 1);
  if (type === 'fenced') return { type, token, rank, reason: checkShortText('reason', fields.reason) };
  if (type === 'admitted') return { type, token, rank, incarnation: count(fields, 'incarnation') };
  if (type === 'confirmed') return { type, token, rank };
  throw unknownType(type);
}

/**
 * Checks a target.
 *
 * @returns a copy
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, `EPLB_LAYER`, `EPLB_SHAPE`
 */
export function checkTarget(value: unknown, numLayers: number): MigrationTarget {
  const fields = fieldsOf('target', value);
  const { fromEpoch, activation = 'whenPrepared' } = fields;
  if (activation !== 'whenPrepared' && activation !== 'onRequest') throw unknownType(activation);
  const layers = checkLayers(fields.layers, numLayers);
  if (layers.length === 0) throw new EplbRangeError('EPLB_SHAPE', 'target: no layers to move');
  return {
    operationId: checkShortText('operationId', fields.operationId, 1),
    digest: checkShortText('digest', fields.digest, 1),
    layers,
    activation,
    ...(fromEpoch === undefined ? {} : { fromEpoch: checkWhole('fromEpoch', fromEpoch, 0) }),
  };
}

function checkCheckpoint(fields: Readonly<Record<string, unknown>>, size: GroupSize): Checkpoint {
  const { numRanks, numLayers } = size;
  for (const [name, wanted] of Object.entries({ numRanks, numLayers })) {
    if (count(fields, name) === wanted) continue;
    const message = `${name}: the journal is of a group of ${fields[name]}, not of ${wanted}`;
    throw new EplbRangeError('EPLB_SHAPE', message);
  }
  const activation = fieldsOf('activation', fields.activation);
  return {
    numRanks,
    numLayers,
    ...checkHeldEpoch('checkpoint', fields),
    token: count(fields, 'token'),
    activation: { token: count(activation, 'token'), firstStep: count(activation, 'firstStep') },
    ranks: list('ranks', fields.ranks, numRanks).map(checkRankEntry),
    layers: list('layers', fields.layers, numLayers).map(checkLayerState),
    outcomes: list('outcomes', fields.outcomes).map((each) => checkOutcome(each, numRanks, numLayers)),
  };
}

function checkRankEntry(value: unknown): RankEntry {
  const fields = fieldsOf('rank', value);
  if (!RANK_STATES.includes(fields.state)) throw unknownType(fields.state);
  return {
    state: fields.state as RankState,
    incarnation: checkWhole('incarnation', fields.incarnation, -1),
    since: count(fields, 'since'),
    reason: checkShortText('reason', fields.reason),
  };
}

function checkLayerState(value: unknown): LayerState {
  if (!LAYER_STATES.includes(value)) throw unknownType(value);
  return value as LayerState;
}

function list(title: string, value: unknown, length?: number): readonly unknown[] {
  const most = length ?? REMEMBERED_OUTCOMES;
  if (Array.isArray(value) && value.length <= most && value.length >= (length ?? 0)) return value;
  throw new EplbRangeError('EPLB_SHAPE', `${title}: no list of ${length ?? `at most ${most}`}`);
}
