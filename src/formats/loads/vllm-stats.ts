import { MAX_FLOAT32 } from '../../core/checks.ts';
import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { type Line, linesOf } from '../bytes/lines.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { describeNext } from '../json/describe.ts';
import { readNestedNumbers } from '../json/nested-numbers.ts';
import { mostNumbersIn } from '../json/outline.ts';
import { JsonReader } from '../json/reader.ts';
import { counted } from '../number-text.ts';
import { StepGaps } from '../numbered.ts';
import type { OpenOptions } from '../open-options.ts';
import { firstCharacters } from '../recognise.ts';
import { addNotes, type RecordedStep, type StepRange, type StoredRecording } from '../recording.ts';
import { shapeText } from '../text.ts';
import { checkLoadsShape } from './array.ts';
import { fileLoadError } from './array-loads.ts';
import { oneByOne } from './one-by-one.ts';

const TYPE = 'eplb_load_stats';

/**
 * vLLM's loads in JSON Lines (its pull request 41141): a record a step, of the slots and the map they had.
 */
export const VLLM_STATS: LoadFormat = {
  name: 'vllm-stats',
  holds: 'loads',
  description: `vLLM JSON Lines (PR 41141): {"record_type": "${TYPE}", "step", "expert_load", "p2l_map"} a step`,
  extensions: [],
  recognise: async (file) => /^\{[^\n]*"record_type"\s*:\s*"eplb_load_/.test(await firstCharacters(file)),
  open: oneByOne(openStats),
};

/** A record of a step: the loads of the slots, and the experts in them. */
interface Stats {
  readonly step: number;
  readonly shape: readonly number[];
  readonly loads: Float64Array;
  readonly experts: Float64Array;
  readonly place: string;
  readonly end: number;
}

async function openStats(file: InputFile, { numExperts: asked }: OpenOptions): Promise<StoredRecording> {
  const { first, numExperts } = await firstOf(file, asked);
  const [numLayers, numSlots] = first.shape as [number, number];
  checkLoadsShape([numLayers, numExperts], file.name, asked, file.size);
  const notes = [
    `the loads of ${counted(numSlots, 'slot')} were added up to ${counted(numExperts, 'expert')} through ` +
      'the map in each record',
  ];
  return {
    format: VLLM_STATS.name,
    numLayers,
    numLogicalExperts: numExperts,
    numSteps: undefined,
    numBytes: file.size,
    notes,
    steps: (range) => readSteps(file, { numLayers, numSlots, numExperts }, notes, range),
    close: () => file.close(),
  };
}

interface Sizes {
  readonly numLayers: number;
  readonly numSlots: number;
  readonly numExperts: number;
}

/** The first record of the model that is read: with `asked` experts, or the first of all. */
async function firstOf(
  file: InputFile,
  asked: number | undefined,
): Promise<{ first: Stats; numExperts: number }> {
  let other: number | undefined;
  for await (const lines of linesOf(file.source, file.name)) {
    for (const line of lines) {
      const record = readRecord(line, file);
      if (record === undefined) continue;
      const numExperts = record.experts.reduce((most, expert) => Math.max(most, expert + 1), 0);
      if (asked === undefined || numExperts === asked) return { first: record, numExperts };
      other ??= numExperts;
    }
  }
  if (other === undefined) throw new EplbError('EPLB_FORMAT', `${file.name}: it has no record ${TYPE}`);
  const what = `its records have ${other} experts; --experts says ${asked}`;
  throw new EplbRangeError('EPLB_SHAPE', `${file.name}: ${what}`);
}

async function* readSteps(
  file: InputFile,
  { numLayers, numSlots, numExperts }: Sizes,
  notes: string[],
  { from = 0, to = Number.POSITIVE_INFINITY }: StepRange = {},
): AsyncGenerator<RecordedStep> {
  const sums = new Float64Array(numLayers * numExperts);
  const loads = new Float32Array(sums.length);
  const gaps = new StepGaps();
  let index = 0;
  let numOthers = 0;
  for await (const lines of linesOf(file.source, file.name)) {
    for (const line of lines) {
      const record = readRecord(line, file);
      if (record === undefined) continue;
      if (record.shape[0] !== numLayers || record.shape[1] !== numSlots) {
        numOthers++;
        continue;
      }
      if (index >= to) return;
      gaps.add(record.step);
      if (index++ < from) continue;
      fold(record, numExperts, sums);
      loads.set(sums);
      yield { step: index - 1, loads, bytesRead: file.bytesUpTo(record.end) };
    }
  }
  const more = [
    ...gaps.notes(),
    ...(numOthers === 0
      ? []
      : [`${counted(numOthers, 'record')} of another model were left out: --experts N picks a model`]),
  ];
  addNotes(notes, more);
}

function fold({ loads, experts, shape, place }: Stats, numExperts: number, sums: Float64Array): void {
  const numSlots = shape[1]!;
  sums.fill(0);
  for (let at = 0; at < loads.length; at++) {
    const load = loads[at]!;
    const expert = experts[at]!;
    const where = `layer ${Math.floor(at / numSlots)}, slot ${at % numSlots}`;
    if (!(load >= 0 && load <= MAX_FLOAT32)) throw fileLoadError(place, load, where);
    if (!Number.isInteger(expert) || expert >= numExperts || expert < -1 || (expert === -1 && load > 0)) {
      throw new EplbRangeError('EPLB_RANGE', `${place}: p2l_map has ${expert} at ${where}`);
    }
    if (expert >= 0) sums[Math.floor(at / numSlots) * numExperts + expert]! += load;
  }
}

/** A record of loads; undefined for one of another type. */
function readRecord({ bytes, number, end }: Line, file: InputFile): Stats | undefined {
  const place = `${file.name}: line ${number}`;
  const reader = new JsonReader(bytes, place);
  if (reader.kind() !== 'object') {
    throw new EplbTypeError('EPLB_KIND', `${place} is ${describeNext(reader)}; it must be a record`);
  }
  const spans = new Map<string, number>();
  reader.openObject();
  for (let isFirst = true; reader.hasEntry(isFirst, 'object'); isFirst = false) {
    const key = reader.key();
    spans.set(key, reader.at);
    reader.skip();
  }
  reader.end();
  const at = (key: string) => {
    const start = spans.get(key);
    return start === undefined ? undefined : new JsonReader(bytes, place, start);
  };
  const type = at('record_type');
  if (type?.kind() !== 'text' || type.text() !== TYPE) return undefined;
  const table = (key: string) => {
    const found = at(key);
    if (found?.kind() !== 'array') {
      const what = found === undefined ? 'missing' : describeNext(found);
      throw new EplbTypeError('EPLB_KIND', `${place}: ${key} is ${what}; it must be [layers][physical]`);
    }
    const sink = { data: new Float64Array(mostNumbersIn(bytes, { start: 0, end: bytes.length })), length: 0 };
    const shape = readNestedNumbers(found, { path: key, name: place }, sink);
    return { data: sink.data.slice(0, sink.length), shape };
  };
  const [loads, map] = [table('expert_load'), table('p2l_map')];
  if (loads.shape.length !== 2 || loads.shape.join() !== map.shape.join() || loads.data.length === 0) {
    const what = `expert_load has the shape ${shapeText(loads.shape)}, p2l_map ${shapeText(map.shape)}`;
    throw new EplbRangeError('EPLB_SHAPE', `${place}: ${what}; both must be [layers][physical]`);
  }
  const step = at('step');
  const stepNumber = step?.kind() === 'number' ? step.number() : Number.NaN;
  if (!Number.isSafeInteger(stepNumber)) {
    throw new EplbTypeError('EPLB_KIND', `${place}: step is not a whole number`);
  }
  return { step: stepNumber, shape: loads.shape, loads: loads.data, experts: map.data, place, end };
}
