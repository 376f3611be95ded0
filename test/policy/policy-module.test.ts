import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  type ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  type LoadMatrix,
} from 'expert-load-balancer';
import { type Refusal, refusal, stateOf, withBalancer } from '../helpers/library.ts';

const policyUrl = (file: string) => new URL(`../fixtures/policies/${file}`, import.meta.url);
const small = {
  numLayers: 2,
  numLogicalExperts: 4,
  numPhysicalExperts: 6,
  numRanks: 2,
  numNodes: 2,
  numGroups: 4,
} as const;
const rows = [
  [1, 2, 9, 4],
  [1, 9, 2, 4],
];

/** Runs `work` with a balancer whose policy is the module's. */
function withPolicy<T>(
  file: string,
  work: (balancer: ExpertLoadBalancer) => Promise<T>,
  options: Partial<ExpertLoadBalancerOptions> = {},
): Promise<T> {
  return withBalancer({ ...small, threads: 1, policy: policyUrl(file), ...options }, work);
}

test('a class that is the default export of a module plans in the pool', async () => {
  await withPolicy('repeat.mjs', async (balancer) => {
    assert.equal(balancer.threads, 1);
    const mapping = await balancer.rebalance(rows);
    assert.equal(balancer.mapping, mapping);
    assert.deepEqual([...mapping.phyToLog], [0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 0, 1]);
    assert.deepEqual(mapping.getPhysicalExperts(1, 0), [0, 4]);
    assert.equal(mapping.maxReplicas, 2);
  });
});

test('an object exported as `policy` is asked as a policy is, from each kind of loads', async () => {
  for (const threads of [1, 3]) {
    await withPolicy(
      'instance.mjs',
      async (balancer) => {
        const expected = [
          [0, 1, 2, 3, 2, 2],
          [0, 1, 2, 3, 1, 1],
        ];
        const shared = new Float32Array(new SharedArrayBuffer(32));
        shared.set(rows.flat());
        const flat = { data: Float32Array.from(rows.flat()), numLayers: 2, numExperts: 4 };
        rows.forEach((row, layer) => {
          balancer.recordLogicalLoad(layer, row);
        });
        balancer.advanceWindow();
        for (const weight of [rows, flat, { ...flat, data: shared }, undefined]) {
          assert.deepEqual((await balancer.plan(weight)).toJSON().phyToLog, expected);
        }
        const coactivation = { data: new Float32Array(32), numLayers: 2, numExperts: 4 };
        const paired = await balancer.rebalance(rows, { coactivation });
        assert.deepEqual(
          paired.toJSON().phyToLog,
          rows.map(() => [0, 1, 2, 3, 0, 0]),
        );
        // Slots, recorded under the new mapping, are folded through it.
        balancer.recordLoad(0, [0, 50, 0, 0, 30, 30]);
        balancer.recordLoad(1, [0, 0, 0, 99, 0, 0]);
        balancer.advanceWindow();
        assert.deepEqual((await balancer.plan()).toJSON().phyToLog, [
          [0, 1, 2, 3, 0, 0],
          [0, 1, 2, 3, 3, 3],
        ]);
      },
      { threads },
    );
  }
});

test('loads that are bad are refused before a policy of a module sees them', async () => {
  await withPolicy('repeat.mjs', async (balancer) => {
    const data = new Float32Array(new SharedArrayBuffer(32));
    data[5] = Number.NaN;
    const weight: LoadMatrix = { data, numLayers: 2, numExperts: 4 };
    await assert.rejects(
      balancer.plan(weight),
      refusal('range', 'EPLB_LOAD', /weight.*layer 1.*index 1.*NaN/),
    );
  });
});

/** What is wrong with a module, and what is said about it. */
const bad: readonly (readonly [file: string, message: RegExp])[] = [
  ['wrong.mjs?missing-expert', /"wrong".*layer 0.*expert 1/],
  ['wrong.mjs?out-of-range', /"wrong".*layer 0.*slot 5.*9/],
  ['wrong.mjs?few-layers', /"wrong".*1 layers, not 2/],
  ['wrong.mjs?few-slots', /"wrong".*layer 0 has 5 entries, not 6/],
  ['wrong.mjs?disagreeing-count', /"wrong".*layer 0.*expert 0/],
  ['wrong.mjs?undefined', /"wrong".*undefined/],
  ['wrong.mjs?number', /"wrong".*5/],
  ['wrong.mjs?promise', /"wrong".*Promise/],
  ['wrong.mjs?throws', /out of luck/],
  ['wrong.mjs?throws-text', /just words/],
  ['wrong.mjs?throws-nothing', /undefined/],
  ['wrong.mjs?throws-code', /no such file/],
  ['no-policy.mjs', /no-policy\.mjs.*rebalanceExperts/],
  ['nothing.mjs', /nothing\.mjs.*rebalanceExperts/],
  ['missing.mjs', /missing\.mjs/],
  ['load-fails.mjs', /load-fails\.mjs.*this module cannot be loaded/],
  ['constructor-fails.mjs', /this class cannot be made/],
];

