import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import { nestedNumbers } from '../json/nested-numbers.ts';
import { ownValue } from '../json/parse.ts';
import { jsonOf } from '../recognise.ts';
import { kindOf, shapeText } from '../text.ts';
import { checkLoadsShape } from './array.ts';
import { arrayLoads } from './array-loads.ts';
import { inMemory } from './json.ts';
import { oneByOne } from './one-by-one.ts';

const HISTORY_KEY = 'load_history';
const LOADS_KEY = 'logical_expert_load';

/** The workloads of the ADRS benchmark. Its evaluator adds 100 entries up to one window; here each is a step. */
export const ADRS: LoadFormat = {
  name: 'adrs',
  holds: 'loads',
  description: 'ADRS benchmark JSON: {"load_history": [{"logical_expert_load": [layers][experts]}, ...]}',
  extensions: [],
  recognise: async (file) => ownValue(await jsonOf(file), HISTORY_KEY) !== undefined,
  open: oneByOne(async (file, { numExperts }) => {
    const history = ownValue(await file.json(), HISTORY_KEY);
    if (!Array.isArray(history)) {
      throw new EplbTypeError(
        'EPLB_KIND',
        `${file.name}: ${HISTORY_KEY} is ${kindOf(history)}; it must be an array`,
      );
    }
    const steps = history.map((entry, i) => stepOf(entry, `${HISTORY_KEY}[${i}].${LOADS_KEY}`, file.name));
    const shape = [steps.length, ...(steps[0]?.shape ?? [0, 0])];
    checkLoadsShape(shape, file.name, numExperts);
    const data = joinedSteps(steps, file.name);
    const notes = ['each entry of the history is a step; the benchmark itself adds 100 of them to a window'];
    const about = { name: file.name, format: 'adrs', namedLoads: true, notes, numBytes: file.size };
    return arrayLoads({ tensor: inMemory(data, shape), ...about });
  }),
};

interface Step {
  readonly data: Float64Array;
  readonly shape: readonly number[];
}

function stepOf(entry: unknown, path: string, name: string): Step {
  const loads = ownValue(entry, LOADS_KEY);
  if (!Array.isArray(loads)) {
    throw new EplbTypeError(
      'EPLB_KIND',
      `${name}: ${path} is ${kindOf(loads)}; it must be [layers][experts]`,
    );
  }
  const step = nestedNumbers(loads, path, name);
  if (step.shape.length === 2) return step;
  throw new EplbRangeError('EPLB_SHAPE', `${name}: ${path} is nested 3 deep; it must be [layers][experts]`);
}

function joinedSteps(steps: readonly Step[], name: string): Float64Array {
  const first = steps[0]!;
  const data = new Float64Array(steps.reduce((sum, step) => sum + step.data.length, 0));
  let done = 0;
  for (const [i, step] of steps.entries()) {
    if (shapeText(step.shape) !== shapeText(first.shape)) {
      const what = `has the shape ${shapeText(step.shape)}, the first one ${shapeText(first.shape)}`;
      throw new EplbRangeError('EPLB_SHAPE', `${name}: ${HISTORY_KEY}[${i}] ${what}`);
    }
    data.set(step.data, done);
    done += step.data.length;
  }
  return data;
}
