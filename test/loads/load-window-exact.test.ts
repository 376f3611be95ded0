import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  ExpertLoadBalancer,
  ExpertMapping,
  type LoadSamples,
  type LoadsInput,
  type PolicyContext,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { FLOAT32_MAX } from '../helpers/arbitraries.ts';
import { rowsArbitrary, SEED, type Sizes, sizesArbitrary } from '../helpers/library.ts';
import { exactLoad, exactMean } from '../oracle/window.ts';

// After each step the averages are those of exactly what is in the window, whatever was in it before: each
// value is right to the rounding to float32, 2^-24 of itself, and a little of float64.
const BOUND = 2 ** -24 + 2 ** -48;

interface Row {
  readonly kind: 'slots' | 'experts';
  readonly loads: readonly number[];
}

/** A step: the mapping that is made live before it, if any, and what each layer got. */
interface Step {
  readonly mapping: number | undefined;
  readonly rows: readonly Row[];
}

interface History {
  readonly sizes: Sizes;
  readonly windowSize: number;
  readonly tables: readonly number[][][];
  readonly steps: readonly Step[];
}

/**
 * Loads over all of float32: denormals, fractions, whole loads of any size, and some that dwarf all others.
 */
const loadArbitrary = fc.oneof(
  { weight: 4, arbitrary: fc.float({ min: 0, noNaN: true, noDefaultInfinity: true }) },
  { weight: 3, arbitrary: fc.float({ min: 0, max: 1e6, noNaN: true }) },
  { weight: 3, arbitrary: fc.nat({ max: 100_000 }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      ...[0, 1e30, 3e38, FLOAT32_MAX, 2 ** -149, 2 ** -126, 0.1, 1e-20].map(Math.fround),
    ),
  },
);

function historyArbitrary(load: fc.Arbitrary<number>): fc.Arbitrary<History> {
  return sizesArbitrary(10).chain((sizes) => {
    const loads = (n: number) => fc.array(load, { minLength: n, maxLength: n });
    const row = fc.oneof(
      fc.record({ kind: fc.constant('slots' as const), loads: loads(sizes.numPhysical) }),
      fc.record({ kind: fc.constant('experts' as const), loads: loads(sizes.numLogical) }),
    );
    const step = fc.record({
      mapping: fc.option(fc.nat({ max: 2 }), { freq: 4, nil: undefined }),
      rows: fc.array(row, { minLength: sizes.numLayers, maxLength: sizes.numLayers }),
    });
    return fc.record({
      sizes: fc.constant(sizes),
      windowSize: fc.constantFrom(1, 2, 3, 5, 8),
      tables: fc.array(rowsArbitrary(sizes), { minLength: 3, maxLength: 3 }),
      steps: fc.array(step, { maxLength: 24, size: 'max' }),
    });
  });
}

/** A step in the window with the table and the number of the mapping it was recorded under. */
interface Kept extends Step {
  readonly table: readonly number[][];
  readonly era: number;
}

/** The means of what is in the window, by sums that are not rounded. */
function exactAverages({ sizes }: History, kept: readonly Kept[], table: readonly number[][], era: number) {
  const experts: number[] = [];
  const slots: number[] = [];
  for (let layer = 0; layer < sizes.numLayers; layer++) {
    const own = new Array<bigint>(sizes.numPhysical).fill(0n);
    const others = new Array<bigint>(sizes.numLogical).fill(0n);
    for (const step of kept) {
      const { kind, loads } = step.rows[layer]!;
      for (const [i, load] of loads.entries()) {
        const expert = kind === 'experts' ? i : step.table[layer]![i]!;
        if (kind === 'slots' && step.era === era) own[i]! += exactLoad(load);
        else if (expert >= 0) others[expert]! += exactLoad(load);
      }
    }
    const numSamples = Math.max(kept.length, 1);
    const row = table[layer]!;
    const sums = [...others];
    for (const [slot, expert] of row.entries()) if (expert >= 0) sums[expert]! += own[slot]!;
    experts.push(...sums.map((sum) => exactMean(sum, numSamples)));
    for (const [slot, expert] of row.entries()) {
      const count = BigInt(row.filter((other) => other === expert).length);
      slots.push(
        expert < 0 ? 0 : exactMean(own[slot]! * count + others[expert]!, numSamples * Number(count)),
      );
    }
  }
  return { experts, slots };
}

function assertClose(actual: Float32Array, expected: readonly number[], what: string): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of expected.entries()) {
    // The smallest float32 loads are whole numbers of 2^-149.
    const isClose = Math.abs(actual[i]! - value) <= BOUND * value + 2 ** -150;
    assert.ok(isClose, `${what}: at ${i} got ${actual[i]}, not ${value}`);
  }
}

/** Keeps the samples that it is given, and everything in its place. */
class Watcher extends AbstractEplbPolicy {
  readonly name = 'watcher';
  override readonly maxSamples = 4;
  samples: LoadSamples | undefined;

  override rebalanceExperts(
    _weight: LoadsInput,
    _numReplicas: number,
    _numGroups: number,
    _numNodes: number,
    _numRanks: number,
    { samples, previous }: PolicyContext,
  ): ExpertMapping {
    this.samples = samples;
    return previous!;
  }
}

