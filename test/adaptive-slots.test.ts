import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  AsyncExpertRebalancer,
  balancedness,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  ExpertMapping,
  type LoadMatrix,
  LocalityAwarePolicy,
  layerBalances,
  type PolicyContext,
} from 'expert-load-balancer';
import { fewestMoves, liveMapping, makeSamples } from './helpers/adaptive.ts';
import { seededRandom } from './helpers/arbitraries.ts';
import { refusal, withBalancer } from './helpers/library.ts';

const sizes = {
  numLayers: 3,
  numLogicalExperts: 16,
  numPhysicalExperts: 24,
  numRanks: 4,
  numNodes: 2,
  numGroups: 4,
};
const slotsPerRank = [6, 3, 5, 4];
const topology = { ...sizes, slotsPerRank };

const policyUrl = (file: string) => new URL(`./fixtures/policies/${file}`, import.meta.url);

function plan(
  context: PolicyContext,
  options: ConstructorParameters<typeof AdaptiveEplbPolicy>[0] = {},
  seed = 1,
) {
  const samples = makeSamples(sizes, 8, seed);
  return new AdaptiveEplbPolicy(options).planExperts(samples, 24, 4, 2, 4, context);
}

function assertClosedEmpty(mapping: ExpertMapping): void {
  for (const row of mapping.toJSON().phyToLog) {
    assert.deepEqual(
      row.map((expert) => expert >= 0),
      row.map((_, slot) => slot % 6 < slotsPerRank[Math.floor(slot / 6)]!),
    );
  }
}

test('slots of ranks that are none are refused, by name', () => {
  const make = (slots: unknown, more: Partial<ExpertLoadBalancerOptions> = {}) => {
    const options = { ...sizes, policy: new AdaptiveEplbPolicy(), slotsPerRank: slots, ...more };
    return () => new ExpertLoadBalancer(options as ExpertLoadBalancerOptions);
  };
  for (const slots of ['6,6,6,6', 6, null, {}, Int32Array.of(6, 3, 5, 4)]) {
    assert.throws(make(slots), refusal('type', 'EPLB_KIND', /^slotsPerRank: .* is not an array of numbers/));
  }
  assert.throws(make([6, 6, 6]), refusal('range', 'EPLB_SHAPE', /^slotsPerRank: has 3 numbers, not 4/));
  assert.throws(
    make([6, '6', 6, 6]),
    refusal('type', 'EPLB_KIND', /^slotsPerRank: rank 1: "6" is not a number/),
  );
  const hole = [6, 6, 6, 6];
  delete hole[2];
  assert.throws(make(hole), refusal('type', 'EPLB_KIND', /^slotsPerRank: rank 2: undefined is not a number/));
  assert.throws(make([6, 6, 5.5, 6]), refusal('range', 'EPLB_NOT_WHOLE', /^slotsPerRank: rank 2: 5\.5/));
  assert.throws(
    make([6, Number.NaN, 6, 6]),
    refusal('range', 'EPLB_NOT_WHOLE', /^slotsPerRank: rank 1: NaN/),
  );
  assert.throws(
    make([-1, 6, 6, 6]),
    refusal('range', 'EPLB_RANGE', /^slotsPerRank: rank 0: -1 is not from 0 to 6/),
  );
  assert.throws(
    make([6, 6, 6, 7]),
    refusal('range', 'EPLB_RANGE', /^slotsPerRank: rank 3: 7 is not from 0 to 6/),
  );
  assert.throws(
    make([6, 6, 3, 0]),
    refusal('range', 'EPLB_TOPOLOGY', /^slotsPerRank: 15 slots are less than numLogicalExperts 16/),
  );
});

test('all slots open is as if nothing was said', () => {
  const all = [6, 6, 6, 6];
  const balancer = new ExpertLoadBalancer({ ...sizes, slotsPerRank: all, threads: 0 });
  assert.deepEqual(balancer.topology, sizes);
  const policy = new DefaultEplbPolicy();
  const loads = [[...makeSamples(sizes, 1, 1).data.subarray(0, 16)]];
  const mapping = policy.rebalanceExperts(loads, 24, 4, 2, 4, { slotsPerRank: all });
  assert.ok(mapping.equals(policy.rebalanceExperts(loads, 24, 4, 2, 4)));
  assert.equal(plan({ slotsPerRank: all }).mapping.digest(), plan({}).mapping.digest());
});

