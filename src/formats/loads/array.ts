import { EplbRangeError } from '../../core/errors.ts';
import { zeros } from '../../memory/allocate.ts';
import { DEFAULT_TOKENS_PER_STEP, type OpenOptions } from '../open-options.ts';
import type { StoredRecording } from '../recording.ts';
import { viewNumbers } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER, isFloat } from '../tensor/number-type.ts';
import { countOf } from '../tensor/shape.ts';
import { readTensor, type StoredTensor, slicedAlong } from '../tensor/stored.ts';
import { shapeText } from '../text.ts';
import { arrayLoads } from './array-loads.ts';
import { arrayRoutes } from './array-routes.ts';
import type { FoundArray } from './found-array.ts';
import { asSteps, denseNotes, loadedLayersOf } from './loaded-layers.ts';
import { checkStepSize } from './step-size.ts';

const KNOWN_SHAPES =
  'loads are [layers, experts] or [steps, layers, experts], routes are whole numbers [tokens, layers, ' +
  'topK] with --experts';

const ASSUMED_NOTE = 'if these are routes [tokens, layers, topK], give --experts';

/** Numbers that are looked at to see whether all are whole. */
const LOOKED_AT = 1 << 20;

/**
 * Decides between routes and loads, and opens them. Two dimensions are loads. Three are loads when the last
 * one is the number of experts or no number was given, and routes when they hold whole numbers and the last
 * one is smaller.
 *
 * @throws EplbRangeError EPLB_SHAPE
 */
export async function openArray(found: FoundArray, options: OpenOptions): Promise<StoredRecording> {
  const { tensor, name, namedLoads, numBytes } = found;
  const { shape } = tensor;
  const { numExperts } = options;
  const last = shape.at(-1);
  if (shape.length === 2 || namedLoads || numExperts === undefined || last === numExperts) {
    checkLoadsShape(shape, name, numExperts, numBytes);
    const isAssumed =
      numExperts === undefined && shape.length === 3 && !namedLoads && (await startsWhole(tensor));
    if (namedLoads) return withoutDense(found);
    return arrayLoads(isAssumed ? { ...found, notes: [...found.notes, ASSUMED_NOTE] } : found);
  }
  checkArrayShape(shape, name);
  const shown = `${name}: shape ${shapeText(shape)}`;
  if (last! > numExperts) {
    throw shapeError(
      `${shown}: --experts says ${numExperts}, the last dimension is larger than that; ${KNOWN_SHAPES}`,
    );
  }
  checkStepSize(shape.slice(1), numBytes, name);
  if (!(await startsWhole(tensor))) {
    const why = 'the last dimension is not that, and the numbers are not all whole';
    throw shapeError(`${shown}: --experts says ${numExperts}, ${why}; ${KNOWN_SHAPES}`);
  }
  return arrayRoutes(found, numExperts, options.tokensPerStep ?? DEFAULT_TOKENS_PER_STEP);
}

/** Loads under SGLang's name, which may have rows of dense layers. */
async function withoutDense(found: FoundArray): Promise<StoredRecording> {
  const tensor = asSteps(found.tensor);
  const [numSteps, numLayers] = tensor.shape as [number, number];
  const layers = await loadedLayersOf(tensor, numSteps);
  return arrayLoads({ ...found, notes: [...found.notes, ...denseNotes(numLayers, layers)] }, { layers });
}

/**
 * Whether the numbers of the first rows are whole. Reading on would find the others, which is not worth a
 * second pass.
 */
async function startsWhole(tensor: StoredTensor): Promise<boolean> {
  if (!isFloat(tensor.type)) return true;
  const perRow = countOf(tensor.shape) / tensor.shape[0]!;
  const rows = Math.min(tensor.shape[0]!, Math.ceil(LOOKED_AT / perRow));
  const bytes = zeros('rows of numbers', Uint8Array, rows * perRow * BYTES_PER_NUMBER[tensor.type]);
  await readTensor(slicedAlong(tensor, 0, 0, rows), bytes);
  const numbers = viewNumbers(bytes, tensor.type);
  for (let i = 0; i < numbers.length; i++) if (!Number.isInteger(numbers[i])) return false;
  return true;
}

/**
 * Checks the shape of what is known to be loads.
 *
 * @param numBytes - size of the files that hold them
 * @throws EplbRangeError EPLB_SHAPE
 */
export function checkLoadsShape(
  shape: readonly number[],
  name: string,
  numExperts: number | undefined,
  numBytes: number,
): void {
  checkArrayShape(shape, name);
  checkStepSize(shape.slice(-2), numBytes, name);
  const last = shape.at(-1)!;
  if (numExperts === undefined || last === numExperts) return;
  throw shapeError(
    `${name}: shape ${shapeText(shape)} holds loads of ${last} experts; --experts says ${numExperts}`,
  );
}

function checkArrayShape(shape: readonly number[], name: string): void {
  const shown = `${name}: shape ${shapeText(shape)}`;
  if (shape.length !== 2 && shape.length !== 3) {
    throw shapeError(`${shown} has ${shape.length} dimensions; ${KNOWN_SHAPES}`);
  }
  if (shape.includes(0)) throw shapeError(`${shown} holds nothing; every dimension must be at least 1`);
}

function shapeError(message: string): EplbRangeError {
  return new EplbRangeError('EPLB_SHAPE', message);
}
