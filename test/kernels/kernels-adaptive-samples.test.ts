import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NUM_CURVE_POINTS, tokensOfPoint } from '../../src/policy/adaptive/slot-costs.ts';
import { AdaptiveTerms } from '../../src/policy/adaptive/terms.ts';
import { loadsArbitrary, seededRandom, sizeArbitrary } from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { secondsAt } from '../oracle/adaptive.ts';
import { type PreparedSamples, prepareSamples } from '../oracle/adaptive-samples.ts';
import { slowestOf } from '../oracle/slowest.ts';

const { kernels, arena } = loadKernels();

interface Window {
  steps: number[][];
  /** How many steps each is the mean of: single ones of 1, others of as many, but the newest of them. */
  lengths: number[];
  numSingles: number;
  numRanks: number;
}

/** Steps of whole loads, some without any, and from some step on of other experts. */
function windowArbitrary(maxExperts: number): fc.Arbitrary<Window> {
  const load = fc.nat({ max: 1000 });
  return sizeArbitrary(maxExperts).chain((numExperts) => {
    const step = fc.array(load, { minLength: numExperts, maxLength: numExperts });
    const steps = fc.array(fc.oneof(step, fc.constant(new Array<number>(numExperts).fill(0))), {
      minLength: 1,
      maxLength: 22,
    });
    const problem = { numRanks: fc.constantFrom(1, 2, 3, 8) };
    const domains = fc.record({ from: fc.nat({ max: 14 }), expert: fc.nat({ max: numExperts - 1 }) });
    return fc
      .record({ steps, domains, ...problem })
      .chain(({ steps: all, domains: { from, expert }, ...rest }) => {
        const shifted = all.map((row, t) => row.map((v, e) => (t < from && e === expert ? v + 5000 : v)));
        const length = fc.double({ min: 0.25, max: 4, noNaN: true });
        const singles = fc.oneof(fc.constant(0), fc.nat({ max: shifted.length }));
        return fc.tuple(length, length, singles).map(([each, newest, numSingles]) => {
          const newestJoined = shifted.length - numSingles - 1;
          const lengths = shifted.map((_, t) => (t > newestJoined ? 1 : t === newestJoined ? newest : each));
          return { steps: shifted, lengths, numSingles, ...rest };
        });
      });
  });
}

function lengthsOf(lengths: readonly number[], numSingles: number) {
  const newestJoined = Math.max(0, lengths.length - numSingles - 1);
  return { stepLength: lengths[0]!, newestLength: lengths[newestJoined]! };
}

/** What the kernel makes of steps, in an arena that it resets. */
function runKernel(
  steps: readonly (readonly number[])[],
  lengths: readonly number[],
  numRanks: number,
  curve?: Float32Array,
  numSingles = 0,
): PreparedSamples & { tokens: Float32Array; unit: number; elasticity: number } {
  const numExperts = steps[0]!.length;
  const numSamples = Math.ceil(steps.length / 4) * 4;
  arena.reset();
  const { buffer } = arena.inOut(new Int32Array(1)).view;
  const terms = new AdaptiveTerms(kernels, buffer, arena.scratch(kernels.adaptiveTermsBytes.value));
  // Other layers lie between the steps of this one.
  const stride = numExperts + 3;
  const rows = new Float32Array(steps.length * stride).fill(Number.NaN);
  for (const [t, step] of steps.entries()) rows.set(step, t * stride);
  const out = {
    samples: arena.output(Float32Array, numExperts * numSamples),
    spread: arena.output(Float32Array, numExperts),
    weights: arena.output(Float32Array, numSamples),
    mean: arena.output(Float32Array, numExperts),
    middle: arena.output(Float32Array, numExperts),
    likeness: arena.output(Float64Array, steps.length),
    tokens: arena.output(Float32Array, numSamples),
  };
  terms.setIntegers({
    numExperts,
    numSlots: numExperts,
    numRanks,
    maxSamples: steps.length,
    steps: arena.input(rows).ptr,
    stride: 4 * stride,
    numSteps: steps.length,
    numSingles,
    samples: out.samples.ptr,
    spread: out.spread.ptr,
    weights: out.weights.ptr,
    mean: out.mean.ptr,
    middle: out.middle.ptr,
    likeness: out.likeness.ptr,
    curve: curve === undefined ? 0 : arena.input(curve).ptr,
    tokens: out.tokens.ptr,
    scratch: arena.scratch(kernels.adaptiveScratchBytes(numExperts, numExperts, 1, steps.length, 0)),
  });
  terms.setNumbers(lengthsOf(lengths, numSingles));
  kernels.prepareSamples(terms.at);
  arena.check();
  const length = terms.integer('numSamples');
  return {
    samples: out.samples.view.slice(0, numExperts * length),
    spread: out.spread.view.slice(),
    weights: out.weights.view.slice(0, length),
    mean: out.mean.view.slice(),
    middle: out.middle.view.slice(),
    likeness: out.likeness.view.slice(),
    noise: terms.number('noise'),
    numTelling: terms.number('numTelling'),
    numVarying: terms.number('numVarying'),
    passing: terms.number('passing'),
    forgetting: terms.number('forgetting'),
    turnover: terms.number('turnover'),
    shrink: terms.number('shrink'),
    prior: terms.number('prior'),
    isNoise: terms.integer('isNoise') !== 0,
    totalLoad: terms.number('totalLoad'),
    tokens: out.tokens.view.slice(0, length),
    unit: terms.number('unit'),
    elasticity: terms.number('elasticity'),
  };
}

