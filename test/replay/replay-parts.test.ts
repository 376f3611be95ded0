import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DefaultEplbPolicy } from 'expert-load-balancer';
import {
  advise,
  inspect,
  MAX_RANK_LOADS,
  MAX_SERIES_POINTS,
  paretoFront,
  type ReplaySource,
  replay,
  type SweepPointDone,
  SYNTH_DEFAULTS,
  type SynthOptions,
  samplingNoisePeak,
  synthesize,
} from 'expert-load-balancer/replay';
import fc from 'fast-check';
import { leastOfLargest } from '../../src/replay/largest.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';
import { rankLoads } from '../oracle/rank-loads.ts';

/** Steps without end of the same few loads, with one burst. */
function longRecording(numSteps: number, burst: number): ReplaySource {
  const random = seededRandom(7);
  const rows = Array.from({ length: 16 }, () =>
    Float32Array.from({ length: 8 }, () => 50 + Math.floor(20 * random())),
  );
  return {
    numLayers: 2,
    numLogicalExperts: 4,
    async *steps() {
      for (let step = 0; step < numSteps; step++) {
        const loads = step === burst ? Float32Array.of(900, 1, 1, 1, 900, 1, 1, 1) : rows[step % 16]!;
        yield { step, loads, bytesRead: 0 };
      }
    },
  };
}

describe('long recordings', () => {
  test('100,000 steps are thinned without hiding the one that stands out', async () => {
    const options = { numPhysicalExperts: 4, numRanks: 2, policy: 'static' } as const;
    const result = await replay(longRecording(100_000, 61_234), options);
    const { series, rankLoads: samples, balance } = result;
    assert.equal(series.stepsPerPoint, 128);
    assert.equal(series.firstStep.length, Math.ceil(100_000 / 128));
    assert.ok(series.firstStep.length <= MAX_SERIES_POINTS);
    const point = Math.floor(61_234 / 128);
    const lowest = Math.min(...series.balancedness.min);
    assert.equal(series.balancedness.min.indexOf(lowest), point);
    assert.equal(lowest, balance.balancednessPercentiles.min);
    assert.equal(Math.max(...series.stepSeconds.max), series.stepSeconds.max[point]);
    assert.equal(samples.slowestStep, 61_234);
    assert.ok(samples.steps.includes(61_234), 'the slowest step is not among the samples');
    assert.ok(samples.loads.flat(2).length <= MAX_RANK_LOADS + 4, 'too many rank loads');
    for (const column of [series.moves, series.worstLayerPeakToAverage, series.balancedness.max]) {
      assert.equal(column.length, series.firstStep.length);
    }
  });

  test('the means of points weigh to the figures of all steps', async () => {
    const options = {
      numPhysicalExperts: 6,
      numRanks: 2,
      policy: new DefaultEplbPolicy(),
      trigger: { interval: 100 },
    };
    const { series, totals, numSteps } = await replay(longRecording(5000, 17), {
      ...options,
      planningSeconds: 0,
    });
    const counts = series.firstStep.map((first, i) => (series.firstStep[i + 1] ?? numSteps) - first);
    const sum = series.stepSeconds.mean.reduce((all, mean, i) => all + mean * counts[i]!, 0);
    assert.ok(Math.abs(sum - totals.stepSeconds) < 1e-9 * sum, `${sum} and ${totals.stepSeconds}`);
    assert.equal(
      series.moves.reduce((all, moves) => all + moves, 0),
      totals.moves,
    );
  });
});

