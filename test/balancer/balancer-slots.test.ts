import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  AsyncExpertRebalancer,
  balancedness,
  connectBalancer,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  ExpertMapping,
  layerBalances,
  shareBalancer,
} from 'expert-load-balancer';
import { liveMapping } from '../helpers/adaptive.ts';
import { refusal, withBalancer } from '../helpers/library.ts';
import { assertClosedEmpty, sizes, slotsPerRank, topology } from '../helpers/slots.ts';

const policyUrl = (file: string) => new URL(`../fixtures/policies/${file}`, import.meta.url);

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

test('a balancer begins with empty closed slots; later writes to its options change nothing', () => {
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

test('the default policy fills all slots and refuses closed ones, from a balancer and when asked', () => {
  const policy = new DefaultEplbPolicy();
  const message =
    /^slotsPerRank: the default policy cannot plan for closed slots; policies that can plan this: locality, adaptive$/;
  const refused = refusal('range', 'EPLB_TOPOLOGY', message);
  assert.throws(() => new ExpertLoadBalancer({ ...topology, policy }), refused);
  assert.throws(() => new ExpertLoadBalancer(topology), refused);
  const plan = () => policy.rebalanceExperts([new Array(16).fill(1)], 24, 4, 2, 4, { slotsPerRank });
  assert.throws(
    plan,
    refusal('range', 'EPLB_TOPOLOGY', /^slotsPerRank: the default policy cannot plan for closed slots/),
  );
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

test('custom policies are told which slots are open; a mapping that fills others is refused', async () => {
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
      const weight = balancer.getAverageLogicalLoad();
      const [layer] = layerBalances(weight, mapping, 4);
      assert.equal(layer!.minRankLoad, 0);
      assert.equal(balancedness(layer!), 0.75);
    });
  }
});

test('a connected thread reads, records and plans with closed slots', async () => {
  const balancer = new ExpertLoadBalancer({
    ...topology,
    policy: new AdaptiveEplbPolicy({ price: 0 }),
    threads: 0,
  });
  const connected = await connectBalancer(shareBalancer(balancer));
  assert.deepEqual(connected.topology, topology);
  assertClosedEmpty(connected.mapping);
  assert.deepEqual(connected.mapping.logToPhy, balancer.mapping.logToPhy);
  const loads = Float32Array.from({ length: 24 }, (_, slot) => slot + 1);
  for (let layer = 0; layer < 3; layer++) connected.recordLoad(layer, loads);
  await connected.advanceWindow();
  const table = balancer.mapping.phyToLog;
  const expected = [...table].map((expert, at) => (expert < 0 ? 0 : loads[at % 24]!));
  assert.deepEqual([...balancer.getAverageLoad().data], expected);
  const before = connected.mapping;
  const mapping = await connected.rebalance();
  assertClosedEmpty(mapping);
  assert.ok(mapping.equals(balancer.mapping) && !mapping.equals(before));
  connected.close();
  await balancer.close();
});