test('a policy module that fails rejects each plan with EPLB_POLICY, and changes nothing', async () => {
  for (const [file, message] of bad) {
    await withPolicy(file, async (balancer) => {
      const before = stateOf(balancer);
      await assert.rejects(balancer.rebalance(rows), refusal('other', 'EPLB_POLICY', message));
      await assert.rejects(balancer.plan(rows), refusal('other', 'EPLB_POLICY', message));
      assert.deepEqual(stateOf(balancer), before);
    });
  }
});

test('what a policy module throws says which policy threw it', async () => {
  await withPolicy('wrong.mjs?throws', async (balancer) => {
    await assert.rejects(balancer.plan(rows), refusal('other', 'EPLB_POLICY', /policy.*wrong.*out of luck/));
  });
});

test('a policy module plans in the pool only', async () => {
  const inPool = refusal('other', 'EPLB_POLICY', /URL.*pool/);
  await withPolicy('repeat.mjs', async (balancer) => {
    assert.throws(() => balancer.rebalanceSync(rows), inPool);
  });
  const inline = withPolicy('repeat.mjs', () => assert.fail('is not made'), { threads: 0 });
  await assert.rejects(inline, refusal('range', 'EPLB_RANGE', /threads: 0.*URL/));
});

test('what a policy module sends to its parent is not heard, whatever it is', async () => {
  await withPolicy('talks.mjs', async (balancer) => {
    for (let time = 0; time < 2; time++) assert.equal((await balancer.plan(rows)).numLayers, 2);
  });
});

test('an aborted plan of a policy module is cancelled, and its mapping dropped', async () => {
  await withPolicy('slow.mjs', async (balancer) => {
    const abort = new AbortController();
    const plan = balancer.rebalance(rows, { signal: abort.signal });
    setImmediate(() => abort.abort());
    await assert.rejects(plan, refusal('other', 'EPLB_CANCELLED', /cancelled/));
    assert.equal(balancer.generation, 0);
    assert.equal((await balancer.plan(rows)).numLayers, 2);
  });
});

const row = [0, 1, 2, 3, 0, 1];
/** The same failures of an object, which plans in the host's own thread. */
const results: readonly (readonly [title: string, result: () => unknown, ...Refusal])[] = [
  ['nothing', () => undefined, 'other', 'EPLB_POLICY', /"mine".*undefined/],
  ['a promise', () => Promise.resolve(), 'other', 'EPLB_POLICY', /"mine".*Promise/],
  [
    'no mapping',
    () => ({ phyToLog: [row, [0, 1, 2, 9, 0, 1]] }),
    'other',
    'EPLB_POLICY',
    /"mine".*slot 3 holds 9/,
  ],
  ['one layer', () => ({ phyToLog: [row] }), 'other', 'EPLB_POLICY', /"mine".*1 layers, not 2/],
  [
    'an error',
    () => {
      throw new Error('out of luck');
    },
    ...(['other', 'EPLB_POLICY', /"mine".*out of luck/] as const),
  ],
];

for (const [title, result, ...expected] of results) {
  test(`an object that gives ${title} is refused with EPLB_POLICY and changes nothing`, async () => {
    class Mine extends AbstractEplbPolicy {
      readonly name = 'mine';
      override rebalanceExperts(): never {
        return result() as never;
      }
    }
    await withBalancer({ ...small, policy: new Mine() }, async (balancer) => {
      const before = stateOf(balancer);
      await assert.rejects(balancer.plan(rows), refusal(...expected));
      await assert.rejects(balancer.rebalance(rows), refusal(...expected));
      assert.throws(() => balancer.rebalanceSync(rows), refusal(...expected));
      assert.deepEqual(stateOf(balancer), before);
    });
  });
}