test('a balancer begins with empty closed slots, and what is later written into its options changes nothing', () => {
  const slots = [...slotsPerRank];
  const options = { ...sizes, slotsPerRank: slots, policy: new AdaptiveEplbPolicy(), threads: 0 };
  const { mapping, topology: checked } = new ExpertLoadBalancer(options);
  slots.fill(0);
  assert.deepEqual(checked, topology);
  assert.throws(() => Object.assign(checked.slotsPerRank!, { 0: 1 }), TypeError);
  assertClosedEmpty(mapping);
  const row = [0, 1, 2, 3, 4, 5, 6, 7, 8, -1, -1, -1, 9, 10, 11, 12, 13, -1, 14, 15, 0, 1, -1, -1];
  assert.deepEqual(mapping.toJSON().phyToLog, [row, row, row]);
  assert.deepEqual(mapping.getPhysicalExperts(1, 0), [0, 20]);
  assert.deepEqual(mapping.getPhysicalExperts(1, 2), [2]);
  assert.ok(mapping.equals(ExpertMapping.fromBytes(mapping.toBytes())), 'a snapshot has the empty slots too');
  assert.deepEqual(ExpertMapping.fromJSON(mapping.toJSON()).logToPhy, mapping.logToPhy);
});

test('a mapping with experts in closed slots does not go live', async () => {
  await withBalancer({ ...topology, policy: new AdaptiveEplbPolicy(), threads: 0 }, (balancer) => {
    const { mapping } = balancer;
    const rows = mapping.toJSON().phyToLog;
    rows[1]![9] = 2;
    const message = /^mapping: layer 1: slot 9 holds expert 2, but is closed: rank 1 has 3 slots/;
    const other = ExpertMapping.fromPhysicalToLogical(rows, 16);
    assert.throws(() => balancer.commit(other), refusal('range', 'EPLB_MAPPING', message));
    assert.equal(balancer.mapping, mapping);
    assert.equal(balancer.generation, 0);
    rows[1]![9] = -1;
    rows[1]![20] = -1;
    balancer.commit(ExpertMapping.fromPhysicalToLogical(rows, 16));
    assert.equal(balancer.generation, 1);
  });
});

test('policies that fill all slots refuse closed ones: when a balancer is made, and when they are asked', () => {
  for (const policy of [new DefaultEplbPolicy(), new LocalityAwarePolicy()]) {
    const refused = refusal(
      'range',
      'EPLB_TOPOLOGY',
      new RegExp(`^slotsPerRank: the ${policy.name} policy fills all slots`),
    );
    assert.throws(() => new ExpertLoadBalancer({ ...topology, policy }), refused);
    assert.throws(
      () => policy.rebalanceExperts([new Array(16).fill(1)], 24, 4, 2, 4, { slotsPerRank }),
      refused,
    );
  }
  assert.throws(
    () => new ExpertLoadBalancer(topology),
    refusal('range', 'EPLB_TOPOLOGY', /the default policy/),
  );
});

test('any number of threads, and none, plans the same with closed slots, limited and not', async () => {
  for (const options of [{}, { price: 0, numKicks: 1 }, { maxMoves: 7 }, { locality: 'groups' }] as const) {
    const plans = await Promise.all(
      [0, 1, 2, 3].map((threads) =>
        withBalancer(
          { ...topology, threads, windowSize: 20, policy: new AdaptiveEplbPolicy(options) },
          async (balancer) => {
            const decisions = [];
            for (const seed of [1, 2]) {
              const decision = await balancer.decide(undefined, { samples: makeSamples(sizes, 9, seed) });
              assertClosedEmpty(decision.mapping);
              balancer.commit(decision.mapping);
              decisions.push({ ...decision, mapping: decision.mapping.digest() });
            }
            return decisions;
          },
        ),
      ),
    );
    for (const made of plans) assert.deepEqual(made, plans[0]);
    assert.equal(plans[0]![0]!.status, 'planned');
  }
});

