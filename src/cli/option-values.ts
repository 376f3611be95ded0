import { checkWhole } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import { MAX_SIZE } from '../core/topology.ts';
import { quote } from '../formats/text.ts';

/**
 * A half-open range of steps as it was typed; a missing side is undefined, a negative one counts from the
 * end.
 */
export interface TypedRange {
  readonly from: number | undefined;
  readonly to: number | undefined;
  readonly text: string;
}

/**
 * Makes the parser of an option that takes a whole number. Digits only: `1e3`, `0x10`, `12abc` and the empty
 * text, which Number() or parseInt() would take for a number, are refused.
 *
 * @param option - the option's name for the message
 * @param least - the smallest value that is allowed
 * @param most - the largest one
 * @throws EplbRangeError EPLB_NOT_WHOLE or EPLB_RANGE (from the parser)
 */
export function wholeParser(option: string, least: number, most = MAX_SIZE): (text: string) => number {
  return (text) => {
    if (!/^-?\d+$/.test(text)) {
      throw new EplbRangeError(
        'EPLB_NOT_WHOLE',
        `${option}: ${quote(text)} is not a whole number; give digits only, ${least} or more`,
      );
    }
    return checkWhole(option, Number(text), least, most);
  };
}

/**
 * Makes the parser of an option that takes a number with a point, from `least` to `most`.
 *
 * @param others - what else the option takes, as the message goes on
 */
export function numberParser(
  option: string,
  least: number,
  most = Number.MAX_VALUE,
  others = '',
): (text: string) => number {
  return (text) => {
    const value = /^-?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    const wanted = most === Number.MAX_VALUE ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new EplbRangeError('EPLB_RANGE', `${option}: ${quote(text)} is not a number ${wanted}${others}`);
  };
}

/** Makes the parser of an option that takes different values with commas between them. */
export function listParser<T>(option: string, parse: (text: string) => T): (text: string) => readonly T[] {
  return (text) => {
    const parts = text.split(',').map((part) => part.trim());
    if (parts.includes('')) {
      throw new EplbRangeError('EPLB_OPTION', `${option}: ${quote(text)} has an empty entry`);
    }
    const values = parts.map(parse);
    const again = values.find((value, i) => values.indexOf(value) !== i);
    if (again === undefined) return values;
    throw new EplbRangeError('EPLB_OPTION', `${option}: ${quote(String(again))} is named twice`);
  };
}

/**
 * Parses whole numbers from 0 on with commas between them.
 *
 * @throws EplbRangeError EPLB_OPTION, EPLB_NOT_WHOLE or EPLB_RANGE
 */
export function slotsPerRankList(text: string): readonly number[] {
  const parse = wholeParser('--slots-per-rank', 0);
  return text.split(',').map((part) => parse(part.trim()));
}

/**
 * Parses `A:B`, either side of which may be empty. The bounds are checked by {@link resolveRange} once the
 * length is known.
 *
 * @throws EplbRangeError EPLB_OPTION when the text is not a range
 */
export function stepRange(text: string): TypedRange {
  const match = /^(-?\d+)?:(-?\d+)?$/.exec(text);
  if (match === null) {
    throw new EplbRangeError(
      'EPLB_OPTION',
      `--steps: ${quote(text)} is not a range; give A:B with whole numbers, such as 0:4000, 4000: or :4000`,
    );
  }
  const side = (digits: string | undefined) => (digits === undefined ? undefined : Number(digits));
  return { from: side(match[1]), to: side(match[2]), text };
}

/**
 * The range within `length` steps: both ends inside it and at least one step between them. Python would
 * clamp; a range that reaches outside the recording is more likely a mistake, so it is refused.
 *
 * @throws EplbRangeError EPLB_RANGE
 */
export function resolveRange(
  range: TypedRange | undefined,
  length: number,
  noun: string,
): { from: number; to: number } {
  if (range === undefined) return { from: 0, to: length };
  const place = (bound: number) => (bound < 0 ? bound + length : bound);
  const from = place(range.from ?? 0);
  const to = place(range.to ?? length);
  if (from < 0 || from > length || to < 0 || to > length) {
    throw new EplbRangeError(
      'EPLB_RANGE',
      `--steps: ${quote(range.text)} reaches outside the recording, which has ${noun}s 0 to ${length} ` +
        '(end not included)',
    );
  }
  if (from >= to) {
    throw new EplbRangeError(
      'EPLB_RANGE',
      `--steps: ${quote(range.text)} selects no ${noun}; the first number must be below the second`,
    );
  }
  return { from, to };
}

/** Options that cannot go together. */
export function contradiction(message: string): EplbRangeError {
  return new EplbRangeError('EPLB_OPTION', message);
}