test('a replay that never plans agrees with the plain oracle on any loads', async () => {
  const problem = fc.record({
    seed: fc.integer(),
    numSteps: fc.integer({ min: 1, max: 6 }),
    slots: fc.constantFrom(4, 6, 8, 12),
  });
  await fc.assert(
    fc.asyncProperty(problem, async ({ seed, numSteps, slots }) => {
      const random = seededRandom(seed);
      const steps = Array.from({ length: numSteps }, () =>
        Array.from({ length: 3 }, () =>
          Array.from({ length: 4 }, () => (random() < 0.3 ? 0 : Math.floor(500 * random()))),
        ),
      );
      const row = Array.from({ length: slots }, (_, slot) => slot % 4);
      const counts = [0, 1, 2, 3].map((expert) => row.filter((other) => other === expert).length);
      const expected = steps.flatMap((step) => step.map((layer) => rankLoads(layer, row, counts, 2)));
      const { balance, rankLoads: samples } = await replay(memoryRecording(steps), {
        numPhysicalExperts: slots,
        numRanks: 2,
        policy: 'static',
      });
      const total = (of: (layer: (typeof expected)[number]) => number) =>
        expected.reduce((sum, layer) => sum + of(layer), 0);
      const close = (actual: number, wanted: number) =>
        assert.ok(Math.abs(actual - wanted) < 1e-12 * Math.max(1, wanted), `${actual}, not ${wanted}`);
      const ofSums = total(({ max }) => max);
      close(balance.balancednessRatioOfSums, ofSums === 0 ? 1 : total(({ mean }) => mean) / ofSums);
      close(
        balance.balancednessMeanOfRatios,
        total(({ mean, max }) => (max === 0 ? 1 : mean / max)) / expected.length,
      );
      close(
        balance.peakToAverageMeanOfRatios,
        total(({ mean, max }) => (max === 0 ? 1 : max / mean)) / expected.length,
      );
      assert.deepEqual(
        samples.loads.flat(2),
        expected.flatMap(({ loads }) => loads.map((load) => Number(load.toPrecision(5)))),
      );
    }),
    { numRuns: 150, seed: SEED },
  );
});

describe('what starts plans', () => {
  const flat = [[5, 5, 5, 5]];
  const hot = [[20, 5, 5, 5]];
  const base = {
    numPhysicalExperts: 4,
    numRanks: 2,
    policy: new DefaultEplbPolicy(),
    windowSize: 1,
    planningSeconds: 0,
  };
  const started = async (steps: number[][][], trigger: object) => {
    const { plans } = await replay(memoryRecording(steps), { ...base, trigger });
    return plans.map((plan) => [plan.startedAfterStep, ...plan.reasons.map(({ kind }) => kind)]);
  };

  test('the load threshold: largest / smallest rank load over the window', async () => {
    // 25 / 10 at first, and after the plan (0 apart) still 25 / 10.
    assert.deepEqual(await started([flat, hot, flat], { loadThreshold: 2.4 }), [[1, 'loadThreshold']]);
    assert.deepEqual(await started([flat, hot, flat], { loadThreshold: 2.5 }), []);
  });

  test('the drift: half the sum of differences of shares', async () => {
    // From even shares to 20 / 35: 4/7 - 1/4 = 0.321; back again the same.
    assert.deepEqual(await started([flat, hot, hot, flat], { drift: 0.32 }), [
      [1, 'drift'],
      [3, 'drift'],
    ]);
    assert.deepEqual(await started([flat, hot, hot, flat], { drift: 0.33 }), []);
  });

  test('several: any of them, or all', async () => {
    const steps = [flat, hot, hot, flat];
    assert.deepEqual(await started(steps, { interval: 3, drift: 0.32 }), [
      [1, 'drift'],
      [3, 'drift'],
    ]);
    assert.deepEqual(await started(steps, { interval: 2, loadThreshold: 2.4 }), [
      [1, 'interval', 'loadThreshold'],
      [2, 'loadThreshold'],
    ]);
    assert.deepEqual(await started(steps, { interval: 3, drift: 0.32, require: 'all' }), [
      [2, 'interval', 'drift'],
    ]);
    assert.deepEqual(await started(steps, { drift: 0.32, checkEvery: 3 }), [[2, 'drift']]);
  });

  test('options that are wrong are refused, by name', async () => {
    const refused = (
      change: object,
      code: 'EPLB_RANGE' | 'EPLB_TOPOLOGY' | 'EPLB_NOT_WHOLE',
      message: RegExp,
    ) =>
      assert.rejects(
        replay(memoryRecording([flat]), { ...base, ...change }),
        refusal('range', code, message),
      );
    await refused({ trigger: {} }, 'EPLB_RANGE', /trigger: names no condition/);
    await refused({ trigger: { interval: 0 } }, 'EPLB_RANGE', /trigger\.interval: 0/);
    await refused({ trigger: { loadThreshold: 0.5 } }, 'EPLB_RANGE', /trigger\.loadThreshold/);
    await refused({ trigger: { drift: 1.5 } }, 'EPLB_RANGE', /trigger\.drift: 1\.5/);
    await refused({ trigger: { interval: 1, require: 'some' } }, 'EPLB_RANGE', /neither "any" nor "all"/);
    await refused(
      { policy: 'static', trigger: { interval: 1 } },
      'EPLB_RANGE',
      /static placement is never planned/,
    );
    await refused({ planningSeconds: -1 }, 'EPLB_RANGE', /planningSeconds: -1/);
    await refused({ layersPerStep: 0.5 }, 'EPLB_NOT_WHOLE', /layersPerStep/);
    await refused({ windowSize: 0 }, 'EPLB_RANGE', /windowSize: 0/);
    await refused(
      { numRanks: 3 },
      'EPLB_TOPOLOGY',
      /4 is not a multiple of numRanks 3: the default policy deals them evenly/,
    );
  });
});

