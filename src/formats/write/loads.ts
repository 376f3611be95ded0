import { checkObject, checkWhole, show } from '../../core/checks.ts';
import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { checkSource, checkStep, stepsOf } from '../check-recording.ts';
import type { LoadRecording, StepRange } from '../recording.ts';
import { quote } from '../text.ts';
import { littleEndianBytes, NPY_HEADER_BYTES, npyHeader } from './npy.ts';
import { npzChunks } from './npz.ts';

/** Steps of a recording that are to be written, and how many they are. */
export interface StepsToWrite extends Required<StepRange> {
  readonly recording: LoadRecording;
  /** Called after every step with the bytes read so far. */
  readonly onStep?: (bytesRead: number) => void;
}

/** Writes recorded loads in some format, piece by piece. */
interface LoadWriter {
  /** Name of the format that it is read back as. */
  readonly name: string;
  readonly extensions: readonly string[];
  /** What the file says less of than the recording, for people. */
  readonly note: string | undefined;
  chunks(steps: StepsToWrite): AsyncIterable<Uint8Array>;
}

const FLOAT32_NOTE = 'loads are written as float32, as they are read';

const WRITERS: readonly LoadWriter[] = [
  { name: 'npy', extensions: ['.npy'], note: FLOAT32_NOTE, chunks: npyChunks },
  {
    name: 'npz',
    extensions: ['.npz'],
    note: FLOAT32_NOTE,
    chunks: (steps) =>
      npzChunks([
        { name: ARRAY_NAME, size: NPY_HEADER_BYTES + numbersOf(steps) * 4, content: () => npyChunks(steps) },
      ]),
  },
  { name: 'json', extensions: ['.json'], note: undefined, chunks: jsonChunks },
  { name: 'json-lines', extensions: ['.jsonl', '.ndjson'], note: undefined, chunks: jsonLinesChunks },
];

/** Name of the array in a .npz. */
const ARRAY_NAME = 'logical_count';

/** Names of the formats that recorded loads are written in. */
export const LOAD_WRITER_NAMES: readonly string[] = WRITERS.map(({ name }) => name);

/** The format that a file's name asks for, or undefined. */
export function loadWriterFor(path: string): string | undefined {
  const name = path.toLowerCase();
  return WRITERS.find(({ extensions }) => extensions.some((end) => name.endsWith(end)))?.name;
}

/**
 * The steps of a recording as the bytes of a file, in order, read as they are asked for.
 *
 * @param format - `npy`, `npz`, `json` or `json-lines`
 * @throws EplbError EPLB_OPTION for another format; EplbTypeError and EplbRangeError for steps that are none; while iterating,
 *   what the recording's reader throws
 */
export function writeLoads(
  format: string,
  steps: StepsToWrite,
): { chunks: AsyncIterable<Uint8Array>; notes: string[] } {
  const writer = WRITERS.find(({ name }) => name === format);
  if (writer === undefined) {
    const known = LOAD_WRITER_NAMES.join(', ');
    throw new EplbError(
      'EPLB_OPTION',
      `loads are not written as ${quote(format)}; formats for them are ${known}`,
    );
  }
  const { recording, from, to, onStep } = checkObject('steps', steps);
  checkSource(recording);
  checkWhole('steps.from', from, 0);
  checkWhole('steps.to', to, from);
  if (onStep !== undefined && typeof onStep !== 'function') {
    throw new EplbTypeError('EPLB_KIND', `steps.onStep: ${show(onStep)} is not a function`);
  }
  return { chunks: writer.chunks(steps), notes: writer.note === undefined ? [] : [writer.note] };
}

async function* npyChunks(steps: StepsToWrite): AsyncGenerator<Uint8Array> {
  const { numLayers, numLogicalExperts } = steps.recording;
  yield npyHeader('<f4', [steps.to - steps.from, numLayers, numLogicalExperts]);
  // A copy: the reader's array is its own again with the next step, before a stream has written it.
  for await (const loads of loadsOf(steps)) yield littleEndianBytes(loads).slice();
}

async function* jsonChunks(steps: StepsToWrite): AsyncGenerator<Uint8Array> {
  const { numLayers, numLogicalExperts } = steps.recording;
  let before = '{"logical_count": [\n';
  for await (const loads of loadsOf(steps)) {
    const rows = Array.from({ length: numLayers }, (_, layer) => rowText(loads, layer, numLogicalExperts));
    yield encoder.encode(`${before}[${rows.join(', ')}]`);
    before = ',\n';
  }
  yield encoder.encode('\n]}\n');
}

async function* jsonLinesChunks(steps: StepsToWrite): AsyncGenerator<Uint8Array> {
  const { numLayers, numLogicalExperts } = steps.recording;
  let step = 0;
  for await (const loads of loadsOf(steps)) {
    const lines = Array.from(
      { length: numLayers },
      (_, layer) =>
        `{"step": ${step}, "layer": ${layer}, "loads": ${rowText(loads, layer, numLogicalExperts)}}\n`,
    );
    yield encoder.encode(lines.join(''));
    step++;
  }
}

const encoder = new TextEncoder();

function rowText(loads: Float32Array, layer: number, width: number): string {
  return `[${loads.subarray(layer * width, (layer + 1) * width).join(', ')}]`;
}

async function* loadsOf({ recording, from, to, onStep }: StepsToWrite): AsyncGenerator<Float32Array> {
  const { numLayers, numLogicalExperts } = recording;
  let next = from;
  for await (const step of stepsOf(recording, { from, to })) {
    checkStep(step, numLayers, numLogicalExperts);
    // Headers and entries of a zip tell how many steps follow, and are written by now.
    if (next++ === to) throw stepsError('gives more steps', from, to);
    yield step.loads;
    onStep?.(step.bytesRead);
  }
  if (next < to) throw stepsError(`ends before step ${next}`, from, to);
}

function stepsError(what: string, from: number, to: number): EplbRangeError {
  return new EplbRangeError(
    'EPLB_RANGE',
    `recording: ${what}; the steps from ${from} up to ${to} are to be written`,
  );
}

function numbersOf({ recording, from, to }: StepsToWrite): number {
  return (to - from) * recording.numLayers * recording.numLogicalExperts;
}
