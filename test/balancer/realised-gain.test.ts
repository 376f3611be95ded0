import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  AsyncExpertRebalancer,
  type BalanceRanks,
  ExpertLoadBalancer,
  ExpertMapping,
  layerBalances,
  type RealisedGain,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { SEED, withBalancer } from '../helpers/library.ts';

const sizes = { numLayers: 3, numLogicalExperts: 8, numPhysicalExperts: 12, numRanks: 4 } as const;
const { numLogicalExperts, numPhysicalExperts, numRanks } = sizes;
const LAYERS = [0, 1, 2];

function anyMapping(random: () => number): ExpertMapping {
  const shift = Math.floor(random() * numLogicalExperts);
  const row = () =>
    Array.from({ length: numPhysicalExperts }, (_, slot) =>
      slot < numLogicalExperts
        ? (slot + shift) % numLogicalExperts
        : Math.floor(random() * (numLogicalExperts + 1)) - 1,
    );
  return ExpertMapping.fromPhysicalToLogical(LAYERS.map(row), numLogicalExperts);
}

function near(found: number, expected: number, scale = 1): void {
  assert.ok(
    Math.abs(found - expected) <= 1e-9 * Math.max(scale, Math.abs(expected)),
    `${found}, ${expected}`,
  );
}

/** What one mapping that went live gains, in plain code. */
class Watched {
  readonly before = new Map<number, ExpertMapping>();
  readonly sums = new Map<number, number>();
  readonly steps = new Map<number, number>();
  isFinal = false;
  readonly plan: ExpertMapping;
  constructor(plan: ExpertMapping) {
    this.plan = plan;
  }

  step(loads: number[][], live: ExpertMapping, windowSize: number, ranks: BalanceRanks): void {
    if (this.isFinal) return;
    for (const [layer, before] of this.before) {
      const steps = this.steps.get(layer) ?? 0;
      if (steps === windowSize) continue;
      this.steps.set(layer, steps + 1);
      const [old, now] = [before, live].map(
        (mapping) => layerBalances(loads, mapping, numRanks, ranks)[layer]!,
      );
      const mean = loads[layer]!.reduce((a, b) => a + b) / ranks.rankSpeed!.reduce((a, b) => a + b);
      const gain = mean === 0 ? 0 : (old!.maxRankLoad - now!.maxRankLoad) / mean;
      this.sums.set(layer, (this.sums.get(layer) ?? 0) + gain);
    }
    this.isFinal = [...this.before.keys()].every((layer) => this.steps.get(layer) === windowSize);
  }

  get gain(): number {
    return [...this.sums].reduce((sum, [layer, gain]) => sum + gain / this.steps.get(layer)!, 0);
  }
}

/** Takes any ranks, and no samples. */
class Unplanned extends AbstractEplbPolicy {
  readonly name = 'unplanned';
  override readonly needs = {};
  readonly tokenDispatch: 'even' | 'nearest';
  constructor(tokenDispatch: 'even' | 'nearest') {
    super();
    this.tokenDispatch = tokenDispatch;
  }
  override rebalanceExperts(): ExpertMapping {
    throw new Error('nothing is planned');
  }
}

async function compare(acts: readonly string[], seed: number, windowSize: number): Promise<void> {
  const random = seededRandom(seed);
  const rankSpeed = seed % 2 === 0 ? [1, 1, 1, 1] : [1, 0.5, 2, 0.9];
  const dispatch = seed % 3 === 0 ? 'nearest' : 'even';
  const ranks = { rankSpeed, numNodes: 2 };
  const policy = new Unplanned(dispatch);
  const make = () => new ExpertLoadBalancer({ ...sizes, ...ranks, windowSize, threads: 0, policy });
  let balancer = make();
  const watched: Watched[] = [];
  const held: ExpertMapping[] = [];
  for (const act of acts) {
    if (act === 'step') {
      const loads = LAYERS.map(() =>
        Array.from({ length: numLogicalExperts }, () => Math.floor(random() * 3) * Math.floor(random() * 90)),
      );
      for (const [layer, row] of loads.entries()) {
        if (random() < 0.5) balancer.recordLogicalLoad(layer, row);
        else {
          // All in the first replica of each expert: what counts is the sum.
          const slots = new Array<number>(numPhysicalExperts).fill(0);
          for (const [expert, load] of row.entries())
            slots[balancer.mapping.getPhysicalExperts(layer, expert)[0]!] = load;
          balancer.recordLoad(layer, slots);
        }
      }
      balancer.advanceWindow();
      watched.at(-1)?.step(loads, balancer.mapping, windowSize, { ...ranks, dispatch });
    } else if (act === 'restore') {
      const next = make();
      next.restore(balancer.snapshot());
      await balancer.close();
      balancer = next;
      held.length = 0;
    } else {
      const mapping = act === 'next' ? (held.at(-1) ?? anyMapping(random)) : anyMapping(random);
      held.push(mapping);
      const layers = act === 'commit' ? LAYERS : LAYERS.filter(() => random() < 0.5);
      if (layers.length === 0) continue;
      const { generation, mapping: before } = balancer;
      if (act === 'commit') balancer.commit(mapping);
      else balancer.commitLayers(mapping, layers);
      if (balancer.generation === generation) continue;
      const isNext = watched.at(-1)?.plan === mapping && !watched.at(-1)!.isFinal;
      if (!isNext) {
        for (const other of watched) other.isFinal = true;
        watched.push(new Watched(mapping));
      }
      const { before: rows } = watched.at(-1)!;
      for (const layer of layers) if (!rows.has(layer)) rows.set(layer, before);
    }
  }
  const gains = balancer.metrics().realisedGains;
  const expected = watched.slice(-gains.length || watched.length);
  assert.equal(gains.length, Math.min(watched.length, watched.at(-1)?.isFinal === false ? 17 : 16));
  for (const [i, gain] of gains.entries()) {
    const wanted = expected[i]!;
    assert.equal(gain.number, watched.length - gains.length + i + 1);
    assert.equal(gain.isFinal, wanted.isFinal);
    assert.equal(gain.predictedGain, undefined);
    assert.equal(
      gain.numSteps,
      Math.min(...[...wanted.before.keys()].map((at) => wanted.steps.get(at) ?? 0)),
    );
    near(gain.realisedGain, wanted.gain);
  }
  await balancer.close();
}

