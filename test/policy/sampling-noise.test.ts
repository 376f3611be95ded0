import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { estimateShrinkage } from '../../src/policy/adaptive/sampling-noise.ts';
import { loadsArbitrary, seededRandom } from '../helpers/arbitraries.ts';
import { SEED } from '../helpers/library.ts';

/** Tokens that pick an expert by chance, as popular as told, in steps of so many. */
function draw(popularity: readonly number[], numSteps: number, tokens: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  const total = popularity.reduce((sum, share) => sum + share, 0);
  const rows = new Float32Array(numSteps * popularity.length);
  for (let token = 0; token < numSteps * tokens; token++) {
    let left = random() * total;
    let expert = 0;
    while (expert < popularity.length - 1 && left >= popularity[expert]!) left -= popularity[expert++]!;
    rows[Math.floor(token / tokens) * popularity.length + expert]! += 1;
  }
  return rows;
}

const ones = (n: number) => new Float64Array(n).fill(1);

test('whatever the loads, both shares are in [0, 1]', () => {
  const problems = fc
    .record({ numSamples: fc.integer({ min: 1, max: 6 }), numExperts: fc.integer({ min: 1, max: 12 }) })
    .chain(({ numSamples, numExperts }) =>
      fc.record({
        numExperts: fc.constant(numExperts),
        rows: fc.array(loadsArbitrary(numExperts), { minLength: numSamples, maxLength: numSamples }),
      }),
    );
  fc.assert(
    fc.property(problems, ({ rows, numExperts }) => {
      const { shrink, prior } = estimateShrinkage(
        Float32Array.from(rows.flat()),
        ones(rows.length),
        numExperts,
      );
      assert.ok(shrink >= 0 && shrink <= 1, `shrink ${shrink}`);
      assert.ok(prior >= 0 && prior <= 1, `prior ${prior}`);
    }),
    { numRuns: 2000, seed: SEED },
  );
});

test('chance draws from equal means are told as noise, also when steps are joined', () => {
  for (const [numExperts, tokens] of [
    [8, 64],
    [64, 768],
    [128, 4096],
  ] as const) {
    for (let seed = 0; seed < 30; seed++) {
      const rows = draw(new Array(numExperts).fill(1), 16, tokens, seed);
      assert.deepEqual(estimateShrinkage(rows, ones(16), numExperts), { shrink: 1, prior: 1, isNoise: true });
      const joined = Float32Array.from({ length: 8 * numExperts }, (_, i) => {
        const first = 2 * Math.floor(i / numExperts) * numExperts + (i % numExperts);
        return (rows[first]! + rows[first + numExperts]!) / 2;
      });
      assert.ok(estimateShrinkage(joined, new Float64Array(8).fill(2), numExperts).isNoise);
    }
  }
});

test('unequal means, bursts and steady loads are no noise', () => {
  for (let seed = 0; seed < 30; seed++) {
    const skewed = Array.from({ length: 32 }, (_, expert) => 1 + expert / 32);
    assert.equal(estimateShrinkage(draw(skewed, 16, 2048, seed), ones(16), 32).isNoise, false);
    const bursts = draw(new Array(32).fill(1), 16, 1024, seed);
    for (let step = 0; step < 16; step++) bursts[step * 32 + ((step * 5) % 32)]! *= 3;
    assert.equal(estimateShrinkage(bursts, ones(16), 32).isNoise, false);
  }
  const steady = Float32Array.from({ length: 4 * 8 }, () => 12);
  assert.equal(estimateShrinkage(steady, ones(4), 8).isNoise, false);
});
