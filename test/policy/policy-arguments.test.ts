import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AbstractEplbPolicy, ExpertLoadBalancer, LoadMatrix, PlanOptions } from 'expert-load-balancer';
import { refusal, stateOf, withBalancer } from '../helpers/library.ts';

const moduleUrl = new URL('../fixtures/policies/scribbles.mjs', import.meta.url);
const { ScribblingPolicy }: { ScribblingPolicy: new () => AbstractEplbPolicy } = await import(moduleUrl.href);

const sizes = {
  ...{ numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 8, numRanks: 2 },
  ...{ slotsPerRank: [4, 3], windowSize: 3, threads: 1 },
} as const;
const values = [1, 2, 9, 4, 5, 6, 7, 8];
const row = [0, 1, 2, 3, 0, 1, 2, -1];

/** Float32 values, on a SharedArrayBuffer or not. */
function floats(length: number, isShared: boolean): Float32Array {
  const data = new Float32Array(isShared ? new SharedArrayBuffer(4 * length) : new ArrayBuffer(4 * length));
  for (let i = 0; i < length; i++) data[i] = values[i % values.length]!;
  return data;
}

/** What a caller gives a plan, of which a policy might change something. */
interface Given {
  weight: LoadMatrix;
  options: Required<Pick<PlanOptions, 'coactivation' | 'samples'>>;
}

function givenWith(isShared: boolean): Given {
  const matrix = { numLayers: 2, numExperts: 4 };
  return {
    weight: { data: floats(8, isShared), ...matrix },
    options: {
      coactivation: { data: floats(32, isShared), ...matrix },
      samples: {
        data: floats(24, isShared),
        numSamples: 3,
        stepsPerSample: 2,
        newestShare: 0.5,
        numSingles: 1,
        ...matrix,
      },
    },
  };
}

function record(balancer: ExpertLoadBalancer): void {
  for (let step = 0; step < 2; step++) {
    for (let layer = 0; layer < 2; layer++) balancer.recordLogicalLoad(layer, [90, 10, 40, 60 + step]);
    balancer.advanceWindow();
  }
}

/** Ways of asking for a plan that is not made live. */
const asks: Record<string, (balancer: ExpertLoadBalancer, given: Given) => Promise<unknown>> = {
  'from loads': (balancer, { weight, options }) => balancer.plan(weight, options),
  'from loads alone': (balancer, { weight }) => balancer.plan(weight),
  'from the window': (balancer, { options }) => balancer.plan(undefined, options),
  'from the window alone': (balancer) => balancer.plan(),
};

for (const [place, policy] of [
  ['of a module', moduleUrl],
  ['in this thread', new ScribblingPolicy()],
] as const) {
  for (const isShared of [true, false]) {
    test(`a policy ${place} that writes to its arguments changes nothing (shared: ${isShared})`, async () => {
      await withBalancer({ ...sizes, policy }, async (balancer) => {
        record(balancer);
        const before = stateOf(balancer);
        const given = givenWith(isShared);
        for (const [title, ask] of Object.entries(asks)) {
          for (let time = 0; time < 2; time++) {
            await ask(balancer, given);
            assert.deepEqual(given, givenWith(isShared), title);
            assert.deepEqual(stateOf(balancer), before, title);
            assert.deepEqual(balancer.topology.slotsPerRank, sizes.slotsPerRank, title);
          }
        }
        // A mapping that the policy was given as the one before, and has scribbled on.
        const mapping = await balancer.rebalance(given.weight, given.options);
        await balancer.plan(given.weight, given.options);
        assert.deepEqual(mapping.toJSON().phyToLog, [row, row]);
        assert.deepEqual(balancer.metrics().logicalToPhysical, mapping.logToPhy);
      });
    });
  }
}

test('a policy that writes to what rebalanceSync gives it changes nothing', async () => {
  await withBalancer({ ...sizes, policy: new ScribblingPolicy() }, (balancer) => {
    record(balancer);
    const loads = balancer.getAverageLogicalLoad();
    for (const isShared of [true, false]) {
      const given = givenWith(isShared);
      for (let time = 0; time < 2; time++) {
        balancer.rebalanceSync(given.weight, given.options);
        balancer.rebalanceSync(undefined, given.options);
        balancer.rebalanceSync();
        assert.deepEqual(given, givenWith(isShared));
      }
    }
    assert.deepEqual(balancer.getAverageLogicalLoad(), loads);
    assert.deepEqual(balancer.topology.slotsPerRank, sizes.slotsPerRank);
  });
});

test('a policy in this thread is asked for the loads as given, whatever is written meanwhile', async () => {
  const policy = new ScribblingPolicy();
  const ask = policy.rebalanceExperts.bind(policy);
  let numAsked = 0;
  policy.rebalanceExperts = (...args) => {
    numAsked++;
    return ask(...args);
  };
  await withBalancer({ ...sizes, policy }, async (balancer) => {
    const { weight } = givenWith(true);
    const plan = balancer.plan(weight);
    weight.data[6] = Number.NaN;
    const mapping = await plan;
    assert.equal(numAsked, 1);
    assert.ok(mapping.equals(await balancer.plan(givenWith(true).weight)));
    await assert.rejects(
      balancer.plan(weight),
      refusal('range', 'EPLB_LOAD', /weight.*layer 1.*index 2.*NaN/),
    );
    assert.equal(numAsked, 2);
  });
});
