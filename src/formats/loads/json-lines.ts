import { MAX_FLOAT32 } from '../../core/checks.ts';
import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { type Line, linesOf } from '../bytes/lines.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { describeNext } from '../json/describe.ts';
import { mostNumbersIn } from '../json/outline.ts';
import { JsonReader } from '../json/reader.ts';
import { counted } from '../number-text.ts';
import { gapNotes, StepGaps } from '../numbered.ts';
import { firstLine } from '../recognise.ts';
import { addNotes, type RecordedStep, type StepRange, type StoredRecording } from '../recording.ts';
import { checkLoadsShape } from './array.ts';
import { fileLoadError } from './array-loads.ts';
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
): Promise<StoredRecording> {
  const { layers, width } = await firstStep(file, numExperts);
  const numLayers = layers.length;
  checkLoadsShape([numLayers, width], file.name, numExperts, file.size);
  const isFromZero = layers.every((layer, i) => layer === i);
  // More is known when all was read.
  const notes = [
    ...(isFromZero ? [] : [`layers keep the file's numbers, ${layers[0]} to ${layers.at(-1)}`]),
    ...gapNotes('layer', layers),
  ];
  return {
    format: 'json-lines',
    numLayers,
    numLogicalExperts: width,
    numSteps: undefined,
    numBytes: file.size,
    notes,
    ...(isFromZero ? {} : { layerNumbers: Array.from(layers) }),
    steps: (range) => readSteps(file, { layers, width, isPicked: numExperts !== undefined }, notes, range),
    close: () => file.close(),
  };
}

/**
 * The layers of the first step, ascending, and how many loads each has. Where lines of several models are in
 * one file, the number of experts picks a model.
 */
async function firstStep(
  file: InputFile,
  numExperts: number | undefined,
): Promise<{ layers: Float64Array; width: number }> {
  const layers = new Set<number>();
  const read = lineReader(file);
  let first: LoadLine | undefined;
  // Where no line has so many loads, the first one shows how many there are.
  let other: LoadLine | undefined;
  search: for await (const lines of linesOf(file.source, file.name)) {
    for (const text of lines) {
      const line = read(text);
      other ??= line;
      if (numExperts !== undefined && line.numLoads !== numExperts) continue;
      first ??= line;
      if (line.step !== first.step) break search;
      if (layers.has(line.layer)) throw twice(file, line);
      checkWidth(file, line, first.numLoads);
      layers.add(line.layer);
    }
  }
  if (first === undefined && other !== undefined) {
    return { layers: Float64Array.of(other.layer), width: other.numLoads };
  }
  if (first === undefined)
    throw new EplbError(
      'EPLB_FORMAT',
      `${file.name}: holds no line; one is {"step": s, "layer": l, "loads": [...]}`,
    );
  return { layers: Float64Array.from(layers).sort(), width: first.numLoads };
}

/** What a model's lines have in common. */
interface Model {
  readonly layers: Float64Array;
  /** Loads of a line. */
  readonly width: number;
  /** Whether lines of another width are another model's. */
  readonly isPicked: boolean;
}

async function* readSteps(
  file: InputFile,
  { layers, width, isPicked }: Model,
  notes: string[],
  { from = 0, to = Number.POSITIVE_INFINITY }: StepRange = {},
): AsyncGenerator<RecordedStep> {
  const loads = new Float32Array(layers.length * width);
  const rows = new Map(Array.from(layers, (layer, row) => [layer, row] as const));
  const isThere = new Uint8Array(layers.length);
  let index = 0;
  let numOthers = 0;
  let numOfOtherModels = 0;
  let last: Pick<LoadLine, 'step' | 'end'> | undefined;
  const gaps = new StepGaps();
  const done = ({ step, end }: Pick<LoadLine, 'step' | 'end'>): RecordedStep | undefined => {
    const bytesRead = file.bytesUpTo(end);
    checkLayers(file, step, layers, isThere, numOthers);
    isThere.fill(0);
    gaps.add(step);
    return index++ >= from ? { step: index - 1, loads, bytesRead } : undefined;
  };
  const read = lineReader(file);
  for await (const lines of linesOf(file.source, file.name)) {
    for (const text of lines) {
      const line = read(text);
      const { step, layer, end } = line;
      if (isPicked && line.numLoads !== width) {
        numOfOtherModels++;
        continue;
      }
      if (last !== undefined && step !== last.step) {
        if (step < last.step) {
          const what = `step ${step} comes after step ${last.step}`;
          throw new EplbRangeError('EPLB_RANGE', `${file.name}: line ${line.number}: ${what}`);
        }
        if (index >= to) return;
        const finished = done(last);
        if (finished !== undefined) yield finished;
      }
      last = { step, end };
      const row = rows.get(layer);
      if (row === undefined) {
        numOthers++;
        continue;
      }
      if (isThere[row] === 1) throw twice(file, line);
      checkWidth(file, line, width);
      isThere[row] = 1;
      loads.set(line.loads.subarray(0, width), row * width);
    }
  }
  if (last === undefined || index >= to) return;
  const finished = done(last);
  addNotes(notes, gaps.notes());
  if (numOfOtherModels > 0) {
    const lines = counted(numOfOtherModels, 'line');
    addNotes(notes, [`${lines} of another model, not of ${width} experts, were left out`]);
  }
  if (finished !== undefined) yield finished;
}