const TABLES = ['samples', 'spread', 'weights', 'mean', 'middle', 'likeness'] as const;
const NUMBERS = [
  'noise',
  'numTelling',
  'numVarying',
  'passing',
  'forgetting',
  'turnover',
  'shrink',
  'prior',
  'totalLoad',
] as const;

test('prepareSamples equals its oracle', () => {
  assertForAll(windowArbitrary, { small: 1500, large: 50 }, ({ steps, lengths, numSingles, numRanks }) => {
    const actual = runKernel(steps, lengths, numRanks, undefined, numSingles);
    const expected = prepareSamples(steps, lengths, numRanks, numSingles);
    for (const name of NUMBERS) assertSameNumbers([actual[name]], [expected[name]], name);
    for (const name of TABLES) assertSameNumbers(actual[name], expected[name], name);
    assert.equal(actual.isNoise, expected.isNoise);
    const total = actual.mean.reduce((all, load) => all + load, 0);
    assert.ok(Math.abs(total - numRanks) < 1e-5 * numRanks, 'a mean rank load of 1');
  });
});

test('whatever the loads, all that is prepared is finite, and shares are in [0, 1]', () => {
  const problems = (most: number) =>
    fc
      .record({ numSamples: fc.integer({ min: 1, max: 9 }), numExperts: sizeArbitrary(Math.min(most, 64)) })
      .chain(({ numSamples, numExperts }) =>
        fc.array(loadsArbitrary(numExperts), { minLength: numSamples, maxLength: numSamples }),
      );
  assertForAll(problems, { small: 2000, large: 20 }, (steps) => {
    const lengths = steps.map(() => 1);
    const prepared = runKernel(steps, lengths, 8);
    for (const name of TABLES)
      assert.ok(
        prepared[name].every((value) => value >= 0 && value < 1e6),
        name,
      );
    for (const name of NUMBERS) assert.ok(Number.isFinite(prepared[name]), name);
    for (const name of ['passing', 'shrink', 'prior'] as const)
      assert.ok(prepared[name] >= 0 && prepared[name] <= 1, `${name} ${prepared[name]}`);
  });
});

/** Steps of tokens that pick an expert by chance, as popular as told. */
function draw(popularity: readonly number[], numSteps: number, tokens: number, seed: number): number[][] {
  const random = seededRandom(seed);
  const total = popularity.reduce((sum, share) => sum + share, 0);
  return Array.from({ length: numSteps }, () => {
    const step = popularity.map(() => 0);
    for (let token = 0; token < tokens; token++) {
      let left = random() * total;
      let expert = 0;
      while (expert < popularity.length - 1 && left >= popularity[expert]!) left -= popularity[expert++]!;
      step[expert]! += 1;
    }
    return step;
  });
}

const ones = (n: number) => new Array<number>(n).fill(1);

test('chance draws from equal means are told as noise, also when steps are joined', () => {
  for (const [numExperts, tokens] of [
    [8, 64],
    [64, 768],
    [128, 4096],
  ] as const) {
    for (let seed = 0; seed < 30; seed++) {
      const steps = draw(ones(numExperts), 16, tokens, seed);
      const { shrink, prior, isNoise } = runKernel(steps, ones(16), 4);
      assert.deepEqual({ shrink, prior, isNoise }, { shrink: 1, prior: 1, isNoise: true });
      const joined = Array.from({ length: 8 }, (_, t) =>
        steps[2 * t]!.map((load, expert) => (load + steps[2 * t + 1]![expert]!) / 2),
      );
      assert.ok(runKernel(joined, new Array<number>(8).fill(2), 4).isNoise);
    }
  }
});

