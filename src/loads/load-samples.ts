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
   * Which share of these steps, in (0, 1], the newest sample has that is not a single step: it counts that
   * much. 1 when left out.
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

/** With fewer samples all are of as many steps: half of them would tell too little of how loads pass. */
const LEAST_SAMPLES = 24;

/**
 * How many of at most so many samples are the newest steps, one by one, where there are more steps: they tell
 * which experts peak together, and how loads pass. The others are joined: they tell which loads come back.
 */
export function singlesWithin(maxSamples: number): number {
  return maxSamples >= LEAST_SAMPLES ? Math.floor(maxSamples / 2) : 0;
}

/**
 * Writes samples to where a job reads them. Of more than there is room for the newest single steps stay as
 * they are, see {@link singlesWithin}, and older samples are joined by their mean.
 */
export function writeSamples(samples: LoadSamples, maxSamples: number, out: Float32Array): WrittenSamples {
  const { data, numSamples, numLayers, numExperts, stepsPerSample = 1, newestShare = 1 } = samples;
  const { numSingles = 0 } = samples;
  if (numSamples <= maxSamples) {
    out.set(data);
    return { numSamples, stepsPerSample, newestShare, numSingles };
  }
  const isOfSteps = stepsPerSample === 1 && newestShare === 1;
  const numKept = Math.min(isOfSteps ? numSamples : numSingles, singlesWithin(maxSamples));
  const numOlder = numSamples - numKept;
  const olderSingles = Math.max(0, numSingles - numKept);
  const older = { ...samples, numSamples: numOlder, stepsPerSample, newestShare, numSingles: olderSingles };
  const joined = joinSamples(older, maxSamples - numKept, out);
  const stride = numLayers * numExperts;
  out.set(data.subarray(numOlder * stride, numSamples * stride), joined.numSamples * stride);
  return { ...joined, numSamples: joined.numSamples + numKept, numSingles: numKept };
}

/**
 * Joins runs of as many steps each, oldest first, to at most so many samples: each stands for as many steps
 * as it is the mean of. Where all are of as many steps, none is split.
 */
function joinSamples(
  samples: Required<LoadSamples>,
  most: number,
  out: Float32Array,
): Omit<WrittenSamples, 'numSingles'> {
  const { data, numLayers, numExperts, numSingles } = samples;
  const loads = numLayers * numExperts;
  const numSteps = stepsOfSamples(samples);
  const whole = numSingles > 0 ? 1 : samples.stepsPerSample;
  const stepsPerSample = whole * Math.ceil(numSteps / (whole * most));
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
  return { numSamples, stepsPerSample, newestShare };
}

function size(title: string, value: unknown, wanted: number | undefined): number {
  if (wanted === undefined) return checkWhole(title, value, 1);
  return checkWhole(title, value, wanted, wanted, 'EPLB_SHAPE');
}
