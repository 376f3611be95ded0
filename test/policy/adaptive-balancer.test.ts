import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  AsyncExpertRebalancer,
  DefaultEplbPolicy,
  type ExpertLoadBalancer,
  type ExpertMapping,
  type LoadSamples,
  type LoadsInput,
  type PolicyContext,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { liveMapping, makeSamples } from '../helpers/adaptive.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { SEED, withBalancer } from '../helpers/library.ts';

const topology = {
  numLayers: 3,
  numLogicalExperts: 16,
  numPhysicalExperts: 24,
  numRanks: 8,
  numNodes: 2,
  numGroups: 4,
};

function record(balancer: ExpertLoadBalancer, samples: LoadSamples): void {
  const { data, numSamples, numLayers, numExperts } = samples;
  for (let sample = 0; sample < numSamples; sample++) {
    for (let layer = 0; layer < numLayers; layer++) {
      const first = (sample * numLayers + layer) * numExperts;
      balancer.recordLogicalLoad(layer, data.subarray(first, first + numExperts));
    }
    balancer.advanceWindow();
  }
}

test('any number of threads, and none, plans the same from the window, limited and not', async () => {
  for (const options of [{}, { price: 0, numKicks: 1 }, { maxMoves: 9 }, { locality: 'groups' }] as const) {
    const plans = await Promise.all(
      [0, 1, 2, 3].map((threads) =>
        withBalancer(
          { ...topology, threads, windowSize: 50, policy: new AdaptiveEplbPolicy(options) },
          async (balancer) => {
            record(balancer, makeSamples(topology, 61, 5));
            const first = await balancer.decide();
            balancer.commit(first.mapping);
            record(balancer, makeSamples(topology, 13, 6));
            return [first, await balancer.decide()].map((decision) => ({
              ...decision,
              mapping: decision.mapping.digest(),
            }));
          },
        ),
      ),
    );
    for (const plan of plans) assert.deepEqual(plan, plans[0]);
  }
});

test('samples given with the plan are what the policy plans from, pooled and inline', async () => {
  const samples = makeSamples(topology, 7, 8);
  const policy = new AdaptiveEplbPolicy({ maxSamples: 4 });
  for (const threads of [0, 2]) {
    await withBalancer({ ...topology, threads, policy }, async (balancer) => {
      const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
      const previous = balancer.mapping;
      const expected = policy.planExperts(samples, numPhysicalExperts, numGroups, numNodes, numRanks, {
        previous,
      });
      const decision = balancer.decide(undefined, { samples });
      samples.data.fill(1); // copied by then
      const { mapping } = await decision;
      samples.data.set(makeSamples(topology, 7, 8).data);
      assert.ok(mapping.equals(expected.mapping));
      const inline = balancer.rebalanceSync(undefined, { samples });
      assert.ok(inline.equals(expected.mapping));
    });
  }
});

test('a load matrix without samples is one sample', async () => {
  const { data, numLayers, numExperts } = makeSamples(topology, 1, 2);
  const one = { data, numSamples: 1, numLayers, numExperts };
  const policy = new AdaptiveEplbPolicy();
  await withBalancer({ ...topology, threads: 1, policy }, async (balancer) => {
    const mapping = await balancer.plan({ data, numLayers, numExperts });
    assert.ok(mapping.equals((await balancer.decide(undefined, { samples: one })).mapping));
    const previous = balancer.mapping;
    assert.ok(
      mapping.equals(policy.rebalanceExperts({ data, numLayers, numExperts }, 24, 4, 2, 8, { previous })),
    );
  });
});

/** A policy that only looks at what it is given. */
class Watcher extends AbstractEplbPolicy {
  readonly name = 'watcher';
  override readonly maxSamples: number;
  override readonly rememberedSteps: number;
  samples: LoadSamples | undefined;

  constructor(maxSamples: number, rememberedSteps = 0) {
    super();
    this.maxSamples = maxSamples;
    this.rememberedSteps = rememberedSteps;
  }

  override rebalanceExperts(
    _weight: LoadsInput,
    _numReplicas: number,
    _numGroups: number,
    _numNodes: number,
    _numRanks: number,
    context: PolicyContext,
  ): ExpertMapping {
    this.samples = context.samples;
    return context.previous!;
  }
}

