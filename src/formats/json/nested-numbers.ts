import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { kindOf } from '../text.ts';

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
  // Grown as numbers are found: a first row says how long all should be, and may be the only long one.
  const data = new GrowingNumbers();
  const at: number[] = [];
  const place = () => `${path}${at.map((index) => `[${index}]`).join('')}`;
  const fill = (value: unknown, depth: number): void => {
    if (depth === shape.length) {
      if (typeof value !== 'number') {
        throw new EplbTypeError('EPLB_KIND', `${name}: ${place()} is ${kindOf(value)}; it must be a number`);
      }
      data.push(value);
      return;
    }
    if (!Array.isArray(value) || value.length !== shape[depth]) {
      const found = Array.isArray(value) ? `has ${value.length} entries` : `is ${kindOf(value)}`;
      const expected = `it must be an array of ${shape[depth]}, as the first one is`;
      throw new EplbRangeError('EPLB_SHAPE', `${name}: ${place()} ${found}; ${expected}`);
    }
    for (let i = 0; i < value.length; i++) {
      at[depth] = i;
      fill(value[i], depth + 1);
      at.length = depth + 1;
    }
    at.length = depth;
  };
  fill(root, 0);
  return { data: data.taken(), shape };
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

class GrowingNumbers {
  #data = new Float64Array(1024);
  #length = 0;

  push(value: number): void {
    if (this.#length === this.#data.length) {
      const grown = new Float64Array(2 * this.#length);
      grown.set(this.#data);
      this.#data = grown;
    }
    this.#data[this.#length++] = value;
  }

  taken(): Float64Array {
    return this.#data.subarray(0, this.#length);
  }
}
