import { EplbError } from '../../core/errors.ts';
import { zeros } from '../../memory/allocate.ts';
import { placementIn } from '../array-kind.ts';
import { readArray } from '../placements/array-content.ts';
import { viewNumbers } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER, isFloat } from '../tensor/number-type.ts';
import { countOf } from '../tensor/shape.ts';
import { readTensor, slicedAlong } from '../tensor/stored.ts';
import { shapeText } from '../text.ts';
import type { FoundArray } from './found-array.ts';

/** Numbers at the beginning that are looked at. */
const LOOKED_AT = 1 << 20;

/** The widest last dimension that may be the experts of a token: models pick up to 22. */
const MOST_CHOSEN = 32;

/** From here on a number is a load: no model has so many experts. */
const SURE_LOAD = 4096;

/** Numbers of the longest array that is looked through for a placement: longer ones hold loads. */
const MOST_PLACED = 2 ** 22;

/** How likely rows of numbers are distinct by chance when they are taken for choices. */
const BY_CHANCE = 0.02;

/** The most ranks, and the most slots of each, that a first and a last dimension are taken for. */
const MOST_RANKS = 1024;
const MOST_SLOTS = 64;

/** The first rows of an array, as many as are looked at. */
export interface Beginning {
  readonly numbers: ArrayLike<number>;
  /** Whether all of them are whole. */
  readonly isWhole: boolean;
}

/** Reads the first rows of an array. Reading on is not worth a second pass. */
export async function beginningOf({ tensor }: FoundArray): Promise<Beginning> {
  const perRow = countOf(tensor.shape) / tensor.shape[0]!;
  const rows = Math.min(tensor.shape[0]!, Math.ceil(LOOKED_AT / perRow));
  const bytes = zeros('rows of numbers', Uint8Array, rows * perRow * BYTES_PER_NUMBER[tensor.type]);
  await readTensor(slicedAlong(tensor, 0, 0, rows), bytes);
  const numbers = viewNumbers(bytes, tensor.type);
  let isWhole = true;
  for (let i = 0; isWhole && i < numbers.length; i++) isWhole = Number.isInteger(numbers[i]);
  return { numbers, isWhole };
}

/**
 * Asks what an array holds that may be a placement. Of most arrays the first rows show that it is none.
 *
 * @throws EplbError EPLB_OPTION
 */
export async function askForPlacement(
  { tensor, name, numBytes }: FoundArray,
  { numbers }: Beginning,
): Promise<void> {
  const { shape } = tensor;
  const [first, width] = [shape[0]!, countOf(shape) / shape[0]!];
  const numRows = Math.floor(numbers.length / width);
  const isAll = numRows === first;
  const count = countOf(shape);
  if (count > MOST_PLACED && count * BYTES_PER_NUMBER[tensor.type] > numBytes) return;
  const begins = placementIn({ data: numbers, shape: [numRows, ...shape.slice(1)] }, isAll);
  if (begins === undefined) return;
  const whole = isAll ? begins : placementIn(await readArray(tensor, numBytes, name), true);
  if (whole === undefined) return;
  throw new EplbError(
    'EPLB_OPTION',
    `${name} ${whole.isSure ? 'holds' : 'may hold'} a placement (${whole.what}), and no loads: give ` +
      '--as loads to read it as loads; as a placement it is read by validate, convert and --start-from',
  );
}

/**
 * Asks what an array of three dimensions holds whose last one may be the choices of tokens: few whole numbers
 * that are all different in each row, which in loads is so only by chance. Loads are told by the layers of a
 * step too, which all have as many tokens.
 *
 * @throws EplbError EPLB_OPTION
 */
