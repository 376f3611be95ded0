import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import { describeNext } from '../json/describe.ts';
import { type NumberSink, readNestedNumbers } from '../json/nested-numbers.ts';
import { mostNumbersIn, type Span } from '../json/outline.ts';
import { JsonReader } from '../json/reader.ts';
import { jsonOutlineOf } from '../recognise.ts';
import { shapeText } from '../text.ts';
import { checkLoadsShape } from './array.ts';
import { arrayLoads } from './array-loads.ts';
import { inMemory, numbersFor } from './json.ts';
import { oneByOne } from './one-by-one.ts';

const HISTORY_KEY = 'load_history';
const LOADS_KEY = 'logical_expert_load';

/**
 * The workloads of the ADRS benchmark. Its evaluator adds 100 entries up to one window; here each is a step.
 */
export const ADRS: LoadFormat = {
  name: 'adrs',
  holds: 'loads',
  description: 'ADRS benchmark JSON: {"load_history": [{"logical_expert_load": [layers][experts]}, ...]}',
  extensions: [],
  recognise: async (file) => (await jsonOutlineOf(file))?.fields.has(HISTORY_KEY) === true,
  open: oneByOne(async (file, { numExperts }) => {
    const span = (await file.jsonOutline()).fields.get(HISTORY_KEY);
    const { data, shape } = readHistory(await file.jsonBytes(), span, file.name);
    checkLoadsShape(shape, file.name, numExperts, file.size);
    const notes = ['each entry of the history is a step; the benchmark itself adds 100 of them to a window'];
    const about = { name: file.name, format: 'adrs', namedLoads: true, notes, numBytes: file.size };
    return arrayLoads({ tensor: inMemory(data, shape), ...about });
  }),
};

function readHistory(
  bytes: Uint8Array,
  span: Span | undefined,
  name: string,
): { data: Float64Array; shape: number[] } {
  const reader = new JsonReader(bytes, name, span?.start);
  if (span === undefined || reader.kind() !== 'array') {
    const what = span === undefined ? 'missing' : describeNext(reader);
    throw new EplbTypeError('EPLB_KIND', `${name}: ${HISTORY_KEY} is ${what}; it must be an array`);
  }
  const sink = { data: numbersFor(mostNumbersIn(bytes, span), name), length: 0 };
  let first: readonly number[] | undefined;
  let numSteps = 0;
  reader.openArray();
  for (; reader.hasEntry(numSteps === 0, 'array'); numSteps++) {
    const shape = readEntry(reader, numSteps, name, sink);
    first ??= shape;
    if (shape[0] === first[0] && shape[1] === first[1]) continue;
    const what = `has the shape ${shapeText(shape)}, the first one ${shapeText(first)}`;
    throw new EplbRangeError('EPLB_SHAPE', `${name}: ${HISTORY_KEY}[${numSteps}] ${what}`);
  }
  return { data: sink.data.subarray(0, sink.length), shape: [numSteps, ...(first ?? [0, 0])] };
}

/** Reads the loads of an entry, and nothing else of it. @returns their shape */
function readEntry(reader: JsonReader, index: number, name: string, sink: NumberSink): number[] {
  const path = `${HISTORY_KEY}[${index}].${LOADS_KEY}`;
  let shape: number[] | undefined;
  let found = 'missing';
  const start = sink.length;
  if (reader.kind() === 'object') {
    reader.openObject();
    for (let isFirst = true; reader.hasEntry(isFirst, 'object'); isFirst = false) {
      if (reader.key() !== LOADS_KEY) reader.skip();
      else if (reader.kind() !== 'array') {
        shape = undefined;
        found = describeNext(reader);
        reader.skip();
      } else {
        // Of a key that is there twice, the last one counts.
        sink.length = start;
        shape = readNestedNumbers(reader, { path, name }, sink);
      }
    }
  } else reader.skip();
  if (shape === undefined) {
    throw new EplbTypeError('EPLB_KIND', `${name}: ${path} is ${found}; it must be [layers][experts]`);
  }
  if (shape.length === 2) return shape;
  throw new EplbRangeError('EPLB_SHAPE', `${name}: ${path} is nested 3 deep; it must be [layers][experts]`);
}
