import { littleEndianBytes } from '../../core/byte-order.ts';
import { EplbRangeError } from '../../core/errors.ts';
import { checkStep, stepsOf } from '../check-recording.ts';
import type { LoadRecording, StepRange } from '../recording.ts';
import { NPY_HEADER_BYTES, npyHeader } from './npy.ts';
import { npzChunks } from './npz.ts';

/** Steps of a recording that are to be written, and how many they are. */
export interface StepsToWrite extends Required<StepRange> {
  readonly recording: Pick<LoadRecording, 'numLayers' | 'numLogicalExperts' | 'steps'>;
  /** Called after every step with the bytes read so far. */
  readonly onStep?: (bytesRead: number) => void;
}

/** Name of the array in a .npz. */
const ARRAY_NAME = 'logical_count';

/** A .npy of float32 [steps, layers, experts]. */
export async function* loadNpyChunks(steps: StepsToWrite): AsyncGenerator<Uint8Array> {
  const { numLayers, numLogicalExperts } = steps.recording;
  yield npyHeader('<f4', [steps.to - steps.from, numLayers, numLogicalExperts]);
  // A copy: the reader's array is its own again with the next step, before a stream has written it.
  for await (const loads of loadsOf(steps)) yield littleEndianBytes(loads).slice();
}

/** A .npz with one array of them. */
export function loadNpzChunks(steps: StepsToWrite): AsyncIterable<Uint8Array> {
  const size = NPY_HEADER_BYTES + 4 * numLoadsIn(steps);
  return npzChunks([{ name: ARRAY_NAME, size, content: () => loadNpyChunks(steps) }]);
}

/** SGLang's JSON: [steps][layers][experts] under `logical_count`. */
export async function* loadJsonChunks(steps: StepsToWrite): AsyncGenerator<Uint8Array> {
  const { numLayers, numLogicalExperts } = steps.recording;
  let before = '{"logical_count": [\n';
  for await (const loads of loadsOf(steps)) {
    const rows = Array.from({ length: numLayers }, (_, layer) => rowText(loads, layer, numLogicalExperts));
    yield encoder.encode(`${before}[${rows.join(', ')}]`);
    before = ',\n';
  }
  yield encoder.encode('\n]}\n');
}

/** JSON Lines, a line a step and layer. */
export async function* loadJsonLinesChunks(steps: StepsToWrite): AsyncGenerator<Uint8Array> {
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

/** CSV of a line a count, with a header. */
export async function* loadCsvChunks(steps: StepsToWrite): AsyncGenerator<Uint8Array> {
  const { numLayers, numLogicalExperts } = steps.recording;
  yield encoder.encode('step,layer_id,expert_id,count\n');
  let step = 0;
  for await (const loads of loadsOf(steps)) {
    const lines = Array.from({ length: numLayers }, (_, layer) =>
      Array.from(
        loads.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts),
        (load, expert) => `${step},${layer},${expert},${load}\n`,
      ).join(''),
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
    // Headers and entries of a zip say how many steps follow, and are written by now.
    if (next++ === to) throw stepsError('gives more steps', from, to);
    yield step.loads;
    onStep?.(step.bytesRead);
  }
  if (next < to) throw stepsError(`ends before step ${next}`, from, to);
}

function stepsError(what: string, from: number, to: number): EplbRangeError {
  const wanted = `the steps from ${from} up to ${to} are to be written`;
  return new EplbRangeError('EPLB_RANGE', `recording: ${what}; ${wanted}`);
}

function numLoadsIn({ recording, from, to }: StepsToWrite): number {
  return (to - from) * recording.numLayers * recording.numLogicalExperts;
}
