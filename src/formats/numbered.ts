import { counted } from './number-text.ts';

/** Missing numbers that are named one by one. */
const MOST_NAMED = 4;

/**
 * Says which of a set of numbers are missing, such as the ranks of files or the layers of counts. They go
 * up by one, or by the same step, such as every hundredth iteration; of numbers that go up by no step
 * none is missing.
 *
 * @param noun - what a number is of: `rank`
 * @param first - the number that they begin with, where that is known; else the least one
 */
export function gapNotes(noun: string, numbers: Iterable<number>, first?: number): string[] {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  const from = first ?? sorted[0]!;
  const to = sorted.at(-1)!;
  const stride = first === undefined ? strideOf(sorted) : 1;
  const isNumbered = stride > 0 && sorted.every((number) => (number - from) % stride === 0);
  // Times in names have gaps of any size.
  if (!isNumbered || (to - from) / stride + 1 > 2 * sorted.length + MOST_NAMED) return [];
  const missing: number[] = [];
  for (let number = from, i = 0; number <= to; number += stride) {
    if (sorted[i] === number) i++;
    else missing.push(number);
  }
  if (missing.length === 0) return [];
  const named = missing.slice(0, MOST_NAMED).join(', ');
  const more = missing.length > MOST_NAMED ? ` and ${missing.length - MOST_NAMED} more` : '';
  const isOne = missing.length === 1;
  const plural = noun.endsWith('s') ? 'es' : 's';
  return [
    `${noun}${isOne ? '' : plural} ${named}${more} of ${from} to ${to} ${isOne ? 'is' : 'are'} missing`,
  ];
}

/** The least difference between neighbours; 0 for one number. */
function strideOf(sorted: readonly number[]): number {
  let stride = 0;
  for (let i = 1; i < sorted.length; i++) {
    const difference = sorted[i]! - sorted[i - 1]!;
    if (stride === 0 || difference < stride) stride = difference;
  }
  return stride;
}

/**
 * Says that the members of a set are not equally wide, such as the tables of devices.
 *
 * @param noun - what a member is: `device`
 * @param unit - what a width counts: `column`
 */
export function widthNotes(noun: string, widths: readonly number[], unit: string): string[] {
  const first = widths[0]!;
  const other = widths.findIndex((width) => width !== first);
  if (other === -1) return [];
  return [`${noun} ${other} has ${counted(widths[other]!, unit)}, ${noun} 0 has ${first}`];
}

/** {@link gapNotes} of files whose names differ in one whole number alone. */
export function fileGapNotes(names: readonly string[]): string[] {
  if (names.length < 2) return [];
  const parts = names.map((name) => name.split(/(\d+)/));
  const first = parts[0]!;
  if (!parts.every((one) => one.length === first.length)) return [];
  const varying = first.map((_, i) => i).filter((i) => parts.some((one) => one[i] !== first[i]));
  const [at] = varying;
  if (varying.length !== 1 || at === undefined || at % 2 === 0) return [];
  return gapNotes(
    'file number',
    parts.map((one) => Number(one[at])),
  );
}

/** Where ascending numbers of steps leave some out. */
export class StepGaps {
  #last: number | undefined;
  #stride = 0;
  #missing = 0;
  #first: string | undefined;

  add(step: number): void {
    const last = this.#last;
    this.#last = step;
    if (last === undefined) return;
    // The first two say how far apart steps are.
    if (this.#stride === 0) this.#stride = step - last;
    if (step - last <= this.#stride) return;
    this.#missing += Math.ceil((step - last) / this.#stride) - 1;
    this.#first ??= `between ${last} and ${step}`;
  }

  notes(): string[] {
    if (this.#first === undefined) return [];
    const verb = this.#missing === 1 ? 'is' : 'are';
    return [`${counted(this.#missing, 'step')} ${verb} missing, first ${this.#first}`];
  }
}

/** The last whole number in a name, behind which no other stands; undefined when there is none. */
export function numberIn(name: string): number | undefined {
  const found = /(\d{1,12})\D*$/.exec(name)?.[1];
  return found === undefined ? undefined : Number(found);
}