test('what is kept is the same object, with its closed slots empty', () => {
  const { mapping } = plan({ slotsPerRank });
  const again = plan({ slotsPerRank, previous: mapping }, { price: 1e6 }, 2);
  assert.deepEqual(again, { status: 'kept', reason: 'under the price', mapping });
  assert.equal(again.mapping, mapping);
});

test('a rank that lost slots: what was only there moves, and nothing else, unless it pays', () => {
  const random = seededRandom(3);
  for (let run = 0; run < 200; run++) {
    const previous = liveMapping(sizes, run, false);
    const lost = [6, 6, 6, 6].map((slots) => slots - Math.floor(random() * 3));
    if (lost.every((slots) => slots === 6)) continue;
    const rows = previous.toJSON().phyToLog;
    const wanted = rows.map((row) => fewestMoves(row, { ...sizes, numExperts: 16, slotsPerRank: lost }));
    for (const options of [{ price: 1e6 }, { maxMoves: 0 }, { maxMovesPerLayer: 0, numKicks: 3 }]) {
      const decision = plan({ slotsPerRank: lost, previous }, options);
      assert.equal(decision.status, 'planned');
      assert.deepEqual([...decision.mapping.movesPerLayerFrom(previous, 4)], wanted);
      if (options.maxMoves === 0)
        assert.equal(
          decision.forecast?.moves,
          wanted.reduce((sum, moves) => sum + moves, 0),
        );
    }
  }
});

test('of an expert with a replica elsewhere the closed slot takes one, and no weights move', () => {
  const previous = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 0, 1]], 4);
  const one = { data: Float32Array.of(4, 4, 4, 4), numSamples: 1, numLayers: 1, numExperts: 4 };
  const repair = (slots: number[], options = {}) =>
    new AdaptiveEplbPolicy({ price: 1e6, ...options }).planExperts(one, 6, 1, 1, 2, {
      previous,
      slotsPerRank: slots,
    });
  const [spare, only, alone] = [repair([3, 2]), repair([2, 3]), repair([1, 3])].map(({ mapping }) => mapping);
  // Expert 1 is on rank 0 as well.
  assert.deepEqual(spare!.toJSON().phyToLog, [[0, 1, 2, 3, 0, -1]]);
  assert.equal(spare!.movesFrom(previous, 2), 0);
  // Expert 2 was only in the closed slot, but its rank has its weights at hand: it takes the slot of a spare replica there.
  assert.deepEqual(only!.toJSON().phyToLog, [[2, 1, -1, 3, 0, 1]]);
  assert.equal(only!.movesFrom(previous, 2), 0);
  assert.deepEqual(alone!.toJSON().phyToLog, [[2, -1, -1, 3, 0, 1]]);
  assert.equal(alone!.movesFrom(previous, 2), 0);
});

test('with no sample at all closed slots are emptied all the same, inline and in the pool', async () => {
  const previous = liveMapping(sizes, 4, false);
  const none = { data: new Float32Array(0), numSamples: 0, numLayers: 3, numExperts: 16 };
  const policy = new AdaptiveEplbPolicy();
  const inline = policy.planExperts(none, 24, 4, 2, 4, { previous, slotsPerRank });
  assert.equal(inline.status, 'planned');
  assertClosedEmpty(inline.mapping);
  const kept = policy.planExperts(none, 24, 4, 2, 4, { previous: inline.mapping, slotsPerRank });
  assert.deepEqual(kept, { status: 'kept', reason: 'no samples', mapping: inline.mapping });
  for (const threads of [0, 1]) {
    await withBalancer({ ...topology, policy, threads }, async (balancer) => {
      for (const options of [{ previous }, { previous, samples: none }]) {
        const decision = await balancer.decide(undefined, options);
        assert.equal(decision.status, 'planned');
        assert.ok(decision.mapping.equals(inline.mapping));
      }
      const live = balancer.mapping;
      assert.deepEqual(await balancer.decide(), { status: 'kept', reason: 'no samples', mapping: live });
    });
  }
});

