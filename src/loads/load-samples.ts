import { checkAtLeast, checkNumber, checkWhole, loadError, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { copyOf, plainFloats } from '../core/typed-arrays.ts';
import type { LoadMatrix } from './load-matrix.ts';

/**
 * Loads of single steps, or of runs of a few steps, oldest first:
 * `data[(sample * numLayers + layer) * numExperts + expert]`, [samples x layers x logical]. Finite and >= 0.
 */
export interface LoadSamples {
  readonly data: Float32Array;
  /** 0 is an empty window. */
  readonly numSamples: number;
  readonly numLayers: number;
  readonly numExperts: number;
  /** Steps that each sample is the mean of; loads are tokens a step either way. 1 when left out. */
  readonly stepsPerSample?: number;
  /**
   * How many of these steps the newest sample that is no single step has, as a share in (0, 1]: as much does
   * it count. 1 when left out.
   */
  readonly newestShare?: number;
  /** How many of the newest samples are single steps. 0 when left out: all are of `stepsPerSample`. */
  readonly numSingles?: number;
}

/** What is to be known of samples that lie where a job reads them: see {@link LoadSamples}. */
export interface WrittenSamples {
  readonly numSamples: number;
  readonly stepsPerSample: number;
  readonly newestShare: number;
  readonly numSingles: number;
}

/** Steps that samples are of, all together. */
export function stepsOfSamples(samples: WrittenSamples): number {
  const { numSamples, stepsPerSample, newestShare, numSingles } = samples;
  const numJoined = numSamples - numSingles;
  return numSingles + (numJoined === 0 ? 0 : (numJoined - 1 + newestShare) * stepsPerSample);
}

/** How many steps a sample is the mean of. */
export function lengthOfSample(samples: WrittenSamples, sample: number): number {
  const { numSamples, stepsPerSample, newestShare, numSingles } = samples;
  const newestJoined = numSamples - numSingles - 1;
  if (sample > newestJoined) return 1;
  return sample === newestJoined ? newestShare * stepsPerSample : stepsPerSample;
}

/** A load matrix as the one sample there is. */
export function oneSample(matrix: LoadMatrix): LoadSamples {
  return { ...matrix, numSamples: 1 };
}

/**
 * Checks the kind, the shape and the values, each property read once. The result is a copy, and the copy is
 * what was checked: whatever becomes of the samples given.
 *
 * @param numLayers and `numExperts`: what they have to be; anything, when left out
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`, `EPLB_RANGE`, `EPLB_NOT_WHOLE` or
 * `EPLB_LOAD`
 */
export function checkSamples(
  samples: LoadSamples,
  numLayers?: number,
  numExperts?: number,
): Required<LoadSamples> {
  const isObject = typeof samples === 'object' && samples !== null;
  const given = isObject ? plainFloats(samples.data) : undefined;
  if (given === undefined) {
    const wanted = '{data: Float32Array, numSamples, numLayers, numExperts}';
    throw new EplbTypeError('EPLB_KIND', `samples: ${show(samples)} is not ${wanted}`);
  }
  const count = checkWhole('samples.numSamples', samples.numSamples, 0);
  const layers = size('samples.numLayers', samples.numLayers, numLayers);
  const experts = size('samples.numExperts', samples.numExperts, numExperts);
  const { newestShare = 1, stepsPerSample = 1, numSingles = 0 } = samples;
  checkAtLeast('samples.stepsPerSample', stepsPerSample, 1);
  if (!(checkNumber('samples.newestShare', newestShare) > 0 && newestShare <= 1)) {
    const message = `samples.newestShare: ${newestShare} is not above 0 and at most 1`;
    throw new EplbRangeError('EPLB_RANGE', message);
  }
  checkWhole('samples.numSingles', numSingles, 0, count);
  const wanted = count * layers * experts;
  // Only now: a property that was read may have changed its memory.
  const data = copyOf(given);
  if (data.length !== wanted) {
    throw new EplbRangeError('EPLB_SHAPE', `samples.data: has ${data.length} loads, not ${wanted}`);
  }
  for (let i = 0; i < data.length; i++) {
    const load = data[i]!;
    if (load >= 0 && load < Number.POSITIVE_INFINITY) continue;
    const sample = Math.floor(i / (layers * experts));
    const layer = Math.floor(i / experts) % layers;
    throw loadError(`samples: sample ${sample}`, layer, i % experts, load);
  }
  const sizes = { numSamples: count, numLayers: layers, numExperts: experts };
  return { data, ...sizes, stepsPerSample, newestShare, numSingles };
}

/**
 * Writes samples to where a job reads them; more than there is room for are joined: runs of as many each, by
 * their mean.
 */
export function writeSamples(samples: LoadSamples, maxSamples: number, out: Float32Array): WrittenSamples {
  const { data, numSamples, stepsPerSample = 1, newestShare = 1, numSingles = 0 } = samples;
  const run = Math.ceil(numSamples / maxSamples);
  if (run <= 1) {
    out.set(data);
    return { numSamples, stepsPerSample, newestShare, numSingles };
  }
  const whole = { ...samples, stepsPerSample, newestShare, numSingles };
  return numSingles > 0 ? joinSteps(whole, maxSamples, out) : joinRuns(whole, run, out);
}

/** Joins runs of as many samples each. One that has only begun weighs by the steps that it has. */
function joinRuns(samples: Required<LoadSamples>, run: number, out: Float32Array): WrittenSamples {
  const { data, numSamples, numLayers, numExperts, stepsPerSample, newestShare } = samples;
  const step = numLayers * numExperts;
  const numRuns = Math.ceil(numSamples / run);
  const rest = numSamples - (numRuns - 1) * run;
  for (let i = 0; i < numRuns; i++) {
    const isLast = i === numRuns - 1;
    const length = isLast ? rest : run;
    const lastWeight = isLast ? newestShare : 1;
    for (let at = 0; at < step; at++) {
      let sum = 0;
      for (let n = 0; n < length - 1; n++) sum += data[(i * run + n) * step + at]!;
      sum += lastWeight * data[(i * run + length - 1) * step + at]!;
      out[i * step + at] = sum / (length - 1 + lastWeight);
    }
  }
  return {
    numSamples: numRuns,
    stepsPerSample: run * stepsPerSample,
    newestShare: (rest - 1 + newestShare) / run,
    numSingles: 0,
  };
}

/** Joins runs of as many steps each, oldest first: a sample stands for as many as it is the mean of. */
function joinSteps(samples: Required<LoadSamples>, maxSamples: number, out: Float32Array): WrittenSamples {
  const { data, numLayers, numExperts } = samples;
  const loads = numLayers * numExperts;
  const numSteps = stepsOfSamples(samples);
  const stepsPerSample = Math.max(1, Math.ceil(numSteps / maxSamples));
  const numSamples = Math.ceil(numSteps / stepsPerSample);
  const means = new Float64Array(numSamples * loads);
  let begin = 0;
  for (let sample = 0; sample < samples.numSamples; sample++) {
    const end = Math.min(begin + lengthOfSample(samples, sample), numSteps);
    for (let run = Math.floor(begin / stepsPerSample); run * stepsPerSample < end; run++) {
      const runEnd = Math.min((run + 1) * stepsPerSample, numSteps);
      const shared = Math.min(end, runEnd) - Math.max(begin, run * stepsPerSample);
      const share = shared / (runEnd - run * stepsPerSample);
      for (let at = 0; at < loads; at++) means[run * loads + at]! += share * data[sample * loads + at]!;
    }
    begin = end;
  }
  out.set(means);
  const newestShare = (numSteps - (numSamples - 1) * stepsPerSample) / stepsPerSample;
  return { numSamples, stepsPerSample, newestShare, numSingles: 0 };
}

function size(title: string, value: unknown, wanted: number | undefined): number {
  if (wanted === undefined) return checkWhole(title, value, 1);
  return checkWhole(title, value, wanted, wanted, 'EPLB_SHAPE');
}
