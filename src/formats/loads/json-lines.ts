import { MAX_FLOAT32 } from '../../core/checks.ts';
import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { linesOf } from '../bytes/lines.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { ownValue, parseJsonText } from '../json/parse.ts';
import type { LoadRecording, RecordedStep, StepRange } from '../recording.ts';
import { kindOf } from '../text.ts';
import { checkLoadsShape } from './array.ts';
import { loadError } from './array-loads.ts';
import { firstLine } from './number-table.ts';
import { oneByOne } from './one-by-one.ts';

/** A JSON object a line: {"step": 0, "layer": 3, "loads": [...]}. */
export const JSON_LINES: LoadFormat = {
  name: 'json-lines',
  holds: 'loads',
  description: 'JSON Lines: {"step": s, "layer": l, "loads": [experts]} a line, steps ascending',
  extensions: ['.jsonl', '.ndjson'],
  recognise: async (file) => {
    const line = await firstLine(file);
    // A line may be longer than what is looked at, so it is not parsed.
    return /^\s*\{/.test(line) && ['step', 'layer', 'loads'].every((key) => line.includes(`"${key}"`));
  },
  open: oneByOne(openLines),
};

async function openLines(
  file: InputFile,
  { numExperts }: { numExperts?: number | undefined },
): Promise<LoadRecording> {
  const first = await firstStep(file);
  const layers = [...first.rows.keys()].sort((a, b) => a - b);
  const width = first.rows.values().next().value!.length;
  checkLoadsShape([layers.length, width], file.name, numExperts);
  const isFromZero = layers.every((layer, i) => layer === i);

  async function* steps({
    from = 0,
    to = Number.POSITIVE_INFINITY,
  }: StepRange = {}): AsyncGenerator<RecordedStep> {
    const loads = new Float32Array(layers.length * width);
    let index = 0;
    for await (const step of stepsOf(file)) {
      if (index >= to) return;
      checkLayers(file, step, layers, width);
      layers.forEach((layer, row) => {
        loads.set(step.rows.get(layer)!, row * width);
      });
      if (index >= from) yield { step: index, loads, bytesRead: step.end };
      index++;
    }
  }

  return {
    format: 'json-lines',
    numLayers: layers.length,
    numLogicalExperts: width,
    numSteps: undefined,
    numBytes: file.size,
    notes: isFromZero ? [] : [`layers keep the file's numbers, ${layers[0]} to ${layers.at(-1)}`],
    ...(isFromZero ? {} : { layerNumbers: layers }),
    steps,
    close: () => file.close(),
  };
}

interface Step {
  readonly number: number;
  readonly rows: Map<number, Float32Array>;
  /** Where its last line ends. */
  end: number;
}

async function firstStep(file: InputFile): Promise<Step> {
  for await (const step of stepsOf(file)) return step;
  throw new EplbError('EPLB_FORMAT', `${file.name}: no line with a step in it`);
}

async function* stepsOf(file: InputFile): AsyncGenerator<Step> {
  let current: Step | undefined;
  for await (const { text, number, end } of linesOf(file.source, file.name)) {
    if (text.trim() === '') continue;
    const place = `${file.name}: line ${number}`;
    const { step, layer, loads } = lineOf(parseJsonText(text, place), place);
    if (current !== undefined && step !== current.number) {
      if (step < current.number) {
        throw new EplbRangeError('EPLB_RANGE', `${place}: step ${step} comes after step ${current.number}`);
      }
      yield current;
      current = undefined;
    }
    current ??= { number: step, rows: new Map(), end };
    if (current.rows.has(layer)) {
      throw new EplbRangeError('EPLB_RANGE', `${place}: layer ${layer} of step ${step} is there twice`);
    }
    current.rows.set(layer, loads);
    current.end = end;
  }
  if (current !== undefined) yield current;
}

function lineOf(line: unknown, place: string): { step: number; layer: number; loads: Float32Array } {
  const loads = ownValue(line, 'loads');
  if (!Array.isArray(loads)) {
    throw new EplbTypeError(
      'EPLB_KIND',
      `${place}: loads is ${kindOf(loads)}; it must be an array of numbers`,
    );
  }
  const row = new Float32Array(loads.length);
  for (const [expert, load] of loads.entries()) {
    if (typeof load !== 'number') {
      throw new EplbTypeError(
        'EPLB_KIND',
        `${place}: loads[${expert}] is ${kindOf(load)}; it must be a number`,
      );
    }
    if (!(load >= 0 && load <= MAX_FLOAT32)) throw loadError(place, load, `expert ${expert}`);
    row[expert] = load;
  }
  return { step: wholeIn(line, 'step', place), layer: wholeIn(line, 'layer', place), loads: row };
}

function wholeIn(line: unknown, key: string, place: string): number {
  const value = ownValue(line, key);
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new EplbTypeError(
    'EPLB_KIND',
    `${place}: ${key} is ${kindOf(value)}; it must be a whole number from 0`,
  );
}

function checkLayers(
  file: InputFile,
  { number, rows }: Step,
  layers: readonly number[],
  width: number,
): void {
  for (const layer of layers) {
    const row = rows.get(layer);
    if (row?.length === width) continue;
    const what = row === undefined ? `has no layer ${layer}` : `has ${row.length} loads in layer ${layer}`;
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${file.name}: step ${number} ${what}; the first step has ${width}`,
    );
  }
  if (rows.size === layers.length) return;
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `${file.name}: step ${number} has ${rows.size} layers; the first step has ${layers.length}`,
  );
}