test('hardly ever is chance told as more: of few steps, and of joined steps before single ones', () => {
  const random = seededRandom(1);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const NUM_EXPERTS = 8;
  const MEAN = 250;
  for (const [numJoined, joinedLength, numSingles] of [
    [0, 1, 4],
    [32, 30, 32],
  ] as const) {
    const lengths = [...new Array<number>(numJoined).fill(joinedLength), ...ones(numSingles)];
    let numTold = 0;
    for (let layer = 0; layer < 3000; layer++) {
      const steps = lengths.map((length) =>
        Array.from({ length: NUM_EXPERTS }, () => MEAN + Math.sqrt(MEAN / length) * normal()),
      );
      if (!runKernel(steps, lengths, 4, undefined, numSingles).isNoise) numTold++;
    }
    // Once in 15,000 layers, by two tests that hold for one in 30,000 each.
    assert.ok(numTold <= 2, `${numTold} of 3,000 layers of ${numJoined} joined and ${numSingles} steps`);
  }
});

test('unequal means, bursts and steady loads are not noise', () => {
  for (let seed = 0; seed < 30; seed++) {
    const skewed = Array.from({ length: 32 }, (_, expert) => 1 + expert / 32);
    assert.equal(runKernel(draw(skewed, 16, 2048, seed), ones(16), 4).isNoise, false);
    const bursts = draw(ones(32), 16, 1024, seed);
    for (const [t, step] of bursts.entries()) step[(t * 5) % 32]! *= 3;
    assert.equal(runKernel(bursts, ones(16), 4).isNoise, false);
  }
  const steady = Array.from({ length: 4 }, () => new Array<number>(8).fill(12));
  assert.equal(runKernel(steady, ones(4), 4).isNoise, false);
});

/** How far the mean of what is expected is off that of some steps, of what it may be at most. */
function offOf(prepared: PreparedSamples, steps: readonly (readonly number[])[]): number {
  const { middle } = prepareSamples(steps.slice(-4), ones(4), 4);
  return middle.reduce((sum, load, expert) => sum + Math.abs(load - prepared.middle[expert]!), 0) / 8;
}

test('of loads that drift the newest steps tell, and of domains that come and go all of them', () => {
  const shares = (domain: number) =>
    Array.from({ length: 32 }, (_, expert) => (expert % 4 === domain ? 8 : 1));
  // One domain fades into another.
  const drifting = Array.from(
    { length: 64 },
    (_, t) =>
      draw(
        shares(0).map((share, expert) => share * (1 - t / 64) + (shares(1)[expert]! * t) / 64),
        1,
        20_000,
        t,
      )[0]!,
  );
  const drift = runKernel(drifting, ones(64), 4);
  assert.ok(drift.passing < 0.2, `${drift.passing} of a drift passes`);
  assert.ok(offOf(drift, drifting) < 0.1, 'close to the newest steps');
  const random = seededRandom(1);
  const domains = Array.from({ length: 8 }, () => Math.floor(4 * random()));
  const passing = domains.flatMap((domain, t) => draw(shares(domain), 8, 20_000, t));
  const { passing: share } = runKernel(passing, ones(64), 4);
  assert.ok(share > 0.7, `${share} of domains passes`);
});

/** As a balancer joins steps: the newest half one by one, eight older ones in each of the others. */
function joinOlder(steps: readonly number[][], numSingles: number): { steps: number[][]; lengths: number[] } {
  const numJoined = (steps.length - numSingles) / 8;
  const joined = Array.from({ length: numJoined }, (_, i) =>
    steps[0]!.map((_load, expert) =>
      steps.slice(8 * i, 8 * i + 8).reduce((sum, step) => sum + step[expert]! / 8, 0),
    ),
  );
  const lengths = [...new Array<number>(numJoined).fill(8), ...ones(numSingles)];
  return { steps: [...joined, ...steps.slice(-numSingles)], lengths };
}

