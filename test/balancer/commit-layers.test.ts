import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  type CommitOptions,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  ExpertMapping,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED, stateOf, withBalancer } from '../helpers/library.ts';

const sizes = { numLayers: 4, numLogicalExperts: 6, numPhysicalExperts: 9, numRanks: 3 } as const;
const { numLayers, numLogicalExperts, numPhysicalExperts } = sizes;
const isStale = refusal('other', 'EPLB_STALE', /generation \d+, but \d+ is live/);
const ALL = [0, 1, 2, 3];

/** A mapping made elsewhere; its slots are in turn one of many. */
function hostMapping(random: () => number): ExpertMapping {
  const row = () => {
    const slots = [...Array(numLogicalExperts).keys()];
    while (slots.length < numPhysicalExperts) slots.push(Math.floor(random() * numLogicalExperts));
    for (let i = slots.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [slots[i], slots[j]] = [slots[j]!, slots[i]!];
    }
    return slots;
  };
  return ExpertMapping.fromPhysicalToLogical(Array.from({ length: numLayers }, row), numLogicalExperts);
}

function rowsOf(mapping: ExpertMapping): number[][] {
  return mapping.toJSON().phyToLog;
}

/** What a plan was made from, and what is live since layers of it went live. */
interface MadeFrom {
  readonly generation: number;
  now: number;
}

/** What commits of layers promise, in plain code. */
class Model {
  rows: number[][];
  generation = 0;
  numSteps = 0;
  /** Loads of experts in all steps, as the mapping that was live made them: the window has them all. */
  readonly sums = Array.from({ length: numLayers }, () => new Array<number>(numLogicalExperts).fill(0));
  readonly plans = new Map<ExpertMapping, MadeFrom>();
  /** The mapping of each layer. */
  layers: ExpertMapping[];
  readonly wasLive = new Set<ExpertMapping>();

  constructor(first: ExpertMapping) {
    this.rows = rowsOf(first);
    this.layers = ALL.map(() => first);
  }

  record(layer: number, slots: readonly number[]): void {
    for (const [slot, load] of slots.entries()) this.sums[layer]![this.rows[layer]![slot]!]! += load;
  }

  isStale(mapping: ExpertMapping, from: number | undefined): boolean {
    const plan = this.plans.get(mapping);
    const now = plan === undefined || (from !== undefined && from !== plan.generation) ? from : plan.now;
    return now !== undefined && now !== this.generation;
  }

  /** @returns false when it changes nothing */
  commit(mapping: ExpertMapping, layers: readonly number[], from: number | undefined): boolean {
    if (layers.every((layer) => this.layers[layer] === mapping)) return false;
    const isCarriedOn = !this.isStale(mapping, from);
    for (const layer of layers) {
      this.layers[layer] = mapping;
      this.rows[layer] = rowsOf(mapping)[layer]!;
    }
    this.generation++;
    const plan = this.plans.get(mapping);
    if (this.layers.every((other) => other === mapping)) this.plans.delete(mapping);
    else if (plan !== undefined && isCarriedOn) plan.now = this.generation;
    return true;
  }
}

/** What the runs came to. */
const seen = new Set<string>();