test('what a mapping gains is what the steps make of it and of the one before', async () => {
  const acts = fc.constantFrom('step', 'step', 'step', 'step', 'commit', 'layers', 'next', 'restore');
  await fc.assert(
    fc.asyncProperty(
      fc.array(acts, { minLength: 5, maxLength: 60, size: 'max' }),
      fc.nat(),
      fc.constantFrom(1, 3, 10),
      compare,
    ),
    { numRuns: 100, seed: SEED },
  );
});

/** Loads of a step: one expert in each layer has most of them. */
function loadsOf(layer: number, hot: number, others = 20): number[] {
  return Array.from({ length: numLogicalExperts }, (_, expert) =>
    (expert + layer) % numLogicalExperts === hot ? 400 : others + ((expert * 7) % 5),
  );
}

function record(balancer: ExpertLoadBalancer, numSteps: number, hot: number, others?: number): void {
  for (let step = 0; step < numSteps; step++) {
    for (const layer of LAYERS) balancer.recordLogicalLoad(layer, loadsOf(layer, hot, others));
    balancer.advanceWindow();
  }
}

const WINDOW = 16;
const adaptive = (options: AdaptiveEplbPolicyOptions = {}) => ({
  ...{ ...sizes, windowSize: WINDOW, threads: 0 },
  policy: new AdaptiveEplbPolicy({ rememberedSteps: WINDOW, ...options }),
});

test('of loads that stay as they are a plan gains what it promised, in its own unit', async () => {
  const costs = [undefined, {}, { secondsAtBalance: 1e-3 }, 'h200:deepseek-v3'] as const;
  const ranks = [{}, { rankSpeed: [1, 0.5, 2, 0.9] }, { numNodes: 2 }];
  for (const [i, cost, differing] of costs.flatMap((cost, i) =>
    ranks.map((options) => [i, cost, options] as const),
  )) {
    const dispatch = 'numNodes' in differing ? 'nearest' : 'even';
    const usual = adaptive({ dispatch, ...(cost === undefined ? {} : { cost }) });
    await withBalancer({ ...usual, ...differing }, async (balancer) => {
      record(balancer, WINDOW, 3);
      const decision = await balancer.decide();
      assert.ok(decision.status === 'planned' && decision.forecast !== undefined);
      balancer.commit(decision.mapping);
      record(balancer, WINDOW, 3);
      const [gain] = balancer.metrics().realisedGains;
      const { gainPerLayer, secondsPerLayer } = decision.forecast;
      const promised = i === 0 ? gainPerLayer : secondsPerLayer;
      assert.equal(gain!.unit, i === 0 ? 'share' : 'seconds');
      assert.ok(gain!.isFinal && gain!.numSteps === WINDOW && gain!.realisedGain > 0);
      assert.equal(
        gain!.predictedGain,
        promised.reduce((a, b) => a + b),
      );
      assert.ok(Math.abs(gain!.realisedGain / gain!.predictedGain! - 1) < 1e-4, JSON.stringify(gain));
      assert.equal(balancer.metrics().gainBar, 0);
    });
  }
});