function balancerOf({ sizes, windowSize }: History, policy = new Watcher()): ExpertLoadBalancer {
  const { numLayers, numLogical: numLogicalExperts, numPhysical: numPhysicalExperts } = sizes;
  return new ExpertLoadBalancer({
    numLayers,
    numLogicalExperts,
    numPhysicalExperts,
    numRanks: 1,
    windowSize,
    threads: 0,
    policy,
  });
}

/** The means of each run of steps that a policy's samples are of, by sums that are not rounded. */
function exactSamples({ sizes, windowSize }: History, steps: readonly Kept[]): number[] {
  const stepsPerRun = Math.ceil(windowSize / 4);
  const runs: Kept[][] = [];
  for (let first = 0; first < steps.length; first += stepsPerRun)
    runs.push(steps.slice(first, first + stepsPerRun));
  return runs.slice(-Math.floor(windowSize / stepsPerRun)).flatMap((run) =>
    Array.from({ length: sizes.numLayers }, (_, layer) => layer).flatMap((layer) => {
      const sums = new Array<bigint>(sizes.numLogical).fill(0n);
      for (const { rows, table } of run) {
        const { kind, loads } = rows[layer]!;
        for (const [i, load] of loads.entries()) {
          const expert = kind === 'experts' ? i : table[layer]![i]!;
          if (expert >= 0) sums[expert]! += exactLoad(load);
        }
      }
      return sums.map((sum) => exactMean(sum, run.length));
    }),
  );
}

function record(balancer: ExpertLoadBalancer, { rows }: Step): void {
  for (const [layer, { kind, loads }] of rows.entries()) {
    if (kind === 'slots') balancer.recordLoad(layer, loads);
    else balancer.recordLogicalLoad(layer, loads);
  }
  balancer.advanceWindow();
}

test('any float32 loads: averages and samples are of exactly what is in the window', () => {
  fc.assert(
    fc.property(historyArbitrary(loadArbitrary), (history) => {
      const { sizes, windowSize, tables, steps } = history;
      const mappings = tables.map((table) => ExpertMapping.fromPhysicalToLogical(table, sizes.numLogical));
      const watcher = new Watcher();
      const balancer = balancerOf(history, watcher);
      const initial = balancer.mapping.toJSON().phyToLog;
      let table: readonly number[][] = initial;
      let era = 0;
      const all: Kept[] = [];
      for (const step of steps) {
        if (step.mapping !== undefined && mappings[step.mapping] !== balancer.mapping) {
          balancer.commit(mappings[step.mapping]!);
          table = tables[step.mapping]!;
          era++;
        }
        record(balancer, step);
        all.push({ ...step, table, era });
        const { experts, slots } = exactAverages(history, all.slice(-windowSize), table, era);
        assertClose(balancer.getAverageLogicalLoad().data, experts, 'experts');
        assertClose(balancer.getAverageLoad().data, slots, 'slots');
        balancer.rebalanceSync();
        assertClose(watcher.samples!.data, exactSamples(history, all), 'samples');
      }
    }),
    { numRuns: 600, seed: SEED },
  );
});

test('any float32 loads: averages do not depend on the steps that have left the window', () => {
  fc.assert(
    fc.property(historyArbitrary(loadArbitrary), (history) => {
      const steps = history.steps.map((step) => ({ ...step, mapping: undefined }));
      const seasoned = balancerOf(history);
      for (const step of steps) record(seasoned, step);
      const fresh = balancerOf(history);
      for (const step of steps.slice(-history.windowSize)) record(fresh, step);
      assert.deepEqual(seasoned.getAverageLogicalLoad(), fresh.getAverageLogicalLoad());
      assert.deepEqual(seasoned.getAverageLoad(), fresh.getAverageLoad());
    }),
    { numRuns: 300, seed: SEED },
  );
});

for (const huge of [1e30, 3e38, FLOAT32_MAX]) {
  test(`one load of ${huge} has no effect on any average when it has left the window`, () => {
    const sizes = { numLayers: 1, numLogicalExperts: 2, numPhysicalExperts: 3, numRanks: 1, threads: 0 };
    const small = Math.fround(1e-3);
    for (const windowSize of [1, 2, 3, 7]) {
      const balancer = new ExpertLoadBalancer({ ...sizes, windowSize });
      balancer.recordLoad(0, [huge, huge, 0]);
      balancer.advanceWindow();
      const sums = [0, 0];
      for (let step = 0; step < windowSize; step++) {
        // Another mapping in the meantime: the sums of slots become sums of experts.
        if (step === 1) balancer.commit(ExpertMapping.fromPhysicalToLogical([[1, 0, 1]]));
        balancer.recordLoad(0, [0.25, 3, small]);
        balancer.advanceWindow();
        sums[step === 0 ? 0 : 1]! += 0.25 + small;
        sums[step === 0 ? 1 : 0]! += 3;
      }
      const means = sums.map((sum) => Math.fround(sum / windowSize));
      assert.deepEqual(Array.from(balancer.getAverageLogicalLoad().data), means, `window of ${windowSize}`);
    }
  });
}