test('a balancer plans from another mapping than its live one, whatever the loads come from', async () => {
  const previous = liveMapping(sizes, 5, false);
  const samples = makeSamples(sizes, 8, 1);
  const policy = new AdaptiveEplbPolicy();
  const { numLayers, numExperts } = samples;
  const expected = policy.planExperts(samples, 24, 4, 2, 4, { previous, slotsPerRank });
  for (const threads of [0, 2]) {
    await withBalancer({ ...topology, policy, threads, windowSize: 8 }, async (balancer) => {
      const given = await balancer.decide(undefined, { samples, previous });
      assert.deepEqual([given.status, given.mapping.digest()], ['planned', expected.mapping.digest()]);
      // The same steps, recorded per slot of the live mapping.
      for (let step = 0; step < 8; step++) {
        for (let layer = 0; layer < numLayers; layer++) {
          const first = (step * numLayers + layer) * numExperts;
          balancer.recordLogicalLoad(layer, samples.data.subarray(first, first + numExperts));
        }
        balancer.advanceWindow();
      }
      const mapping = await balancer.rebalance(undefined, { previous });
      assert.equal(mapping.digest(), expected.mapping.digest());
      assert.equal(balancer.mapping, mapping);
      const shape = refusal('range', 'EPLB_SHAPE', /^previous: is of 1 layers/);
      const other = ExpertMapping.fromPhysicalToLogical([[0, 1]]);
      await assert.rejects(balancer.plan(undefined, { previous: other }), shape);
      assert.throws(() => balancer.rebalanceSync(undefined, { previous: other }), shape);
    });
  }
});

test('the default policy reads the window by the live mapping, though it plans from another', async () => {
  const previous = liveMapping(sizes, 6, false);
  for (const threads of [0, 1]) {
    await withBalancer({ ...sizes, threads }, async (balancer) => {
      const loads = Float32Array.from({ length: 24 }, (_, slot) => (slot * 7) % 11);
      for (let layer = 0; layer < 3; layer++) balancer.recordLoad(layer, loads);
      balancer.advanceWindow();
      const weight = balancer.getAverageLogicalLoad();
      const expected = new DefaultEplbPolicy().rebalanceExperts(weight, 24, 4, 2, 4, { previous });
      assert.ok((await balancer.plan(undefined, { previous })).equals(expected));
    });
  }
});

test('groups stay on nodes that have room for them; a node without is refused at once', () => {
  const policy = new AdaptiveEplbPolicy({ locality: 'groups' });
  // Nodes of 9 and 9 slots for 8 experts each.
  const { mapping } = plan({ slotsPerRank }, { locality: 'groups', price: 0 });
  assertClosedEmpty(mapping);
  for (const row of mapping.toJSON().phyToLog) {
    const nodes = new Map<number, number>();
    for (const [slot, expert] of row.entries()) {
      if (expert < 0) continue;
      const group = Math.floor(expert / 4);
      assert.equal(nodes.get(group) ?? Math.floor(slot / 12), Math.floor(slot / 12));
      nodes.set(group, Math.floor(slot / 12));
    }
  }
  const tooFew = refusal(
    'range',
    'EPLB_TOPOLOGY',
    /^slotsPerRank: node 1 has 7 slots, too few for the 8 experts of its groups \(locality 'groups'\)/,
  );
  const few = { ...sizes, slotsPerRank: [6, 6, 4, 3] };
  assert.throws(() => new ExpertLoadBalancer({ ...few, policy }), tooFew);
  assert.throws(() => plan(few, { locality: 'groups' }), tooFew);
  // Without that option experts go anywhere.
  assert.equal(plan(few).status, 'planned');
});