test('of many layers some are measured in a step, in turn: each as often, within a window', async () => {
  const numLayers = 20;
  const mostSteps = Math.ceil(WINDOW / 3);
  const options = { ...sizes, numLayers, windowSize: WINDOW, threads: 0 };
  await withBalancer(options, (balancer) => {
    const random = seededRandom(1);
    const step = () => {
      const loads = Array.from({ length: numLayers }, (_, layer) =>
        loadsOf(layer, 3).map((load) => Math.floor(load * random())),
      );
      loads.forEach((row, layer) => {
        balancer.recordLogicalLoad(layer, row);
      });
      balancer.advanceWindow();
      return loads;
    };
    step();
    const before = balancer.mapping;
    const mapping = balancer.rebalanceSync();
    balancer.commit(mapping);
    const measured = new Array<number[]>(numLayers);
    for (let layer = 0; layer < numLayers; layer++) measured[layer] = [];
    for (let i = 1; i <= WINDOW + 2; i++) {
      const loads = step();
      const [old, now] = [before, mapping].map((one) => layerBalances(loads, one, numRanks));
      // The eight that were measured least, the lowest first.
      const turn = [...measured.keys()].sort((a, b) => measured[a]!.length - measured[b]!.length || a - b);
      for (const layer of turn.slice(0, 8)) {
        if (measured[layer]!.length === mostSteps) continue;
        const mean = loads[layer]!.reduce((a, b) => a + b) / numRanks;
        measured[layer]!.push((old![layer]!.maxRankLoad - now![layer]!.maxRankLoad) / mean);
      }
      const means = measured
        .filter(({ length }) => length > 0)
        .map((gains) => gains.reduce((a, b) => a + b) / gains.length);
      const [gain] = balancer.metrics().realisedGains;
      near(
        gain!.realisedGain,
        means.reduce((a, b) => a + b),
        10,
      );
      const least = Math.min(...measured.map(({ length }) => length));
      assert.equal(gain!.numSteps, least);
      assert.equal(gain!.isFinal, least === mostSteps);
      if (gain!.isFinal) return;
    }
    assert.fail('it is not measured in a window');
  });
});

function gainsOf(rebalancer: AsyncExpertRebalancer): RealisedGain[] {
  const gains: RealisedGain[] = [];
  rebalancer.on('realised', (gain) => gains.push(gain));
  return gains;
}

test('two plans that fall short raise the bar, until one keeps its word, or its time has come', async () => {
  await withBalancer(adaptive(), async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer, autoCommit: true });
    const gains = gainsOf(rebalancer);
    const bars: number[] = [];
    // Each plan is for loads that are gone when it is live.
    for (const hot of [0, 2, 4]) {
      record(balancer, WINDOW, hot);
      bars.push(balancer.metrics().gainBar);
      const outcome = await rebalancer.rebalanceAsync();
      assert.equal(
        outcome.status === 'skipped' ? outcome.reason : outcome.status,
        hot === 4 ? 'fell short' : 'committed',
      );
    }
    assert.equal(gains.length, 2);
    for (const gain of gains) assert.ok(gain.realisedGain < gain.predictedGain! / 2, JSON.stringify(gain));
    assert.deepEqual(bars.slice(0, 2), [0, 0]);
    // A window after the last commit it is what that plan promised, not twice as much.
    const promise = gains[1]!.predictedGain!;
    assert.equal(bars[2], promise);
    assert.deepEqual(balancer.metrics().realisedGains, gains);

    // A restart changes nothing of that.
    await withBalancer(adaptive(), async (restored) => {
      restored.restore(balancer.snapshot());
      assert.deepEqual(restored.metrics(), balancer.metrics());
      const other = new AsyncExpertRebalancer({ balancer: restored, autoCommit: true });
      const told = gainsOf(other);
      const outcome = await other.rebalanceAsync();
      assert.equal(outcome.status === 'skipped' && outcome.reason, 'fell short');
      assert.deepEqual(told, [], 'what was known before');
    });

    // Plans are as they were, and the host may make one live itself; the bar comes down with time.
    assert.equal((await balancer.decide()).status, 'planned');
    record(balancer, WINDOW, 4);
    assert.equal(balancer.metrics().gainBar, promise / 2);
    assert.equal((await rebalancer.rebalanceAsync()).status, 'committed');
    assert.ok(balancer.metrics().gainBar > 0, 'it is too early to tell');
    // This one keeps its word.
    record(balancer, WINDOW, 4);
    assert.equal(balancer.metrics().gainBar, 0);
    record(balancer, WINDOW, 6);
    assert.equal((await rebalancer.rebalanceAsync()).status, 'committed');
    assert.equal(gains.length, 3);
  });
});

test('a plan that was live for a moment is not held to its word', async () => {
  await withBalancer(adaptive(), async (balancer) => {
    for (const hot of [0, 2, 4, 6]) {
      record(balancer, 7, hot);
      balancer.commit(await balancer.plan());
    }
    assert.equal(balancer.metrics().gainBar, 0);
  });
});
