import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  DefaultEplbPolicy,
  ExpertMapping,
  type LoadMatrix,
  LocalityAwarePolicy,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { type LayerProblem, layerProblemArbitrary, loadsArbitrary } from '../helpers/arbitraries.ts';
import { refusal, SEED, stateOf, withBalancer } from '../helpers/library.ts';
import { rebalanceLayer } from '../oracle/default-policy.ts';
import { invertLayer } from '../oracle/inverse.ts';
import { preserveSlots } from '../oracle/preserve.ts';

const small = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 } as const;
const rows = [
  [90, 10, 40, 60],
  [1, 2, 3, 400],
];

/** A flat matrix; on a SharedArrayBuffer when `isShared`. */
function matrixOf(loads: readonly (readonly number[])[], isShared = false): LoadMatrix {
  const values = loads.flat();
  const data = isShared
    ? new Float32Array(new SharedArrayBuffer(4 * values.length))
    : new Float32Array(values.length);
  data.set(values);
  return { data, numLayers: loads.length, numExperts: loads[0]!.length };
}

/** The options of a balancer for a problem of the arbitraries. */
function optionsOf({ topology }: LayerProblem) {
  const { numLogicalExperts, numReplicas: numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  return {
    numLayers: 1,
    numLogicalExperts,
    numPhysicalExperts,
    numGroups,
    numNodes,
    numRanks,
    windowSize: 1,
  };
}

/** One problem, and the loads of a few steps in it. */
const histories = layerProblemArbitrary(48).chain((problem) =>
  fc.record({
    problem: fc.constant(problem),
    steps: fc.array(loadsArbitrary(problem.weight.length), { minLength: 1, maxLength: 4 }),
  }),
);

test('a balancer that rebalances again and again equals the oracles, with slots preserved', () => {
  return fc.assert(
    fc.asyncProperty(histories, async ({ problem, steps }) => {
      const { topology } = problem;
      await withBalancer({ ...optionsOf(problem), threads: 0 }, async (balancer) => {
        let previous = [...balancer.mapping.phyToLog];
        for (const loads of steps) {
          const placed = preserveSlots(previous, rebalanceLayer(loads, topology), topology.numRanks);
          const mapping = await balancer.rebalance([loads]);
          previous = [...mapping.phyToLog];
          assert.deepEqual(previous, placed.phyToLog);
          const { maxReplicas } = mapping;
          const logToPhy = invertLayer(placed.phyToLog, placed.replicaRank, loads.length, maxReplicas);
          assert.deepEqual([...mapping.logToPhy], logToPhy.flat());
          assert.ok(ExpertMapping.fromJSON(mapping.toJSON()).equals(mapping), 'it is valid');
        }
      });
    }),
    { numRuns: 150, seed: SEED },
  );
});

test('what was recorded is planned as its average is, inline and in the pool', async () => {
  const sizes = { ...small, numLogicalExperts: 12, numPhysicalExperts: 16, windowSize: 4 };
  await withBalancer({ ...sizes, threads: 2 }, async (balancer) => {
    const loads = fc.array(fc.tuple(loadsArbitrary(12), loadsArbitrary(16)), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(loads, async (steps) => {
        for (const [experts, slots] of steps) {
          balancer.recordLogicalLoad(0, experts);
          // No expert has more replicas than there are slots, so that no sum is beyond float32.
          balancer.recordLoad(
            1,
            slots.map((load) => load / 16),
          );
          balancer.advanceWindow();
        }
        const recorded = await balancer.plan();
        const averaged = await balancer.plan(balancer.getAverageLogicalLoad());
        assert.equal(recorded.digest(), averaged.digest());
        assert.equal(balancer.rebalanceSync().digest(), recorded.digest());
      }),
      { numRuns: 60, seed: SEED },
    );
  });
});

test('loads whose sum over replicas is beyond float32 have a finite average and one plan', async () => {
  await withBalancer({ ...small, numLayers: 1, threads: 1 }, async (balancer) => {
    balancer.recordLoad(0, [3e38, 1, 2, 3, 3e38, 1]);
    balancer.advanceWindow();
    const { data } = balancer.getAverageLogicalLoad();
    assert.ok(data.every(Number.isFinite), `${data}`);
    const planned = await balancer.plan();
    assert.ok(planned.equals(balancer.rebalanceSync()));
  });
});

test('nested, flat and shared loads give one plan', async () => {
  for (const threads of [0, 2]) {
    await withBalancer({ ...small, threads }, async (balancer) => {
      const expected = new DefaultEplbPolicy().rebalanceExperts(rows, 6, 1, 1, 2, {
        previous: balancer.mapping,
      });
      for (const weight of [rows, matrixOf(rows), matrixOf(rows, true)]) {
        assert.ok((await balancer.plan(weight)).equals(expected));
      }
      assert.ok(balancer.rebalanceSync(matrixOf(rows, true)).equals(expected));
    });
  }
});

test('values in shared loads are checked where they are read', async () => {
  for (const threads of [0, 1, 2]) {
    await withBalancer({ ...small, threads }, async (balancer) => {
      const before = stateOf(balancer);
      for (const bad of [Number.NaN, -1, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const weight = matrixOf([rows[0]!, [1, 2, bad, 4]], true);
        const expected = refusal('range', 'EPLB_LOAD', new RegExp(`weight.*layer 1.*index 2.*${bad}`));
        await assert.rejects(balancer.plan(weight), expected);
        await assert.rejects(balancer.rebalance(weight), expected);
        assert.throws(() => balancer.rebalanceSync(weight), expected);
      }
      assert.deepEqual(stateOf(balancer), before);
      assert.ok((await balancer.plan(matrixOf(rows, true))).equals(await balancer.plan(rows)));
    });
  }
});

test('loads that are not shared may be written again as soon as plan has returned its promise', async () => {
  for (const threads of [0, 2]) {
    await withBalancer({ ...small, threads }, async (balancer) => {
      const expected = await balancer.plan(rows);
      const weight = matrixOf(rows);
      const nested = rows.map((row) => [...row]);
      const first = balancer.plan(nested);
      const second = balancer.plan(weight);
      for (const row of nested) row.fill(Number.NaN);
      weight.data.fill(Number.NaN);
      assert.ok((await first).equals(expected));
      assert.ok((await second).equals(expected));
    });
  }
});

test('a plan is of the window as it is when the plan begins, and recording goes on during it', async () => {
  await withBalancer({ ...small, threads: 2 }, async (balancer) => {
    balancer.recordLogicalLoad(0, rows[0]!);
    balancer.recordLogicalLoad(1, rows[1]!);
    balancer.advanceWindow();
    const expected = await balancer.plan(rows);
    const plan = balancer.plan();
    await Promise.resolve();
    for (let step = 0; step < 500; step++) {
      balancer.recordLoad(0, [0, 0, 0, 0, 0, step]);
      balancer.advanceWindow();
    }
    assert.ok((await plan).equals(expected));
    assert.equal(balancer.numSamples, 100);
  });
});

test('a mapping committed during a plan stays; the plan keeps the slots of the one before it', async () => {
  await withBalancer({ ...small, threads: 1 }, async (balancer) => {
    const expected = await balancer.plan(rows);
    const plan = balancer.plan(rows);
    await Promise.resolve();
    const other = ExpertMapping.fromPhysicalToLogical([0, 1].map(() => [3, 2, 1, 0, 0, 0]));
    balancer.commit(other);
    assert.ok((await plan).equals(expected));
    assert.equal(balancer.mapping, other);
  });
});

/** Puts expert i to slots i, i + E, ...: and keeps what it was asked. */
class RepeatPolicy extends AbstractEplbPolicy {
  readonly name = 'repeat';
  readonly asked: unknown[][] = [];

  override rebalanceExperts(...args: Parameters<AbstractEplbPolicy['rebalanceExperts']>): ExpertMapping {
    this.asked.push(args);
    const [weight, numReplicas] = args;
    assert.ok('data' in weight);
    const row = Array.from({ length: numReplicas }, (_, slot) => slot % weight.numExperts);
    return ExpertMapping.fromPhysicalToLogical(Array.from({ length: weight.numLayers }, () => row));
  }
}

test('a subclass of AbstractEplbPolicy runs inline with all that is known', async () => {
  const policy = new RepeatPolicy();
  const sizes = { ...small, numNodes: 2, numGroups: 4, threads: 2 };
  await withBalancer({ ...sizes, policy }, async (balancer) => {
    assert.equal(balancer.threads, 0);
    balancer.recordLogicalLoad(1, [1, 2, 3, 5]);
    balancer.advanceWindow();
    const { mapping: previous } = balancer;
    const coactivation = { data: new Float32Array(32), numLayers: 2, numExperts: 4 };
    const mapping = await balancer.rebalance(undefined, { coactivation });
    assert.ok(mapping.equals(previous));
    const weight = { data: Float32Array.of(0, 0, 0, 0, 1, 2, 3, 5), numLayers: 2, numExperts: 4 };
    assert.deepEqual(policy.asked, [[weight, 6, 4, 2, 2, { previous, coactivation }]]);
    balancer.rebalanceSync(rows);
    assert.deepEqual(policy.asked[1]![0], matrixOf(rows));
  });
});

test('a subclass of a policy with a kernel that plans otherwise is asked, whatever the threads', async () => {
  const row = [0, 1, 3, 2, 1, 0];
  const reversed = () => ExpertMapping.fromPhysicalToLogical([row, row]);
  class Mine extends DefaultEplbPolicy {
    override rebalanceExperts = reversed;
  }
  class MineToo extends LocalityAwarePolicy {
    override rebalanceExperts(): ExpertMapping {
      return reversed();
    }
  }
  for (const policy of [new Mine(), new MineToo()]) {
    for (const threads of [0, 1]) {
      await withBalancer({ ...small, policy, threads }, async (balancer) => {
        const mapping = await balancer.plan(rows);
        assert.deepEqual(
          mapping.toJSON().phyToLog,
          [row, row],
          `${policy.constructor.name}, ${threads} threads`,
        );
      });
    }
  }
});

test('two plans asked for at once are made one after the other', async () => {
  for (const threads of [0, 2]) {
    await withBalancer({ ...small, threads }, async (balancer) => {
      const finished: string[] = [];
      const first = balancer.rebalance(rows).finally(() => finished.push('first'));
      const failing = balancer.plan(matrixOf([[Number.NaN, 1, 2, 3], rows[0]!], true));
      const second = balancer.rebalance(rows.toReversed()).finally(() => finished.push('second'));
      await assert.rejects(failing, refusal('range', 'EPLB_LOAD', /NaN/));
      await Promise.all([first, second]);
      assert.deepEqual(finished, ['first', 'second']);
      assert.equal(balancer.mapping, await second);
      const policy = new DefaultEplbPolicy();
      const previous = await first;
      assert.ok((await second).equals(policy.rebalanceExperts(rows.toReversed(), 6, 1, 1, 2, { previous })));
    });
  }
});