test('policies of your own are told which slots are open, and a mapping that fills others is refused', async () => {
  class Fixed extends AbstractEplbPolicy {
    readonly name = 'fixed';
    told: readonly number[] | undefined;
    readonly #slot: number;
    constructor(slot: number) {
      super();
      this.#slot = slot;
    }
    override rebalanceExperts(..._args: Parameters<AbstractEplbPolicy['rebalanceExperts']>): ExpertMapping {
      const context = _args[5]!;
      this.told = context.slotsPerRank;
      const rows = context.previous!.toJSON().phyToLog;
      rows[2]![this.#slot] = 3;
      return ExpertMapping.fromPhysicalToLogical(rows, 16);
    }
  }
  const loads = new Array(3).fill(new Array(16).fill(1)) as number[][];
  const good = new Fixed(20);
  await withBalancer({ ...topology, policy: good }, async (balancer) => {
    const mapping = await balancer.rebalance(loads);
    assert.equal(mapping.getLogicalExpert(2, 20), 3);
    assert.deepEqual(good.told, slotsPerRank);
  });
  await withBalancer({ ...sizes, policy: good }, async (balancer) => {
    await balancer.plan(loads);
    assert.equal(good.told, undefined);
  });
  const closed =
    /^policy "\w+": its mapping: layer \d: slot \d+ holds expert \d+, but is closed: rank 1 has 3 slots/;
  await withBalancer({ ...topology, policy: new Fixed(10) }, async (balancer) => {
    await assert.rejects(balancer.plan(loads), refusal('other', 'EPLB_POLICY', closed));
  });
  await withBalancer({ ...topology, threads: 1, policy: policyUrl('open-slots.mjs') }, async (balancer) => {
    assertClosedEmpty(await balancer.plan(loads));
  });
  await withBalancer({ ...topology, threads: 1, policy: policyUrl('repeat.mjs') }, async (balancer) => {
    await assert.rejects(balancer.plan(loads), refusal('other', 'EPLB_POLICY', closed));
  });
});

test('loads of an empty slot count for no expert and in no average', async () => {
  await withBalancer(
    { ...topology, policy: new AdaptiveEplbPolicy(), threads: 0, windowSize: 2 },
    (balancer) => {
      const loads = Float32Array.from({ length: 24 }, (_, slot) => slot + 1);
      for (let step = 0; step < 5; step++) {
        for (let layer = 0; layer < 3; layer++) balancer.recordLoad(layer, loads);
        balancer.advanceWindow();
      }
      const table = balancer.mapping.phyToLog;
      const average = balancer.getAverageLoad().data;
      assert.deepEqual(
        [...average],
        [...table].map((expert, at) => (expert < 0 ? 0 : loads[at % 24]!)),
      );
      const experts = new Float32Array(3 * 16);
      for (const [at, expert] of table.entries()) {
        if (expert >= 0) experts[Math.floor(at / 24) * 16 + expert]! += loads[at % 24]!;
      }
      assert.deepEqual(balancer.getAverageLogicalLoad().data, experts);
      // Nor after another mapping has gone live.
      balancer.commit(
        ExpertMapping.fromPhysicalToLogical(balancer.mapping.toJSON().phyToLog.map(swapped), 16),
      );
      assert.deepEqual(balancer.getAverageLogicalLoad().data, experts);
    },
  );
});

function swapped(row: number[]): number[] {
  return [row[1]!, row[0]!, ...row.slice(2)];
}

test('a rank without slots is not taken for one without load where plans wait for a threshold', async () => {
  const options = { ...sizes, slotsPerRank: [6, 6, 0, 6], policy: new AdaptiveEplbPolicy() };
  for (const threads of [0, 1]) {
    await withBalancer({ ...options, threads }, async (balancer) => {
      const { mapping } = balancer;
      // Every slot that holds an expert has the same load: ranks 0, 1 and 3 are alike.
      for (let layer = 0; layer < 3; layer++) {
        const row = mapping.toJSON().phyToLog[layer]!;
        balancer.recordLoad(
          layer,
          row.map((expert) => (expert < 0 ? 0 : 5)),
        );
      }
      balancer.advanceWindow();
      const rebalancer = new AsyncExpertRebalancer({ balancer, loadThreshold: 1.5 });
      assert.equal(rebalancer.shouldRebalance(), false);
      const weight: LoadMatrix = balancer.getAverageLogicalLoad();
      const [layer] = layerBalances(weight, mapping, 4);
      assert.equal(layer!.minRankLoad, 0);
      assert.equal(balancedness(layer!), 0.75);
    });
  }
});