async function perform(acts: readonly string[], seed: number): Promise<void> {
  const random = seededRandom(seed);
  const below = (end: number) => Math.floor(random() * end);
  const options = { ...sizes, windowSize: 1000, threads: 0, policy: new DefaultEplbPolicy() };
  let balancer = new ExpertLoadBalancer(options);
  let model = new Model(balancer.mapping);
  let held: ExpertMapping[] = [];
  const commit = (how: string) => {
    const mapping = held[below(held.length)] ?? hostMapping(random);
    const layers = how === 'whole' ? ALL : ALL.filter(() => random() < 0.4);
    if (layers.length === 0) layers.push(below(numLayers));
    layers.reverse();
    const from = random() < 0.3 ? below(model.generation + 1) : undefined;
    const force = random() < 0.1;
    const given: CommitOptions = { ...(from === undefined ? {} : { from }), ...(force ? { force } : {}) };
    const run = () =>
      how === 'whole' ? balancer.commit(mapping, given) : balancer.commitLayers(mapping, layers, given);
    if (!force && model.isStale(mapping, from)) {
      const before = stateOf(balancer);
      assert.throws(run, isStale);
      assert.deepEqual(stateOf(balancer), before);
      seen.add(`${how} stale`);
      return;
    }
    const isStarted = model.layers.includes(mapping);
    const isNew = model.commit(mapping, layers, from);
    run();
    seen.add(`${how} ${isNew ? (isStarted ? 'carried on' : 'live') : 'unchanged'}`);
    if (model.layers.every((other) => other === mapping)) assert.equal(balancer.mapping, mapping);
  };
  for (const act of acts) {
    const layer = below(numLayers);
    if (act === 'record') {
      const loads = Array.from({ length: numPhysicalExperts }, () => below(50));
      balancer.recordLoad(layer, loads);
      model.record(layer, loads);
    } else if (act === 'advance') {
      balancer.advanceWindow();
      model.numSteps++;
    } else if (act === 'plan') {
      const { mapping, status, generation } = await balancer.decide();
      if (status !== 'planned') continue;
      model.plans.set(mapping, { generation, now: generation });
      held.push(mapping);
    } else if (act === 'host') held.push(hostMapping(random));
    else if (act === 'restore') {
      // The step being recorded goes along; handles of plans do not.
      const next = new ExpertLoadBalancer({ ...options, policy: new DefaultEplbPolicy() });
      next.restore(balancer.snapshot());
      assert.deepEqual(next.snapshot(), balancer.snapshot());
      await balancer.close();
      const { rows, numSteps, sums } = model;
      model = Object.assign(new Model(next.mapping), { rows, numSteps, sums });
      model.generation = next.generation;
      balancer = next;
      held = [];
    } else commit(act);
    assert.equal(balancer.generation, model.generation);
    assert.deepEqual(rowsOf(balancer.mapping), model.rows);
    assert.equal(balancer.numSamples, model.numSteps);
  }
  balancer.advanceWindow();
  const { data } = balancer.getAverageLogicalLoad();
  const expected = model.sums.flat().map((sum) => Math.fround(sum / (model.numSteps + 1)));
  assert.deepEqual(Array.from(data), expected);
  await balancer.close();
}

test('whatever layers are committed, mapping, generation and loads are those of the model', async () => {
  const acts = fc.constantFrom(
    ...['record', 'record', 'advance', 'plan', 'host', 'layers', 'layers', 'layers', 'whole', 'restore'],
  );
  await fc.assert(
    fc.asyncProperty(fc.array(acts, { minLength: 10, maxLength: 50, size: 'max' }), fc.nat(), perform),
    { numRuns: 120, seed: SEED },
  );
  const ends = ['live', 'stale', 'unchanged', 'carried on'];
  const expected = ['layers', 'whole'].flatMap((how) => ends.map((end) => `${how} ${end}`));
  assert.deepEqual([...seen].sort(), expected.sort());
});

/** Records steps that are alike, but for chance. */
function record(balancer: ExpertLoadBalancer, numSteps: number, seed: number, shift = 0): void {
  const random = seededRandom(seed);
  for (let step = 0; step < numSteps; step++) {
    for (const layer of ALL) {
      const loads = Array.from({ length: numLogicalExperts }, (_, expert) =>
        Math.floor((2000 / (1 + ((expert + layer + shift) % numLogicalExperts))) * (0.95 + 0.1 * random())),
      );
      balancer.recordLogicalLoad(layer, loads);
    }
    balancer.advanceWindow();
  }
}

const adaptive = (threads = 0) => ({
  ...{ ...sizes, windowSize: 16, threads },
  policy: new AdaptiveEplbPolicy({ rememberedSteps: 16 }),
});

test('a plan that goes live layer by layer leaves what it leaves as a whole', async () => {
  for (const steps of [[[0, 1, 2, 3]], [[2], [0, 3], [1]], [[3], [2], [1], [0]]]) {
    await withBalancer(adaptive(), (whole) =>
      withBalancer(adaptive(), async (stepwise) => {
        for (const balancer of [whole, stepwise]) record(balancer, 8, 1);
        const mapping = await whole.plan();
        whole.commit(mapping);
        const same = await stepwise.decide();
        for (const layers of steps) stepwise.commitLayers(same.mapping, layers, { from: same.generation });
        assert.equal(stepwise.mapping, same.mapping);
        assert.equal(stepwise.generation, steps.length);
        assert.deepEqual(stepwise.snapshot(), whole.snapshot());
        for (const balancer of [whole, stepwise]) record(balancer, 5, 2);
        assert.deepEqual(await reasonOf(stepwise), await reasonOf(whole));
        assert.equal((await stepwise.decide()).status, 'kept');
      }),
    );
  }
});