export function askForRoutes({ tensor, name, format }: FoundArray, { numbers, isWhole }: Beginning): void {
  const { shape, type } = tensor;
  const [, numLayers, width] = shape as [number, number, number];
  // Text has no types; loads are the only thing that is stored in floats.
  const isOfIds = !isFloat(type) || format === 'json';
  if (shape.length !== 3 || width > MOST_CHOSEN || !isWhole || !isOfIds) return;
  if (!areDistinct(numbers, width) || haveEqualLayers(numbers, numLayers, width)) return;
  // Nobody counts tokens in one or two bytes.
  if (BYTES_PER_NUMBER[type] > 2 && width > 1 && chanceOf(numbers, width) > BY_CHANCE) return;
  const shown = `${name}: shape ${shapeText(shape)}`;
  throw new EplbError(
    'EPLB_OPTION',
    `${shown} may hold routes [tokens, layers, topK]: the ${width} whole numbers of each row are distinct; ` +
      'give --experts for routes, --as loads for loads',
  );
}

/** Whether the numbers of every row are distinct, and small enough for ids. */
function areDistinct(numbers: ArrayLike<number>, width: number): boolean {
  const seen = new Set<number>();
  for (let start = 0; start < numbers.length; start += width) {
    seen.clear();
    for (let i = start; i < start + width; i++) {
      const id = numbers[i]!;
      if (id < -1 || id >= SURE_LOAD) return false;
      // A token may be sent to several that are none.
      if (id === -1) continue;
      if (seen.has(id)) return false;
      seen.add(id);
    }
  }
  return true;
}

/** The chance that all rows of numbers up to the largest one are distinct. */
function chanceOf(numbers: ArrayLike<number>, width: number): number {
  let count = 1;
  for (let i = 0; i < numbers.length; i++) count = Math.max(count, numbers[i]! + 1);
  let ofRow = 1;
  for (let i = 1; i < width; i++) ofRow *= Math.max(0, 1 - i / count);
  return ofRow ** (numbers.length / width);
}

/** Whether the layers of each step have one sum, though not the same numbers. */
function haveEqualLayers(numbers: ArrayLike<number>, numLayers: number, width: number): boolean {
  let areSame = true;
  const perStep = numLayers * width;
  for (let step = 0; step + perStep <= numbers.length; step += perStep) {
    const wanted = sumOf(numbers, step, width);
    for (let layer = 1; layer < numLayers; layer++) {
      const start = step + layer * width;
      if (sumOf(numbers, start, width) !== wanted) return false;
      for (let i = 0; areSame && i < width; i++) areSame = numbers[start + i] === numbers[step + i];
    }
  }
  return !areSame;
}

/**
 * Says of loads [steps, layers, experts] that they look like counts [ranks, layers, slots]: the layers of a
 * step have different sums, though each gets all tokens of the step.
 */
export function rankNotes({ tensor }: FoundArray, { numbers, isWhole }: Beginning): string[] {
  const { shape } = tensor;
  const [numRanks, numLayers, numSlots] = shape as [number, number, number];
  const isLikely =
    shape.length === 3 && numLayers > 1 && numRanks > 1 && numRanks <= MOST_RANKS && numSlots <= MOST_SLOTS;
  if (!isLikely || !isWhole) return [];
  const perRank = numLayers * numSlots;
  const seen = Math.floor(numbers.length / perRank);
  const sums = Float64Array.from({ length: seen * numLayers }, (_, i) =>
    sumOf(numbers, i * numSlots, numSlots),
  );
  const areEqual = sums.every((sum, i) => sum === sums[i - (i % numLayers)]);
  if (areEqual) return [];
  const totals = Float64Array.from({ length: numLayers }, (_, layer) => {
    let total = 0;
    for (let rank = 0; rank < seen; rank++) total += sums[rank * numLayers + layer]!;
    return total;
  });
  const isEven = totals.every((total) => total === totals[0]);
  // Without that, a number of ranks as clusters have it, and fewer slots than any model has experts.
  const isUsual = numRanks % 8 === 0 && numSlots * numRanks >= 64;
  if (!(isEven && seen === numRanks) && !isUsual) return [];
  return [
    'the layers of a step have different sums, though each gets all tokens of the step: if these are counts ' +
      '[ranks, layers, slots] of one step, put the ranks side by side, [layers, ranks x slots]',
  ];
}

function sumOf(numbers: ArrayLike<number>, start: number, count: number): number {
  let sum = 0;
  for (let i = start; i < start + count; i++) sum += numbers[i]!;
  return sum;
}