describe('sweeps', () => {
  const point = (
    name: string,
    redundantBytes: number,
    modelledSeconds: number,
    more: object = {},
  ): SweepPointDone => ({
    ...{ name, policy: 'default', numPhysicalExperts: 8, numRanks: 2, interval: 4, status: 'done' },
    ...{
      modelledSeconds,
      unbalancedSeconds: 10,
      secondsSaved: 10 - modelledSeconds,
      moveSeconds: 1,
      planningSeconds: 0,
    },
    ...{
      balancednessRatioOfSums: 1,
      balancednessMeanOfRatios: 1,
      peakToAverageMeanOfRatios: 1,
      numPlans: 1,
      moves: 1,
      bytes: 1,
    },
    ...{ redundantBytes, redundantBytesPerRank: redundantBytes / 2, ...more },
  });
  const texts = {
    seconds: (s: number) => `${s} s`,
    bytes: (b: number) => `${b} B`,
    percent: (p: number) => `${100 * p} %`,
  };

  test('the front holds what nothing beats, and only that', () => {
    const all = fc.array(fc.tuple(fc.nat({ max: 8 }), fc.nat({ max: 8 })), { maxLength: 20 });
    fc.assert(
      fc.property(all, (pairs) => {
        const points = pairs.map(([memory, time], i) => point(String(i), memory, time));
        const front = new Set(paretoFront(points));
        for (const one of points) {
          const isBeaten = points.some(
            (other) =>
              other.redundantBytes <= one.redundantBytes &&
              other.modelledSeconds <= one.modelledSeconds &&
              (other.redundantBytes < one.redundantBytes || other.modelledSeconds < one.modelledSeconds),
          );
          const twin = points.find(
            (other) =>
              other.redundantBytes === one.redundantBytes && other.modelledSeconds === one.modelledSeconds,
          );
          assert.equal(front.has(one), !isBeaten && twin === one);
        }
      }),
      { seed: SEED },
    );
  });

  test('advice is the fastest point, or not to balance', () => {
    const slow = point('slow', 0, 8);
    const fast = point('fast', 4, 6);
    const good = advise([slow, fast, point('same', 9, 6)], texts);
    assert.equal(good.point, fast);
    assert.match(
      good.advice,
      /^Balance with fast: it saves 40 % \(of 1 plan: .*\), 6 s instead of 10 s without balancing, .*\.$/,
    );
    const bad = advise([point('worse', 0, 12), point('hardly', 0, 9.95)], texts);
    assert.equal(bad.point, undefined);
    assert.match(
      bad.advice,
      /^Do not balance: of 2 configurations that plan, .* \(hardly\) takes 9\.95 s, 1 s of it for moving/,
    );
    assert.match(
      advise([point('s', 0, 10, { policy: 'static' })], texts).advice,
      /Only the static placement/,
    );
    assert.match(advise([], texts).advice, /No configuration/);
  });
});

test('the least of the largest is what sorting finds', () => {
  const values = fc.float32Array({ minLength: 1, maxLength: 40, noNaN: true });
  fc.assert(
    fc.property(values, fc.nat(), (all, n) => {
      const count = 1 + (n % all.length);
      assert.equal(leastOfLargest(all, count), all.slice().sort()[all.length - count]);
    }),
    { seed: SEED },
  );
});

