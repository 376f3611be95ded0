import { checkObject, checkText, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { packageVersion } from '../core/version.ts';
import { checkRange, checkSource } from '../formats/check-recording.ts';
import type { LoadRecording, StepRange } from '../formats/recording.ts';
import type { RecordingFacts, ReplayReport, ReplayResult, Versions } from './result.ts';
import type { ReplaySource } from './source.ts';

/** What a {@link replayReport} says of the recording beyond what that knows itself. */
export interface ReplayReportOptions {
  /** What the recording is called: its file, say. `a recording` when left out. */
  readonly path?: string;
  /** The part that was replayed; all of it when left out. */
  readonly steps?: StepRange;
}

/** What a recording may tell of itself; each property is read once, and may be a getter. */
type ToldSource = ReplaySource & Partial<Pick<LoadRecording, 'format' | 'numSteps' | 'notes'>>;

/**
 * Makes of results what `renderReport` draws and `eplb replay --json` writes: with the recording that they
 * were replayed from, and the versions that they were made with. The results are not copied.
 *
 * @param results of {@link replay}, all of one recording; at least one
 * @param recording that they are of; it may be closed by now
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_SHAPE` without a result,
 *   `EPLB_RANGE`, `EPLB_NOT_WHOLE`
 * @example
 * ```ts
 * const recording = synthesize({ numLayers: 2, numExperts: 8, topK: 2, numSteps: 200 });
 * const policy = new DefaultEplbPolicy();
 * const result = await replay(recording, { numPhysicalExperts: 12, numRanks: 4, policy });
 * const page = await renderReport(replayReport([result], recording));
 * ```
 */
export function replayReport(
  results: readonly ReplayResult[],
  recording: ReplaySource,
  options: ReplayReportOptions = {},
): ReplayReport {
  if (!Array.isArray(results)) {
    throw new EplbTypeError('EPLB_KIND', `results: ${show(results)} is not a list of results of replay()`);
  }
  if (results.length === 0) throw new EplbRangeError('EPLB_SHAPE', 'results: there is none');
  for (const [i, result] of results.entries()) checkResult(`results[${i}]`, result);
  return reportOf(factsOf(recording, options), results);
}

/** Rises when a field of a report comes, goes or changes its meaning: what draws it needs them all. */
export const REPORT_VERSION = 2;

/** A report of facts that are known. */
export function reportOf(
  recording: RecordingFacts,
  replays: readonly ReplayResult[],
  more: Pick<ReplayReport, 'advice' | 'scores' | 'sweep'> = {},
): ReplayReport {
  return {
    kind: 'replay-report',
    formatVersion: REPORT_VERSION,
    versions: versions(),
    recording,
    replays,
    ...more,
  };
}

/**
 * Whether a value may be a result of a replay: not each of its fields is looked at.
 * @throws EplbTypeError `EPLB_KIND`
 */
export function checkResult(title: string, value: unknown): void {
  const isResult =
    typeof value === 'object' &&
    value !== null &&
    ['configuration', 'balance', 'totals', 'series', 'heatMap', 'rankLoads'].every((part) => {
      const found: unknown = Reflect.get(value, part);
      return typeof found === 'object' && found !== null;
    });
  if (!isResult) throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not what replay() gives`);
}

function versions(): Versions {
  const { version, platform, arch } = process;
  return { package: packageVersion(), node: version, platform: `${platform} ${arch}` };
}

function factsOf(source: ToldSource, options: ReplayReportOptions): RecordingFacts {
  const { numLayers, numLogicalExperts } = checkSource(source);
  const { format = 'loads', numSteps, notes = [], routes } = source;
  const { path = 'a recording', steps = {} } = checkOptions('options', options, ['path', 'steps']);
  checkRange('steps', steps);
  const { from = 0, to = numSteps ?? null } = steps;
  if (!Array.isArray(notes) || !notes.every((note) => typeof note === 'string')) {
    throw new EplbTypeError('EPLB_KIND', `recording.notes: ${show(notes)} is not a list of texts`);
  }
  return {
    path: checkText('path', path),
    format: checkText('recording.format', format),
    numLayers,
    numLogicalExperts,
    steps: { from, to: to === Number.POSITIVE_INFINITY ? null : to },
    notes: [...notes],
    tokensPerStep: routes === undefined ? null : checkObject('recording.routes', routes).tokensPerStep,
  };
}
