import { checkNumber, checkObject, checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { MAX_SIZE } from '../core/topology.ts';
import type { LoadRecording, RecordedStep, StepRange } from './recording.ts';

/** What is read of a recording that anybody may have made. */
export type StepSource = Pick<LoadRecording, 'numLayers' | 'numLogicalExperts' | 'numSourceRanks' | 'steps'>;

/**
 * The sizes of a recording, which may be getters.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE`
 */
export function checkSource(source: StepSource): Pick<StepSource, 'numLayers' | 'numLogicalExperts'> {
  const { numLayers, numLogicalExperts, numSourceRanks, steps } = checkObject('recording', source);
  checkWhole('recording.numLayers', numLayers, 1);
  checkWhole('recording.numLogicalExperts', numLogicalExperts, 1);
  if (numSourceRanks !== undefined) checkWhole('recording.numSourceRanks', numSourceRanks, 1, MAX_SIZE);
  if (typeof steps === 'function') return { numLayers, numLogicalExperts };
  throw new EplbTypeError('EPLB_KIND', `recording.steps: ${show(steps)} is not a function that gives steps`);
}

/**
 * Asks a recording for its steps.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` for a range that is none
 */
export function stepsOf(source: StepSource, range: StepRange | undefined): AsyncIterable<RecordedStep> {
  if (range !== undefined) checkRange('steps', range);
  const steps: unknown = source.steps(range);
  const isIterable =
    typeof steps === 'object' &&
    steps !== null &&
    typeof Reflect.get(steps, Symbol.asyncIterator) === 'function';
  if (isIterable) return steps as AsyncIterable<RecordedStep>;
  throw new EplbTypeError('EPLB_KIND', `recording: its steps are ${show(steps)}, not an async iterable`);
}

/**
 * Checks a step's loads, but not their values.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`
 */
export function checkStep({ step, loads }: RecordedStep, numLayers: number, numExperts: number): void {
  if (typeof step !== 'number') checkNumber('recording: step', step);
  if (!(loads instanceof Float32Array)) {
    throw new EplbTypeError('EPLB_KIND', `recording: step ${step}: ${show(loads)} is not a Float32Array`);
  }
  if (loads.length === numLayers * numExperts) return;
  const wanted = `${numLayers} layers of ${numExperts}`;
  throw new EplbRangeError('EPLB_SHAPE', `recording: step ${step} has ${loads.length} loads, not ${wanted}`);
}

/** @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE` */
export function checkRange(title: string, range: StepRange): void {
  const { from, to } = checkOptions(title, range, ['from', 'to']);
  if (from !== undefined) checkWhole(`${title}.from`, from, 0);
  if (to !== undefined && to !== Number.POSITIVE_INFINITY) checkWhole(`${title}.to`, to, 0);
}
