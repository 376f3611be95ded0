import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { type CostModelJson, CostModel as SlotCostModel } from '../index.ts';
import type { ReplayCost } from './configuration.ts';
import { slotCost } from './slot-cost.ts';

type Check = (title: string, value: unknown) => void;

/** Every field of a cost model, all of them needed. */
const FIELDS: Readonly<Record<keyof ReplayCost, Check>> = {
  name: (title, value) => {
    if (typeof value !== 'string') throw kind(title, value, 'a text');
  },
  time: checkTime,
  bytesPerExpert: atLeastZero,
  intraNodeBytesPerSecond: positive,
  interNodeBytesPerSecond: positive,
  concurrentTransfers: oneOf('rank', 'none'),
  countedMoves: oneOf('rank', 'slot'),
  stepSeconds: (title, value) => {
    if (value !== 'modelled') positive(title, value);
  },
  zeroLoadsCountAsOne: (title, value) => {
    if (typeof value !== 'boolean') throw kind(title, value, 'true or false');
  },
};

/**
 * Returns `value` when it is a cost model: every field there, none that is unknown, every value in range.
 *
 * @param title what it is called in messages
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, naming the field
 */
export function checkCostModel(title: string, value: unknown): ReplayCost {
  if (typeof title !== 'string') throw kind('title', title, 'a text');
  checkFields(title, value, FIELDS);
  const cost = value as ReplayCost;
  if (cost.time.kind === 'peak-to-average' && cost.stepSeconds === 'modelled') {
    const why = 'needs seconds where time.kind is "peak-to-average": no step has a time of its own then';
    throw new EplbRangeError('EPLB_RANGE', `${title}.stepSeconds: ${why}`);
  }
  if (cost.time.kind === 'slots' && cost.zeroLoadsCountAsOne) {
    const why = 'has to be false where time.kind is "slots": a slot without tokens takes less than one with';
    throw new EplbRangeError('EPLB_RANGE', `${title}.zeroLoadsCountAsOne: ${why}`);
  }
  if (cost.time.kind === 'slots') checkMoves(title, cost, slotCost(new SlotCostModel(cost.time.model)));
  return cost;
}

/** What moves cost is the model's to say: a field that says otherwise would be thought to count. */
function checkMoves(title: string, cost: ReplayCost, model: ReplayCost): void {
  for (const field of MOVE_FIELDS) {
    if (cost[field] === model[field]) continue;
    const why = `has to be ${show(model[field])}, as time.model has it, where time.kind is "slots"`;
    throw new EplbRangeError('EPLB_RANGE', `${title}.${field}: ${show(cost[field])} ${why}`);
  }
}

const MOVE_FIELDS = [
  'bytesPerExpert',
  'intraNodeBytesPerSecond',
  'interNodeBytesPerSecond',
  'concurrentTransfers',
  'countedMoves',
] as const;

/** Turns the units that steps are counted in into modelled seconds. */
export function secondsPerUnit({ time }: ReplayCost, numSteps: number, numLayers: number): number {
  if (time.kind === 'load') return time.secondsPerLoad;
  if (time.kind === 'slots') return 1;
  return time.secondsAtBalance / Math.max(1, numSteps * numLayers);
}

function checkTime(title: string, value: unknown): void {
  const kindOfTime = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
  const isKind = oneOf('load', 'peak-to-average', 'slots');
  if (kindOfTime === 'peak-to-average') {
    checkFields(title, value, { kind: isKind, secondsAtBalance: positive });
  } else if (kindOfTime === 'slots') checkFields(title, value, { kind: isKind, model: checkSlotModel });
  else checkFields(title, value, { kind: isKind, secondsPerLoad: positive });
}

function checkSlotModel(title: string, value: unknown): void {
  if (typeof value === 'string') throw kind(title, value, "an object: a cost model's JSON");
  new SlotCostModel(value as CostModelJson, title);
}

function checkFields(title: string, value: unknown, fields: Readonly<Record<string, Check>>): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw kind(title, value, `an object with ${Object.keys(fields).join(', ')}`);
  }
  const given = value as Record<string, unknown>;
  const unknown = Object.keys(given).find((field) => !Object.hasOwn(fields, field));
  if (unknown !== undefined) {
    throw new EplbRangeError(
      'EPLB_RANGE',
      `${title}: has an unknown field ${show(unknown)}; its fields are ${Object.keys(fields).join(', ')}`,
    );
  }
  for (const [field, check] of Object.entries(fields)) {
    if (!Object.hasOwn(given, field))
      throw new EplbRangeError('EPLB_RANGE', `${title}: lacks the field ${field}`);
    check(`${title}.${field}`, given[field]);
  }
}

function oneOf(...texts: readonly string[]): Check {
  return (title, value) => {
    if (typeof value === 'string' && texts.includes(value)) return;
    const wanted = texts.map((text) => JSON.stringify(text)).join(' or ');
    throw new EplbRangeError('EPLB_RANGE', `${title}: ${show(value)} is not ${wanted}`);
  };
}

function atLeastZero(title: string, value: unknown): void {
  if (typeof value !== 'number') throw kind(title, value, 'a number');
  if (Number.isFinite(value) && value >= 0) return;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${value} is not a finite number of at least 0`);
}

function positive(title: string, value: unknown): void {
  if (typeof value !== 'number') throw kind(title, value, 'a number');
  if (Number.isFinite(value) && value > 0) return;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${value} is not a finite number above 0`);
}

function kind(title: string, value: unknown, wanted: string): EplbTypeError {
  return new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not ${wanted}`);
}
