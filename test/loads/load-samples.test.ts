import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type LoadSamples,
  lengthOfSample,
  stepsOfSamples,
  writeSamples,
} from '../../src/loads/load-samples.ts';

const numLayers = 2;
const numExperts = 3;
const LOADS = numLayers * numExperts;

/** Whole steps: older ones joined by their mean, the newest one by one. */
function join(steps: readonly number[][], stepsPerSample: number, numSingles: number): LoadSamples {
  const older = steps.slice(0, steps.length - numSingles);
  const runs: number[][][] = [];
  for (let at = 0; at < older.length; at += stepsPerSample) runs.push(older.slice(at, at + stepsPerSample));
  const joined = runs.map((run) => meanOf(run));
  const newestShare = runs.length === 0 ? 1 : runs.at(-1)!.length / stepsPerSample;
  const rows = [...joined, ...steps.slice(steps.length - numSingles)];
  const data = Float32Array.from(rows.flat());
  return { data, numSamples: rows.length, numLayers, numExperts, stepsPerSample, newestShare, numSingles };
}

function meanOf(steps: readonly number[][]): number[] {
  return steps[0]!.map((_, at) => steps.reduce((sum, step) => sum + step[at]!, 0) / steps.length);
}

const problems = fc.record({
  steps: fc.array(fc.array(fc.nat({ max: 1000 }), { minLength: LOADS, maxLength: LOADS }), {
    minLength: 1,
    maxLength: 40,
  }),
  stepsPerSample: fc.integer({ min: 1, max: 7 }),
  singles: fc.double({ min: 0, max: 1, noNaN: true }),
  maxSamples: fc.integer({ min: 1, max: 12 }),
});

test('too many samples, of equal steps or not, are joined anew, and keep their steps and their mean', () => {
  fc.assert(
    fc.property(problems, ({ steps, stepsPerSample, singles, maxSamples }) => {
      const samples = join(steps, stepsPerSample, Math.round(singles * steps.length));
      const room = new Float32Array(Math.max(maxSamples, samples.numSamples) * LOADS).fill(Number.NaN);
      const written = writeSamples(samples, maxSamples, room);
      assert.ok(written.numSamples <= maxSamples);
      assert.ok(Math.abs(stepsOfSamples(written) - steps.length) < 1e-9, 'as many steps');
      const wanted = meanOf(steps);
      for (let at = 0; at < LOADS; at++) {
        let sum = 0;
        for (let t = 0; t < written.numSamples; t++)
          sum += lengthOfSample(written, t) * room[t * LOADS + at]!;
        assert.ok(Math.abs(sum / steps.length - wanted[at]!) < 1e-3, 'the same mean');
      }
    }),
    { numRuns: 300 },
  );
});

test('single steps after joined ones are shared among runs by the steps that they are of', () => {
  // Four steps of 2 and 6 joined, a begun one of 10, and single steps of 20 and 30: seven steps in all.
  const data = Float32Array.from([2, 6, 10, 20, 30].flatMap((load) => new Array<number>(LOADS).fill(load)));
  const samples = {
    data,
    numSamples: 5,
    numLayers,
    numExperts,
    stepsPerSample: 2,
    newestShare: 0.5,
    numSingles: 2,
  };
  const room = new Float32Array(3 * LOADS);
  const written = writeSamples(samples, 3, room);
  assert.deepEqual(written, { numSamples: 3, stepsPerSample: 3, newestShare: 1 / 3, numSingles: 0 });
  const loads = [0, 1, 2].map((sample) => room[sample * LOADS]!);
  assert.deepEqual(loads, [Math.fround((2 + 2 + 6) / 3), 12, 30]);
});