/** What a balancer decides, without what differs in any case. */
async function reasonOf(balancer: ExpertLoadBalancer): Promise<unknown> {
  const { generation: _generation, mapping, ...decision } = await balancer.decide();
  return { ...decision, digest: mapping.digest() };
}

test('layers that were not committed are planned as before, and the others are known', async () => {
  for (const threads of [0, 1]) {
    await withBalancer(adaptive(threads), async (balancer) => {
      record(balancer, 8, 1);
      const first = await balancer.plan();
      balancer.commitLayers(first, [0, 2]);
      // For the same loads: what is left is planned as the first time, what is live stays.
      const next = await balancer.plan();
      assert.deepEqual(rowsOf(next), rowsOf(first));
      balancer.commitLayers(next, [1, 3]);
      assert.deepEqual(rowsOf(balancer.mapping), rowsOf(first));
      assert.notEqual(balancer.mapping, first);
      record(balancer, 4, 2);
      const decision = await balancer.decide();
      assert.equal(decision.status === 'kept' && decision.reason, 'within noise');
      // Loads that have changed are planned for in all layers.
      record(balancer, 16, 3, 3);
      const changed = await balancer.plan();
      for (const layer of ALL) assert.notDeepEqual(rowsOf(changed)[layer], rowsOf(first)[layer]);
    });
  }
});

test('a layer that is committed does not make the others forget how long they are live', async () => {
  await withBalancer(adaptive(), async (balancer) => {
    record(balancer, 12, 1);
    const first = await balancer.plan();
    balancer.commit(first);
    record(balancer, 16, 3, 3);
    balancer.commitLayers(hostMapping(seededRandom(1)), [3]);
    const changed = await balancer.plan();
    for (const layer of [0, 1, 2]) assert.notDeepEqual(rowsOf(changed)[layer], rowsOf(first)[layer]);
  });
});

test('what is remembered layer by layer goes through a snapshot, and a rollback brings it back', async () => {
  await withBalancer(adaptive(), async (balancer) => {
    record(balancer, 8, 1);
    const first = await balancer.plan();
    balancer.commitLayers(first, [1]);
    const mixed = balancer.mapping;
    record(balancer, 3, 2);
    const before = await reasonOf(balancer);
    await withBalancer(adaptive(), async (restored) => {
      restored.restore(balancer.snapshot());
      assert.deepEqual(restored.snapshot(), balancer.snapshot());
      assert.deepEqual(await reasonOf(restored), before);
    });
    balancer.commit(first, { force: true });
    balancer.commit(mixed);
    assert.deepEqual(await reasonOf(balancer), before);
  });
});

test('layers that are none are refused, and nothing changes', async () => {
  await withBalancer({ ...sizes, threads: 0 }, (balancer) => {
    const mapping = hostMapping(seededRandom(1));
    const before = stateOf(balancer);
    const refuses = (layers: unknown, ...expected: Parameters<typeof refusal>) =>
      assert.throws(() => balancer.commitLayers(mapping, layers as number[]), refusal(...expected));
    refuses([4], 'range', 'EPLB_LAYER', /layers: layer: 4 is not from 0 to 3/);
    refuses([0, -1], 'range', 'EPLB_LAYER', /-1/);
    refuses([1, 2, 1], 'range', 'EPLB_LAYER', /layers: 1 is named twice/);
    refuses([0.5], 'range', 'EPLB_NOT_WHOLE', /0\.5/);
    refuses(new Array(1), 'type', 'EPLB_KIND', /undefined/);
    refuses(['0'], 'type', 'EPLB_KIND', /"0"/);
    refuses([], 'range', 'EPLB_SHAPE', /layers: none is named/);
    for (const none of [undefined, null, 1, '01', new Set([1])])
      refuses(none, 'type', 'EPLB_KIND', /is not an array of layers/);
    const other = ExpertMapping.fromPhysicalToLogical([[0, 1, 2]]);
    assert.throws(() => balancer.commitLayers(other, [0]), refusal('range', 'EPLB_SHAPE', /mapping/));
    assert.throws(
      () => balancer.commitLayers(mapping, [0], { from: -1 }),
      refusal('range', 'EPLB_RANGE', /from: -1/),
    );
    assert.deepEqual(stateOf(balancer), before);
  });
});

test('a closed balancer commits no layers', async () => {
  const balancer = new ExpertLoadBalancer({ ...sizes, threads: 0 });
  await balancer.close();
  const mapping = hostMapping(seededRandom(1));
  assert.throws(() => balancer.commitLayers(mapping, [0]), refusal('other', 'EPLB_CLOSED', /closed/));
});