/** A line: the loads of one layer in one step. */
interface LoadLine {
  readonly step: number;
  readonly layer: number;
  readonly numLoads: number;
  /** Valid until the next line is read. */
  readonly loads: Float64Array;
  readonly number: number;
  readonly end: number;
}

/** Reads lines of a file, each into the same room. */
function lineReader(file: InputFile): (line: Line) => LoadLine {
  let loads = new Float64Array(0);
  return (line) => {
    const most = mostNumbersIn(line.bytes, { start: 0, end: line.bytes.length });
    if (loads.length < most) loads = new Float64Array(most);
    return readLine(line, loads, `${file.name}: line ${line.number}`);
  };
}

/** Reads a line whose keys may stand in any order; of one that is there twice the last one counts. */
function readLine({ bytes, number, end }: Line, loads: Float64Array, place: string): LoadLine {
  const reader = new JsonReader(bytes, place);
  const found: { step?: number; layer?: number; loads?: number } = {};
  if (reader.kind() === 'object') {
    reader.openObject();
    for (let isFirst = true; reader.hasEntry(isFirst, 'object'); isFirst = false) {
      const key = reader.key();
      if (key === 'loads') found.loads = readLoads(reader, loads, place);
      else if (key === 'step' || key === 'layer') found[key] = readWhole(reader, key, place);
      else reader.skip();
    }
  } else reader.skip();
  reader.end();
  const missing = (['loads', 'step', 'layer'] as const).find((key) => found[key] === undefined);
  if (missing !== undefined) {
    throw new EplbTypeError('EPLB_KIND', `${place}: ${missing} is missing`);
  }
  return { step: found.step!, layer: found.layer!, numLoads: found.loads!, loads, number, end };
}

/** @returns how many there are */
function readLoads(reader: JsonReader, loads: Float64Array, place: string): number {
  if (reader.kind() !== 'array') {
    const what = `loads is ${describeNext(reader)}; it must be an array of numbers`;
    throw new EplbTypeError('EPLB_KIND', `${place}: ${what}`);
  }
  const count = reader.numbers(loads, 0, (expert) => {
    const what = `loads[${expert}] is ${describeNext(reader)}; it must be a number`;
    return new EplbTypeError('EPLB_KIND', `${place}: ${what}`);
  });
  for (let expert = 0; expert < count; expert++) {
    const load = loads[expert]!;
    if (!(load >= 0 && load <= MAX_FLOAT32)) throw fileLoadError(place, load, `expert ${expert}`);
  }
  return count;
}

function readWhole(reader: JsonReader, key: string, place: string): number {
  const start = reader.at;
  const value = reader.kind() === 'number' ? reader.number() : Number.NaN;
  if (Number.isSafeInteger(value) && value >= 0) return value;
  reader.at = start;
  const what = `${key} is ${describeNext(reader)}; it must be a whole number from 0`;
  throw new EplbTypeError('EPLB_KIND', `${place}: ${what}`);
}

function twice(file: InputFile, { step, layer, number }: LoadLine): EplbRangeError {
  const what = `layer ${layer} of step ${step} is there twice`;
  return new EplbRangeError('EPLB_RANGE', `${file.name}: line ${number}: ${what}`);
}

function checkWidth(file: InputFile, { step, layer, numLoads }: LoadLine, width: number): void {
  if (numLoads === width) return;
  const what =
    `has ${numLoads} loads in layer ${layer}; the first step has ${width}` +
    '; where these are several models, --experts N picks one';
  throw new EplbRangeError('EPLB_SHAPE', `${file.name}: step ${step} ${what}`);
}

function checkLayers(
  file: InputFile,
  step: number,
  layers: Float64Array,
  isThere: Uint8Array,
  numOthers: number,
): void {
  const missing = isThere.indexOf(0);
  if (missing === -1 && numOthers === 0) return;
  const what =
    missing === -1
      ? `has ${layers.length + numOthers} layers; the first step has ${layers.length}`
      : `has no layer ${layers[missing]}, which the first step has`;
  throw new EplbRangeError('EPLB_SHAPE', `${file.name}: step ${step} ${what}`);
}
