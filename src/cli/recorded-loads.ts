import { EplbRangeError } from '../core/errors.ts';
import { countRoutes, withoutNone } from '../formats/loads/routes.ts';
import type { LoadRecording, RouteRun, StepRange } from '../formats/recording.ts';
import type { CoactivationRecorder, LoadMatrix } from '../index.ts';
import { zeros } from '../memory/allocate.ts';
import type { Progress } from './progress.ts';
import type { SampleRuns } from './sample-runs.ts';

/** Who gets loads beside the sums, as they are read. */
interface LoadTakers {
  /** Gets the experts that each token was routed to, where the recording has routes. */
  readonly pairs?: Pick<CoactivationRecorder, 'record'> | undefined;
  readonly samples?: SampleRuns | undefined;
}

/** A half-open range of the tokens (routes) or steps (loads) of a recording, and how many it has. */
export interface KnownRange extends Required<StepRange> {
  readonly of: number;
}

/** What the numbers of a recording count: tokens of routes, or steps. */
export function unitOf(recording: LoadRecording): 'token' | 'step' {
  return recording.routes === undefined ? 'step' : 'token';
}

/** A range of steps as one of what the numbers of a recording count: tokens of routes, or steps. */
export function rangeOfSteps({ routes }: LoadRecording, steps: KnownRange): KnownRange {
  if (routes === undefined) return steps;
  const { numTokens, tokensPerStep } = routes;
  // The last step has the tokens that are left.
  const tokens = (step: number) => Math.min(numTokens, step * tokensPerStep);
  return { from: tokens(steps.from), to: tokens(steps.to), of: numTokens };
}

/** How many steps a recording has. Where only reading to the end shows it, it is read. */
export async function stepsIn(recording: LoadRecording, progress?: Progress): Promise<number> {
  if (recording.numSteps !== undefined) return recording.numSteps;
  const bar = progress === undefined ? () => {} : byteBar(progress, 'counting steps', recording.numBytes);
  let length = 0;
  for await (const { step, bytesRead } of recording.steps()) {
    length = step + 1;
    bar(bytesRead);
  }
  return length;
}

/**
 * Says of a part of a recording whose file has checksums that they were not looked at: they are of the whole.
 */
export function partNotes({ hasChecksums }: LoadRecording, { from, to, of }: KnownRange): string[] {
  if (hasChecksums !== true || (from === 0 && to === of)) return [];
  return ["only a part of it was read, so that the file's checksums could not be looked at"];
}

/**
 * Adds up the loads of a range, read once and in constant memory.
 *
 * @param takers - who else is to get the loads
 * @throws EplbRangeError EPLB_LOAD when a sum is too large for float32; EplbError and its subclasses as the
 *   reader does
 */
export async function sumLoads(
  recording: LoadRecording,
  range: KnownRange,
  progress: Progress,
  { pairs, samples }: LoadTakers = {},
): Promise<LoadMatrix> {
  const length = recording.numLayers * recording.numLogicalExperts;
  const sums = zeros('the sums of the loads', Float64Array, length);
  if (recording.routes === undefined) await addSteps(recording, range, progress, sums, samples);
  else await addTokens(recording, range, progress, sums, { pairs, samples });
  const { numLayers, numLogicalExperts: numExperts } = recording;
  return { data: toFloat32(sums, numExperts), numLayers, numExperts };
}

async function addSteps(
  recording: LoadRecording,
  { from, to, of }: KnownRange,
  progress: Progress,
  sums: Float64Array,
  samples: SampleRuns | undefined,
): Promise<void> {
  const skipped = recording.numBytes * (from / of);
  const bar = byteBar(progress, 'reading', recording.numBytes * (to / of) - skipped);
  for await (const { step, loads, bytesRead } of recording.steps({ from, to })) {
    for (let i = 0; i < sums.length; i++) sums[i]! += loads[i]!;
    const sample = samples?.sumsOf(step);
    if (sample !== undefined) for (let i = 0; i < sample.length; i++) sample[i]! += loads[i]!;
    bar(bytesRead - skipped);
  }
}

async function addTokens(
  recording: LoadRecording,
  { from, to, of }: KnownRange,
  progress: Progress,
  sums: Float64Array,
  { pairs, samples }: LoadTakers,
): Promise<void> {
  const { numBytes, numLayers } = recording;
  const routes = recording.routes!;
  const bytesPerToken = numBytes / of;
  const counts = new Int32Array(sums.length);
  const bar = byteBar(progress, 'reading', (to - from) * bytesPerToken);
  for await (const run of routes.read({ from, to })) {
    countRoutes(run.ids, 0, run.numTokens, counts, numLayers, routes.topK);
    for (let i = 0; i < sums.length; i++) sums[i]! += counts[i]!;
    counts.fill(0);
    pairs?.record(withoutNone(run.ids, routes.topK), run.numTokens, routes.topK);
    if (samples !== undefined) countSamples(run, samples, numLayers, routes.topK);
    bar((run.firstToken + run.numTokens - from) * bytesPerToken);
  }
}

/** Counts a run of tokens into the samples they are in. */
function countSamples(
  { ids, firstToken, numTokens }: RouteRun,
  samples: SampleRuns,
  numLayers: number,
  topK: number,
): void {
  for (let token = firstToken; token < firstToken + numTokens; ) {
    const end = Math.min(samples.endOf(token), firstToken + numTokens);
    const sums = samples.sumsOf(token);
    const counts = new Int32Array(sums.length);
    countRoutes(ids, token - firstToken, end - firstToken, counts, numLayers, topK);
    for (let i = 0; i < sums.length; i++) sums[i]! += counts[i]!;
    token = end;
  }
}

/** A stage of the progress bar that counts bytes, in megabytes. */
export function byteBar(progress: Progress, label: string, numBytes: number): (done: number) => void {
  const inMegabytes = (bytes: number) => Math.max(0, Math.ceil(bytes / 1e6));
  progress.begin(label, inMegabytes(numBytes), 'MB');
  return (done) => progress.update(inMegabytes(done));
}

function toFloat32(sums: Float64Array, numExperts: number): Float32Array {
  const out = Float32Array.from(sums);
  const over = out.indexOf(Number.POSITIVE_INFINITY);
  if (over === -1) return out;
  const at = `layer ${Math.floor(over / numExperts)}, expert ${over % numExperts}`;
  throw new EplbRangeError(
    'EPLB_LOAD',
    `recording: the loads of ${at} add up to ${sums[over]}, which is too large for float32; select fewer ` +
      '--steps',
  );
}
