import { checkObject, checkText, checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';

/** The longest text in a message or a record: an identifier, a digest, a reason. */
const MOST_CHARACTERS = 1000;

/** The largest step: one more can still be counted. */
const MOST_STEPS = Number.MAX_SAFE_INTEGER - 1;

/** One whole set of weights: the mapping that they are placed by, and the group's number for it. */
export interface HeldEpoch {
  readonly epoch: number;
  /** Of the mapping, in any form, as long as all use the same. */
  readonly digest: string;
}

/**
 * What the coordinator tells a rank. Each message is for one start of the rank's process, and any other
 * ignores it.
 *
 * - `prepare`: fill a buffer with what these layers get. Serve as before.
 * - `arm`: say which step is the last that you serve without a decision.
 * - `activate`: it is decided. Swap before the first step from `firstStep` on.
 * - `abort`: drop the buffer, and go on as before.
 * - `restore`: have the weights of this epoch, then say hello again.
 * - `admit`: serve this epoch, at steps from `firstStep` on.
 * - `fence`: serve no more, and say hello.
 */
export type CoordinatorMessage = { readonly incarnation: number } & (
  | ({ readonly type: 'prepare'; readonly token: number; readonly layers: readonly number[] } & HeldEpoch)
  | { readonly type: 'arm'; readonly token: number }
  | { readonly type: 'activate'; readonly token: number; readonly epoch: number; readonly firstStep: number }
  | { readonly type: 'abort'; readonly token: number }
  | ({ readonly type: 'restore' } & HeldEpoch)
  | ({ readonly type: 'admit'; readonly token: number; readonly firstStep: number } & HeldEpoch)
  | { readonly type: 'fence'; readonly token: number }
);

/**
 * What a rank tells the coordinator: how it stands, so that it may be told any number of times.
 *
 * - `hello`: I serve nothing, and hold this. Why, and which layers are broken, is there for people.
 * - `prepared`: the buffers of these layers, all so far, are filled.
 * - `refused`: I cannot prepare these layers, and have dropped what I had.
 * - `armed`: I serve no step after `lastStep` until I know what was decided.
 * - `confirmed`: I serve this epoch.
 *
 * `token` is the newest act of the coordinator that the rank knows of.
 */
export type RankMessage = { readonly incarnation: number; readonly token: number } & (
  | {
      readonly type: 'hello';
      readonly holds: HeldEpoch | null;
      readonly reason: string;
      readonly broken: readonly number[];
    }
  | { readonly type: 'prepared'; readonly layers: readonly number[] }
  | { readonly type: 'refused'; readonly layers: readonly number[]; readonly reason: string }
  | { readonly type: 'armed'; readonly lastStep: number }
  | { readonly type: 'confirmed'; readonly epoch: number }
);

/**
 * Checks what came from outside.
 *
 * @returns the message, of own fields and arrays alone
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`, `EPLB_LAYER`
 */
export function checkRankMessage(value: unknown, numLayers: number): RankMessage {
  const fields = fieldsOf('message', value);
  const { type } = fields;
  const common = { incarnation: count(fields, 'incarnation'), token: count(fields, 'token') };
  if (type === 'prepared') return { type, ...common, layers: checkLayers(fields.layers, numLayers) };
  if (type === 'armed') return { type, ...common, lastStep: count(fields, 'lastStep', MOST_STEPS) };
  if (type === 'confirmed') return { type, ...common, epoch: count(fields, 'epoch') };
  if (type === 'refused') {
    const layers = checkLayers(fields.layers, numLayers);
    return { type, ...common, layers, reason: checkShortText('reason', fields.reason) };
  }
  if (type === 'hello') {
    const holds = fields.holds === null ? null : checkHeldEpoch('holds', fields.holds);
    const reason = checkShortText('reason', fields.reason);
    return { type, ...common, holds, reason, broken: checkLayers(fields.broken, numLayers) };
  }
  throw unknownType(type);
}

/** {@link checkRankMessage}, of the coordinator's. */
export function checkCoordinatorMessage(value: unknown, numLayers: number): CoordinatorMessage {
  const fields = fieldsOf('message', value);
  const { type } = fields;
  const incarnation = count(fields, 'incarnation');
  if (type === 'restore') return { type, incarnation, ...checkHeldEpoch('restore', fields) };
  const token = count(fields, 'token');
  if (type === 'arm' || type === 'abort' || type === 'fence') return { type, incarnation, token };
  if (type === 'prepare') {
    const layers = checkLayers(fields.layers, numLayers);
    return { type, incarnation, token, layers, ...checkHeldEpoch('prepare', fields) };
  }
  if (type === 'activate' || type === 'admit') {
    const firstStep = count(fields, 'firstStep');
    if (type === 'activate') return { type, incarnation, token, firstStep, epoch: count(fields, 'epoch') };
    return { type, incarnation, token, firstStep, ...checkHeldEpoch('admit', fields) };
  }
  throw unknownType(type);
}

/** Checks an epoch and the digest beside it. */
export function checkHeldEpoch(title: string, value: unknown): HeldEpoch {
  const fields = fieldsOf(title, value);
  return { epoch: count(fields, 'epoch'), digest: checkShortText('digest', fields.digest, 1) };
}

/** Checks layers: in ascending order, each once. @returns a copy */
export function checkLayers(value: unknown, numLayers: number): readonly number[] {
  return checkAscending('layers', value, numLayers, 'EPLB_LAYER');
}

/** Checks a list of whole numbers below `end`: in ascending order, each once. @returns a copy */
export function checkAscending(
  title: string,
  value: unknown,
  end: number,
  code: 'EPLB_RANGE' | 'EPLB_LAYER' = 'EPLB_RANGE',
): readonly number[] {
  if (!Array.isArray(value)) throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not an array`);
  // A list that is longer has one twice: it is not read to its end.
  if (value.length > end) {
    throw new EplbRangeError(code, `${title}: there are ${value.length}, and only ${end} to name`);
  }
  const checked: number[] = [];
  let least = 0;
  for (let i = 0; i < value.length; i++) {
    checked.push(checkWhole(`${title}[${i}]`, value[i], least, end - 1, code));
    least = checked[i]! + 1;
  }
  return checked;
}

/** Checks a text that may not be long. */
export function checkShortText(title: string, value: unknown, least = 0): string {
  const text = checkText(title, value);
  if (text.length >= least && text.length <= MOST_CHARACTERS) return text;
  throw new EplbRangeError(
    'EPLB_RANGE',
    `${title}: ${text.length} characters are not from ${least} to ${MOST_CHARACTERS}`,
  );
}

/** A text, cut to what a message takes. */
export function shortText(text: string): string {
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS - 1)}…` : text;
}

/** What a host threw, as a text. */
export function errorText(error: unknown): string {
  if (error instanceof Error && typeof error.message === 'string') return error.message;
  return typeof error === 'string' ? error : show(error);
}

/** The fields of an object from outside, of any kind each. */
export function fieldsOf(title: string, value: unknown): Readonly<Record<string, unknown>> {
  return checkObject(title, value as Record<string, unknown>);
}

/** Checks a field that counts something. */
export function count(fields: Readonly<Record<string, unknown>>, name: string, most?: number): number {
  return checkWhole(name, fields[name], 0, most);
}

/** The error for a message or record of a type that there is not. */
export function unknownType(type: unknown): EplbRangeError {
  return new EplbRangeError('EPLB_RANGE', `type: there is no ${show(type)}`);
}
