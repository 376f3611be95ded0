import { EplbError, EplbRangeError, EplbTypeError } from '../../errors.ts';
import { kindOf, quote } from '../../formats/text.ts';
import type { Tensor } from './tensor.ts';

/** The key under which SGLang's and DeepSeek's statistics hold the loads. */
const LOADS_KEY = 'logical_count';

/**
 * Parses JSON, with malformed text as an error of ours.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT
 */
export function parseJson(bytes: Uint8Array, name: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new EplbError('EPLB_FORMAT', `${name}: malformed JSON: ${quote(reason, 160)}`);
  }
}

/**
 * Reads nested arrays of numbers, two or three deep, bare or under `logical_count`.
 *
 * @param bytes - the whole file
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT, EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE
 */
export function readJson(bytes: Uint8Array, name: string): Tensor {
  const root = parseJson(bytes, name);
  if (Array.isArray(root)) return { ...nestedNumbers(root, '', name), format: 'JSON', namedLoads: false };
  if (typeof root === 'object' && root !== null && Object.hasOwn(root, LOADS_KEY)) {
    const value = (root as Record<string, unknown>)[LOADS_KEY];
    if (Array.isArray(value)) {
      return { ...nestedNumbers(value, LOADS_KEY, name), format: 'JSON', namedLoads: true };
    }
    throw new EplbTypeError(
      'EPLB_KIND',
      `${name}: ${LOADS_KEY} is ${kindOf(value)}; it must be nested arrays`,
    );
  }
  throw new EplbTypeError(
    'EPLB_KIND',
    `${name}: the JSON is ${kindOf(root)}; loads are nested arrays of numbers or {"${LOADS_KEY}": nested arrays}`,
  );
}

/**
 * Nested arrays of numbers, two or three deep and all of one shape, as flat row-major data.
 *
 * @param path - where they stand in the file, for messages; empty at the top
 * @param name - the file, for messages
 * @throws EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE, naming the place
 */
export function nestedNumbers(
  root: readonly unknown[],
  path: string,
  name: string,
): { data: Float64Array; shape: number[] } {
  const shape = shapeOf(root, path, name);
  const data = new Float64Array(shape.reduce((product, size) => product * size, 1));
  let filled = 0;
  const fill = (value: unknown, depth: number, place: string): void => {
    if (depth === shape.length) {
      if (typeof value !== 'number') {
        throw new EplbTypeError('EPLB_KIND', `${name}: ${place} is ${kindOf(value)}; it must be a number`);
      }
      data[filled++] = value;
      return;
    }
    if (!Array.isArray(value) || value.length !== shape[depth]) {
      const found = Array.isArray(value) ? `has ${value.length} entries` : `is ${kindOf(value)}`;
      const expected = `it must be an array of ${shape[depth]}, as the first one is`;
      throw new EplbRangeError('EPLB_SHAPE', `${name}: ${place} ${found}; ${expected}`);
    }
    for (let i = 0; i < value.length; i++) fill(value[i], depth + 1, `${place}[${i}]`);
  };
  fill(root, 0, path);
  return { data, shape };
}

/** The shape told by the first entries; whether all others agree is checked while filling. */
function shapeOf(root: readonly unknown[], path: string, name: string): number[] {
  const shape: number[] = [];
  let value: unknown = root;
  while (Array.isArray(value) && shape.length <= 3) {
    shape.push(value.length);
    value = value[0];
  }
  if (shape.length === 2 || shape.length === 3) return shape;
  const depth = shape.length > 3 ? 'more than 3' : shape.length;
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `${name}: ${path || 'the JSON'} is nested ${depth} deep; [layers][...] or [steps][layers][...] is wanted`,
  );
}