test('a policy that asks for samples gets the window’s steps, each read by its own mapping', async () => {
  const problems = fc.record({
    windowSize: fc.integer({ min: 1, max: 12 }),
    maxSamples: fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 24, max: 27 })),
    rememberedSteps: fc.oneof(fc.nat({ max: 12 }), fc.nat({ max: 60 })),
    numSteps: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 30, max: 80 })),
    seed: fc.integer(),
  });
  await fc.assert(
    fc.asyncProperty(problems, async ({ windowSize, maxSamples, rememberedSteps, numSteps, seed }) => {
      const policy = new Watcher(maxSamples, rememberedSteps);
      await withBalancer({ ...topology, windowSize, policy }, (balancer) => {
        const { numLayers, numLogicalExperts: numExperts, numPhysicalExperts } = topology;
        const random = seededRandom(seed);
        const steps: Float64Array[] = [];
        for (let step = 0; step < numSteps; step++) {
          if (random() < 0.2) balancer.commit(liveMapping(topology, Math.floor(random() * 1e9), true));
          const table = balancer.mapping.phyToLog;
          const loads = new Float64Array(numLayers * numExperts);
          for (let layer = 0; layer < numLayers; layer++) {
            if (random() < 0.5) {
              const row = Float32Array.from({ length: numPhysicalExperts }, () => Math.floor(random() * 50));
              balancer.recordLoad(layer, row);
              row.forEach((load, slot) => {
                const expert = table[layer * numPhysicalExperts + slot]!;
                if (expert >= 0) loads[layer * numExperts + expert]! += load;
              });
            }
            if (random() < 0.5) {
              const row = Float32Array.from({ length: numExperts }, () => Math.floor(random() * 50));
              balancer.recordLogicalLoad(layer, row);
              row.forEach((load, expert) => {
                loads[layer * numExperts + expert]! += load;
              });
            }
          }
          balancer.advanceWindow();
          steps.push(loads);
        }
        balancer.rebalanceSync();
        const sampledSteps = Math.max(windowSize, rememberedSteps);
        // Of more steps than samples half are the newest, one by one.
        const isJoined = sampledSteps > maxSamples && maxSamples >= 24;
        const mostSingles = isJoined ? Math.floor(maxSamples / 2) : 0;
        const numSingles = Math.min(mostSingles, steps.length);
        const older = steps.slice(0, steps.length - numSingles);
        const perSample = Math.ceil((sampledSteps - mostSingles) / (maxSamples - mostSingles));
        const runs: Float64Array[][] = [];
        for (let first = 0; first < older.length; first += perSample) {
          runs.push(older.slice(first, first + perSample));
        }
        const joined = runs.slice(-Math.floor((sampledSteps - mostSingles) / perSample));
        const kept = [...joined, ...steps.slice(steps.length - numSingles).map((step) => [step])];
        const means = kept.flatMap((run) =>
          Array.from(run[0]!, (_, i) =>
            Math.fround(run.reduce((sum, loads) => sum + loads[i]!, 0) / run.length),
          ),
        );
        assert.deepEqual(policy.samples, {
          data: Float32Array.from(means),
          numSamples: kept.length,
          numLayers,
          numExperts,
          stepsPerSample: perSample,
          newestShare: (joined.at(-1)?.length ?? perSample) / perSample,
          numSingles,
        });
      });
    }),
    { numRuns: 60, seed: SEED },
  );
});

test('samples are kept only for policies that ask for them', async () => {
  const policy = new Watcher(0);
  await withBalancer({ ...topology, policy }, (balancer) => {
    record(balancer, makeSamples(topology, 3, 1));
    balancer.rebalanceSync();
    assert.equal(policy.samples, undefined);
  });
});

test('what is kept leaves mapping and generation as they were; the rebalancer tells why', async () => {
  for (const [options, reason] of [
    [{ price: 1e6 }, 'under the price'],
    [{ maxMoves: 0 }, 'no moves allowed'],
    [{ price: 1e-9, cost: { secondsPerLoad: 1e-12 } }, 'costs more than it returns'],
  ] as const) {
    const policy = new AdaptiveEplbPolicy(options);
    await withBalancer({ ...topology, threads: 1, policy }, async (balancer) => {
      const { mapping } = balancer;
      assert.deepEqual(await balancer.decide(), {
        status: 'kept',
        reason: 'no samples',
        mapping,
        generation: 0,
      });
      record(balancer, makeSamples(topology, 24, 4));
      const decision = await balancer.decide();
      assert.deepEqual(decision, { status: 'kept', reason, mapping, generation: 0 });
      assert.equal(decision.mapping, mapping);
      assert.equal(await balancer.rebalance(), mapping);
      assert.equal(balancer.rebalanceSync(), mapping);
      const rebalancer = new AsyncExpertRebalancer({ balancer, autoCommit: true });
      assert.deepEqual(await rebalancer.rebalanceAsync(), { status: 'skipped', reason });
      assert.equal(balancer.mapping, mapping);
      assert.equal(balancer.generation, 0);
    });
  }
});

test('the rebalancer hands the forecast of a plan on', async () => {
  const policy = new AdaptiveEplbPolicy({ price: 0.001 });
  await withBalancer({ ...topology, threads: 1, policy }, async (balancer) => {
    record(balancer, makeSamples(topology, 24, 4));
    const previous = balancer.mapping;
    const rebalancer = new AsyncExpertRebalancer({ balancer, autoCommit: true });
    const outcome = await rebalancer.rebalanceAsync();
    assert.ok(outcome.status === 'committed', outcome.status);
    assert.equal(outcome.forecast?.moves, outcome.mapping.movesFrom(previous, topology.numRanks));
    assert.ok(outcome.forecast.secondsGained > 0 && outcome.forecast.secondsSpent > 0);
    assert.equal(outcome.forecast.gainPerLayer.length, topology.numLayers);
  });
});

test('the default policy takes no notice of samples, and its decisions have no forecast', async () => {
  await withBalancer({ ...topology, threads: 1, policy: new DefaultEplbPolicy() }, async (balancer) => {
    record(balancer, makeSamples(topology, 8, 4));
    const mapping = await balancer.plan();
    const decision = await balancer.decide(undefined, { samples: makeSamples(topology, 3, 9) });
    assert.deepEqual(Object.keys(decision), ['status', 'mapping', 'generation']);
    assert.ok(decision.mapping.equals(mapping));
  });
});