describe('sampling noise', () => {
  test('tends to 1 + m / sqrt(load), m the expected largest of as many normal numbers', () => {
    // The expected largest of 2, 4, 8 and 16 normal numbers: tables of order statistics.
    for (const [numRanks, largest] of [
      [2, 0.5642],
      [4, 1.0294],
      [8, 1.4236],
      [16, 1.766],
    ] as const) {
      const excess = (samplingNoisePeak(numRanks, 10_000) - 1) * 100;
      assert.ok(Math.abs(excess - largest) < 0.04, `${numRanks} ranks: ${excess}, not ${largest}`);
    }
    assert.equal(samplingNoisePeak(1, 10), 1);
    assert.equal(samplingNoisePeak(8, 0), 1);
    // One load: it is on one of the ranks.
    assert.equal(samplingNoisePeak(4, 0.25), 4);
  });
});

const SYNTH: SynthOptions = {
  ...SYNTH_DEFAULTS,
  numLayers: 3,
  numExperts: 16,
  topK: 4,
  numSteps: 64,
  tokensPerStep: 500,
};

async function loadsOf(options: SynthOptions): Promise<Float32Array[]> {
  const steps: Float32Array[] = [];
  for await (const { loads } of synthesize(options).steps()) steps.push(loads.slice());
  return steps;
}

describe('made-up recordings', () => {
  test('are whole, add up, follow from the seed, and no expert gets a token twice', async () => {
    const options = fc.record({
      seed: fc.nat(),
      topK: fc.integer({ min: 1, max: 16 }),
      tokensPerStep: fc.integer({ min: 1, max: 600 }),
      skew: fc.constantFrom(0, 1, 4),
      burst: fc.constantFrom(0, 0.1, 1),
      drift: fc.constantFrom(0, 0.1, 1),
      domains: fc.integer({ min: 1, max: 4 }),
      blendSteps: fc.nat({ max: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(options, async (some) => {
        const all = { ...SYNTH, ...some, numSteps: 8 };
        const steps = await loadsOf(all);
        assert.equal(steps.length, 8);
        for (const loads of steps) {
          for (let layer = 0; layer < 3; layer++) {
            const row = loads.subarray(16 * layer, 16 * (layer + 1));
            assert.equal(
              row.reduce((sum, load) => sum + load, 0),
              all.tokensPerStep * all.topK,
            );
            assert.ok(
              row.every((load) => Number.isInteger(load) && load >= 0 && load <= all.tokensPerStep),
              `${row}`,
            );
          }
        }
        assert.deepEqual(await loadsOf(all), steps);
      }),
      { numRuns: 100, seed: SEED },
    );
    assert.notDeepEqual(await loadsOf(SYNTH), await loadsOf({ ...SYNTH, seed: 2 }));
  });

  test('show the skew, the drift, the bursts and the domains that were asked for', async () => {
    const look = (change: object) =>
      inspect(synthesize({ ...SYNTH, tokensPerStep: 4000, numSteps: 128, ...change }));
    const plain = await look({});
    assert.ok(plain.correlations[0]!.correlation > 0.99, 'steps alike');
    assert.ok(
      plain.overdispersion! > 0.8 && plain.overdispersion! < 1.2,
      `${plain.overdispersion} is not noise`,
    );
    assert.ok(plain.drift.nextBlock! < 2 * plain.drift.nextBlockByNoise!, 'no drift but noise');
    const even = await look({ skew: 0 });
    assert.ok(
      even.layers.every((layer) => layer.hottestTimesMean < 1.05),
      'all alike',
    );
    assert.ok(even.noise.share > 0.9, `${even.noise.share} of the imbalance is noise`);
    assert.ok((await look({ skew: 2 })).layers[0]!.variation > plain.layers[0]!.variation, 'skew');
    assert.ok((await look({ drift: 0.1 })).drift.nextBlock! > 5 * plain.drift.nextBlock!, 'drift');
    assert.ok((await look({ burst: 0.05 })).overdispersion! > 10, 'bursts');
    const shifted = await look({ domains: 2 });
    assert.ok(shifted.drift.firstToLast! > 0.3, `${shifted.drift.firstToLast} from one domain to the other`);
  });

  test('options that are wrong are refused', () => {
    const refused = (change: object, message: RegExp) =>
      assert.throws(() => synthesize({ ...SYNTH, ...change }), message);
    refused({ topK: 17 }, /topK: 17 is not from 1 to 16/);
    refused({ burst: 1.5 }, /burst: 1\.5 is not from 0 to 1/);
    refused({ skew: -1 }, /skew: -1/);
    refused({ domains: 65 }, /domains: 65/);
    refused({ numSteps: 0 }, /numSteps: 0/);
  });
});
