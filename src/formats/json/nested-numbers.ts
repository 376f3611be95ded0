import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { describeNext } from './describe.ts';
import type { JsonReader } from './reader.ts';

/** Where nested arrays stand, for messages. */
interface NestedPlace {
  /** Their path in the file; empty at the top. */
  readonly path: string;
  /** The file. */
  readonly name: string;
}

/** Numbers that are put one behind the other. */
export interface NumberSink {
  /** Long enough for all that come. */
  readonly data: Float64Array;
  length: number;
}

/**
 * Reads the nested arrays of numbers that are next, two or three deep and all of one shape, into flat
 * row-major data.
 *
 * @returns the shape
 * @throws EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE, naming the place; EplbError EPLB_FORMAT
 */
export function readNestedNumbers(
  reader: JsonReader,
  { path, name }: NestedPlace,
  sink: NumberSink,
): number[] {
  const numAxes = depthOf(reader);
  if (numAxes !== 2 && numAxes !== 3) {
    const depth = numAxes > 3 ? 'more than 3' : numAxes;
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${name}: ${path || 'the JSON'} is nested ${depth} deep; [layers][...] or [steps][layers][...] is ` +
        'wanted',
    );
  }
  const shape: number[] = [];
  const at: number[] = [];
  const place = () => `${path}${at.map((index) => `[${index}]`).join('')}`;
  const wrongShape = (depth: number, found: string) => {
    const expected = `it must be an array of ${shape[depth]}, as the first one is`;
    return new EplbRangeError('EPLB_SHAPE', `${name}: ${place()} ${found}; ${expected}`);
  };
  const fill = (depth: number): void => {
    if (reader.kind() !== 'array') throw wrongShape(depth, `is ${describeNext(reader)}`);
    let count = 0;
    if (depth + 1 === numAxes) {
      count = reader.numbers(sink.data, sink.length, (index) => {
        at[depth] = index;
        const found = `${place()} is ${describeNext(reader)}`;
        return new EplbTypeError('EPLB_KIND', `${name}: ${found}; it must be a number`);
      });
      sink.length += count;
    } else {
      reader.openArray();
      for (; reader.hasEntry(count === 0, 'array'); count++) {
        at[depth] = count;
        fill(depth + 1);
        at.length = depth + 1;
      }
      at.length = depth;
    }
    shape[depth] ??= count;
    if (count !== shape[depth]) throw wrongShape(depth, `has ${count} entries`);
  };
  fill(0);
  // Those of an empty first row.
  while (shape.length < numAxes) shape.push(0);
  return shape;
}

/** How deep the first entries are nested, up to 4. The reader stays where it is. */
function depthOf(reader: JsonReader): number {
  return reader.ahead((first) => {
    let depth = 0;
    for (; depth < 4 && first.kind() === 'array'; depth++) {
      first.openArray();
      if (!first.hasEntry(true, 'array')) return depth + 1;
    }
    return depth;
  });
}