test('of domains that come back, older steps tell; of one that does not, they do not', () => {
  const shares = (domain: number) =>
    Array.from({ length: 32 }, (_, expert) => (expert % 4 === domain ? 8 : 1));
  const play = (domains: readonly number[]) => {
    const steps = domains.flatMap((domain, t) => draw(shares(domain), 8, 20_000, t));
    const { steps: joined, lengths } = joinOlder(steps, 24);
    return runKernel(joined, lengths, 4, undefined, 24);
  };
  const mostOf = (domain: number, { middle }: PreparedSamples) =>
    middle[domain]! / (middle[(domain + 1) % 4]! || 1);
  // The newest steps are of domains 1 to 3 alone, and 0 has come as often before.
  const back = play([0, 3, 1, 2, 0, 2, 3, 1, 0, 1, 2, 3, 0, 3, 2, 1, 3, 0, 2, 1, 3]);
  assert.ok(back.passing > 0.7, `${back.passing} passes`);
  assert.ok(mostOf(0, back) > 0.6, 'a domain that comes back is expected');
  const gone = play([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
  assert.ok(gone.passing < 0.1, `${gone.passing} passes`);
  assert.ok(mostOf(0, gone) < 0.2, 'a domain that has gone is not');
});

/** How far the mean of the newest steps is from what was expected, and how many steps that mean is of. */
function changeOf({ steps, lengths, numRanks }: Window, expected: readonly number[], firstNew: number) {
  let distance = 0;
  let numNewSteps = 0;
  const totals = steps.map((step) => step.reduce((sum, load) => sum + load, 0));
  const isKept = (t: number) => totals[t]! > 0 || totals.every((total) => total === 0);
  const newer = steps.flatMap((_, t) => (t >= firstNew && isKept(t) ? [t] : []));
  for (const t of newer) numNewSteps += lengths[t]!;
  for (const [expert, load] of expected.entries()) {
    let mean = 0;
    for (const t of newer) {
      const share = totals[t]! > 0 ? steps[t]![expert]! / totals[t]! : 1 / expected.length;
      mean += (lengths[t]! * Math.fround(share * numRanks)) / numNewSteps;
    }
    if (numNewSteps > 0) distance += (mean - load) ** 2;
  }
  return { distance, numNewSteps };
}

test('measureChange tells how far the newest steps are from what was expected', () => {
  const cases = (maxExperts: number) =>
    windowArbitrary(maxExperts).chain((window) =>
      fc.tuple(fc.constant(window), fc.nat({ max: window.steps.length }), fc.nat()),
    );
  assertForAll(cases, { small: 500, large: 20 }, ([window, firstNew, seed]) => {
    const { steps, lengths, numSingles, numRanks } = window;
    const random = seededRandom(seed);
    const numExperts = steps[0]!.length;
    const expected = Float32Array.from({ length: Math.ceil(numExperts / 4) * 4 }, (_, expert) =>
      expert < numExperts ? random() : 0,
    );
    arena.reset();
    const { buffer } = arena.inOut(new Int32Array(1)).view;
    const terms = new AdaptiveTerms(kernels, buffer, arena.scratch(kernels.adaptiveTermsBytes.value));
    terms.setIntegers({
      numExperts,
      numRanks,
      maxSamples: steps.length,
      steps: arena.input(Float32Array.from(steps.flat())).ptr,
      stride: 4 * numExperts,
      numSteps: steps.length,
      numSingles,
      expected: arena.input(expected).ptr,
      firstNew,
      scratch: arena.scratch(kernels.adaptiveScratchBytes(numExperts, numExperts, 1, steps.length, 0)),
    });
    terms.setNumbers(lengthsOf(lengths, numSingles));
    kernels.measureChange(terms.at);
    arena.check();
    const wanted = changeOf(window, [...expected.subarray(0, numExperts)], firstNew);
    assert.ok(Math.abs(terms.number('numNewSteps') - wanted.numNewSteps) < 1e-9);
    assert.ok(Math.abs(terms.number('distance') - wanted.distance) <= 1e-5 * (1 + wanted.distance));
    // As when the samples are prepared.
    const { noise, numVarying } = runKernel(steps, lengths, numRanks, undefined, numSingles);
    assert.equal(terms.number('noise'), noise);
    assert.equal(terms.number('numVarying'), numVarying);
  });
});

test('measureSlowest equals its oracle', () => {
  const cases = (maxExperts: number) =>
    windowArbitrary(maxExperts).chain((window) =>
      fc.tuple(fc.constant(window), fc.integer({ min: 1, max: 9 }), fc.nat()),
    );
  assertForAll(cases, { small: 500, large: 20 }, ([{ steps, numRanks }, slotsPerRank, seed]) => {
    const random = seededRandom(seed);
    const numExperts = steps[0]!.length;
    const numSlots = numRanks * slotsPerRank;
    const placement = Int32Array.from(
      { length: numSlots },
      () => Math.floor(random() * (numExperts + 1)) - 1,
    );
    const shared = seed % 3 > 0 ? undefined : Float32Array.from({ length: numRanks }, () => 0.3 * random());
    const speeds = seed % 2 === 0 ? undefined : Float32Array.from({ length: numRanks }, () => 0.1 + random());
    arena.reset();
    const { buffer } = arena.inOut(new Int32Array(1)).view;
    const terms = new AdaptiveTerms(kernels, buffer, arena.scratch(kernels.adaptiveTermsBytes.value));
    const slowest = arena.output(Float64Array, steps.length);
    terms.setIntegers({
      numExperts,
      numSlots,
      numRanks,
      steps: arena.input(Float32Array.from(steps.flat())).ptr,
      stride: 4 * numExperts,
      numSteps: steps.length,
      curve: 0,
      fixedShare: shared === undefined ? 0 : arena.input(shared).ptr,
      rankSpeed: speeds === undefined ? 0 : arena.input(speeds).ptr,
      placement: arena.input(placement).ptr,
      slowest: slowest.ptr,
      scratch: arena.scratch(kernels.adaptiveScratchBytes(numExperts, numSlots, numRanks, steps.length, 0)),
    });
    kernels.measureSlowest(terms.at);
    arena.check();
    const expected = steps.map((step) => slowestOf(step, placement, numRanks, speeds, shared));
    assertSameNumbers(slowest.view, Float64Array.from(expected), 'slowest');
  });
});

/** Slots that wait for weights, and for tokens where these are many. */
function curveOf(floor: number, perToken: number) {
  const points = Array.from({ length: NUM_CURVE_POINTS }, (_, point) => tokensOfPoint(point));
  return {
    points,
    curve: Float32Array.from(points, (tokens) => Math.max(tokens > 0 ? floor : 0, tokens * perToken)),
  };
}

test('with a curve samples have a unit: what a rank takes, and how that grows with tokens', () => {
  assertForAll(windowArbitrary, { small: 300, large: 10 }, ({ steps, lengths, numRanks }) => {
    const slots = curveOf(2, 0.01);
    const prepared = runKernel(steps, lengths, numRanks, slots.curve);
    const { samples, weights, tokens, unit, elasticity } = prepared;
    const numSamples = weights.length;
    const mean = (times: number) => {
      let sum = 0;
      for (const [i, share] of samples.entries()) {
        const t = i % numSamples;
        sum += weights[t]! * secondsAt(slots, share * tokens[t]! * times);
      }
      return sum / numRanks;
    };
    assert.ok(Math.abs(unit - (mean(1) || 1)) <= 1e-4 * unit, `${unit}, not ${mean(1)}`);
    if (mean(1) > 0) {
      const expected = (mean(1.125) / mean(1) - 1) / 0.125;
      assert.ok(Math.abs(elasticity - expected) <= 1e-3, `${elasticity}, not ${expected}`);
    }
  });
});

test('with a curve measureSlowest takes what slots take', () => {
  const steps = [
    [1000, 300, 3, 0],
    [0, 0, 0, 0],
  ];
  const placement = Int32Array.from([0, 1, 0, 2, 3, -1]);
  const slots = curveOf(2, 0.01);
  arena.reset();
  const { buffer } = arena.inOut(new Int32Array(1)).view;
  const terms = new AdaptiveTerms(kernels, buffer, arena.scratch(kernels.adaptiveTermsBytes.value));
  const slowest = arena.output(Float64Array, 2);
  terms.setNumbers({ unit: 4 });
  terms.setIntegers({
    ...{ numExperts: 4, numSlots: 6, numRanks: 3, stride: 16, numSteps: 2, rankSpeed: 0 },
    fixedShare: arena.input(Float32Array.of(0.25, 0, 0)).ptr,
    steps: arena.input(Float32Array.from(steps.flat())).ptr,
    curve: arena.input(slots.curve).ptr,
    placement: arena.input(placement).ptr,
    slowest: slowest.ptr,
    scratch: arena.scratch(kernels.adaptiveScratchBytes(4, 6, 3, 2, 0)),
  });
  kernels.measureSlowest(terms.at);
  arena.check();
  // The first rank has 500 tokens of expert 0, 300 of expert 1, and 325.75 of a shared expert.
  const [first, none] = slowest.view;
  assert.ok(Math.abs(first! - (5 + 3 + 3.2575) / 4) < 1e-5, `${first}`);
  assert.equal(none, 0);
});
