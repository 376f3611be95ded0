import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  AsyncExpertRebalancer,
  CoactivationRecorder,
  computeBalancedPacking,
  computeExpertReplication,
  computeLoadImbalance,
  connectBalancer,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  ExpertMapping,
  type LoadMatrix,
  type LoadSamples,
  LocalityAwarePolicy,
  layerBalances,
  shareBalancer,
} from 'expert-load-balancer';
import { refusal, stateOf, withBalancer } from '../helpers/library.ts';

// What is given is read once: what is checked is what is used, whatever a getter or another owner of the
// memory makes of it later.

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, windowSize: 3 };
const ROWS = [
  [1, 2, 3, 4],
  [8, 7, 6, 5],
];
const PREVIOUS = ExpertMapping.fromPhysicalToLogical([0, 1].map(() => [0, 1, 2, 3, 0, 1]));

/** The same object or array, each property of which can be read once. */
function once<T extends object>(target: T): T {
  const read = new Set<PropertyKey>();
  return new Proxy(target, {
    get(_, key) {
      assert.ok(typeof key === 'symbol' || !read.has(key), `${String(key)} was read twice`);
      read.add(key);
      return Reflect.get(target, key);
    },
  });
}

const onceNested = () => once(ROWS.map((row) => once([...row])));
const flat = (data: Float32Array = Float32Array.from(ROWS.flat())): LoadMatrix => ({
  data,
  numLayers: 2,
  numExperts: 4,
});
const onceSamples = (): LoadSamples =>
  once({
    ...flat(),
    data: new Float32Array(24).fill(1),
    numSamples: 3,
    stepsPerSample: 1,
    newestShare: 1,
    numSingles: 0,
  });
const onceCoactivation = () => once({ data: new Float32Array(32).fill(1), numLayers: 2, numExperts: 4 });
const syncOptions = () => ({
  coactivation: onceCoactivation(),
  samples: onceSamples(),
  previous: PREVIOUS,
});
const onceSyncOptions = () => once(syncOptions());
const oncePlanOptions = () => once({ ...syncOptions(), signal: new AbortController().signal });
const onceContext = () =>
  once({ previous: PREVIOUS, coactivation: onceCoactivation(), slotsPerRank: undefined } as never);

test('options of a balancer and its parts are read once', async () => {
  const policy = new AdaptiveEplbPolicy(
    once({
      price: 0.01,
      maxMovesPerLayer: 3,
      maxMoves: 5,
      maxBytes: 1e12,
      maxEvaluations: 100,
      numKicks: 1,
      locality: 'none' as const,
      confidence: 1,
      cost: once({
        secondsPerLoad: 1e-6,
        stepsPerPlan: 10,
        bytesPerExpert: 10,
        bandwidthWithinNode: 10,
        bandwidthBetweenNodes: 10,
      }),
      rememberedSteps: 3,
      maxSamples: 2,
    }),
  );
  const options = { ...SIZES, numNodes: 1, numGroups: 1, threads: 0, policy, slotsPerRank: once([3, 2]) };
  const balancer = new ExpertLoadBalancer(once(options));
  assert.deepEqual(balancer.topology.slotsPerRank, [3, 2]);
  new AsyncExpertRebalancer(once({ balancer, rebalanceInterval: 10, loadThreshold: 2, autoCommit: true }));
  new LocalityAwarePolicy(once({ tolerance: 0.1, maxEvaluations: 10 }));
  new CoactivationRecorder(once({ numLayers: 1, numExperts: 2 }));
  const connected = await connectBalancer(shareBalancer(balancer), once({ timeoutMs: 10_000 }));
  connected.close();
  await balancer.close();
});

test('rows of loads are read once', async () => {
  const balancer = new ExpertLoadBalancer({ ...SIZES, threads: 0 });
  const connected = await connectBalancer(shareBalancer(balancer));
  for (const recorder of [balancer, connected]) {
    recorder.recordLoad(0, once([1, 2, 3, 4, 5, 6]));
    recorder.recordLogicalLoad(1, once([1, 2, 3, 4]));
    const bad = refusal('range', 'EPLB_LOAD', /layer 0, index 3: -4 is not/);
    assert.throws(() => recorder.recordLoad(0, once([1, 2, 3, -4, 5, 6])), bad);
    const large = once([3e38, 0, 0, 0]);
    recorder.recordLogicalLoad(0, large);
    const sum = refusal('range', 'EPLB_LOAD', /layer 0, index 1: .*together/);
    recorder.recordLogicalLoad(0, once([0, 3e38, 0, 0]));
    assert.throws(() => recorder.recordLogicalLoad(0, once([0, 3e38, 0, 0])), sum);
  }
  assert.equal(computeLoadImbalance(once([1, 2, 4])), 4);
  connected.close();
  await balancer.close();
});

test('loads, samples and what accompanies a plan are read once', async () => {
  for (const weight of [onceNested, () => once(flat()), () => once(flat(shared(ROWS.flat())))]) {
    computeBalancedPacking(weight(), 2);
    computeExpertReplication(weight(), 6);
    layerBalances(weight(), PREVIOUS, 2);
    new DefaultEplbPolicy().rebalanceExperts(weight(), 6, 1, 1, 2, onceContext());
    new LocalityAwarePolicy().rebalanceExperts(weight(), 6, 1, 1, 2, onceContext());
    new AdaptiveEplbPolicy().rebalanceExperts(weight(), 6, 1, 1, 2, onceContext());
    for (const policy of [new DefaultEplbPolicy(), new LocalityAwarePolicy(), new AdaptiveEplbPolicy()]) {
      for (const threads of [0, 1]) {
        await withBalancer({ ...SIZES, threads, policy }, async (balancer) => {
          await balancer.plan(weight(), oncePlanOptions());
          balancer.rebalanceSync(weight(), onceSyncOptions());
        });
      }
    }
  }
  new AdaptiveEplbPolicy().planExperts(onceSamples(), 6, 1, 1, 2, onceContext());
  const closed = once({ previous: PREVIOUS, slotsPerRank: once([3, 2]) });
  const none = { data: new Float32Array(0), numSamples: 0, numLayers: 2, numExperts: 4 };
  new AdaptiveEplbPolicy().planExperts(once(none), 6, 1, 1, 2, closed);
});

function shared(values: readonly number[], maxLength = values.length): Float32Array {
  const options = { maxByteLength: 4 * maxLength };
  const buffer = Reflect.construct(SharedArrayBuffer, [4 * values.length, options]) as SharedArrayBuffer;
  const array = new Float32Array(buffer);
  array.set(values);
  return array;
}

/** An array whose length is that of its memory, which `resize` changes. */
function resizable(values: readonly number[]): { array: Float32Array; resize(length: number): void } {
  const buffer = Reflect.construct(ArrayBuffer, [4 * values.length, { maxByteLength: 4096 }]) as ArrayBuffer;
  const array = new Float32Array(buffer);
  array.set(values);
  return { array, resize: (length) => Reflect.apply(Reflect.get(buffer, 'resize'), buffer, [4 * length]) };
}

/** A balancer in the middle of its work, whose window lies behind the plans' memory. */
function used(options: object): ExpertLoadBalancer {
  const balancer = new ExpertLoadBalancer({ ...SIZES, ...options });
  for (let step = 0; step < 5; step++) {
    balancer.recordLoad(0, [1, 2, 3, 4, 5, step]);
    balancer.recordLogicalLoad(1, [1, 2, 3, step]);
    balancer.advanceWindow();
  }
  balancer.recordLoad(1, [1, 2, 3, 4, 5, 6]);
  return balancer;
}

test('memory that grows or shrinks while it is read is refused, or read as it was', async () => {
  const expected = new DefaultEplbPolicy().rebalanceExperts(ROWS, 6, 1, 1, 2, { previous: PREVIOUS });
  for (const length of [0, 1, 7, 1000]) {
    for (const threads of [0, 1]) {
      const balancer = used({ threads });
      const before = stateOf(balancer);
      for (const key of ['numLayers', 'numExperts'] as const) {
        const { array, resize } = resizable(ROWS.flat());
        const weight = {
          ...flat(array),
          get [key]() {
            resize(length);
            return key === 'numLayers' ? 2 : 4;
          },
        };
        const isShrunk = length < 8;
        const check = (mapping: ExpertMapping) => {
          assert.ok(!isShrunk, `${key} made it shrink to ${length}`);
          assert.ok(mapping.equals(expected));
        };
        const options = { previous: PREVIOUS };
        await balancer.plan(weight, options).then(check, refusedAsShrunk(isShrunk));
        assert.deepEqual(stateOf(balancer), before);
      }
      await balancer.close();
    }
  }
});

function refusedAsShrunk(isShrunk: boolean): (error: unknown) => void {
  return (error) => {
    assert.ok(isShrunk, String(error));
    refusal('range', 'EPLB_SHAPE', /weight/)(error);
  };
}

test('a context that makes the loads shrink has its plan refused', () => {
  for (const [policy, message] of [
    [new DefaultEplbPolicy(), /weight\.data: has 0 values, not 8/],
    [new LocalityAwarePolicy(), /samples\.data: has 0 loads, not 8/],
  ] as const) {
    const { array, resize } = resizable(ROWS.flat());
    const context = {
      get previous() {
        resize(5);
        return PREVIOUS;
      },
    };
    const plan = () => policy.rebalanceExperts(flat(array), 6, 1, 1, 2, context);
    assert.throws(plan, refusal('range', 'EPLB_SHAPE', message));
  }
  // Samples are copied before all else is read.
  const { array, resize } = resizable(new Array(24).fill(1));
  const slotsPerRank = new Proxy([3, 3], {
    get: (target, key) => {
      resize(0);
      return Reflect.get(target, key);
    },
  });
  const samples = { ...flat(array), numSamples: 3 };
  new AdaptiveEplbPolicy().planExperts(samples, 6, 1, 1, 2, { slotsPerRank });
});

test('memory that is resized after the call does not reach the plan, or ends it with an error', async () => {
  for (const policy of [new DefaultEplbPolicy(), new LocalityAwarePolicy(), new AdaptiveEplbPolicy()]) {
    for (const threads of [0, 2]) {
      const balancer = used({ threads, policy });
      const before = stateOf(balancer);
      const expected = await balancer.plan(ROWS);
      const growing = shared(ROWS.flat(), 1000);
      const weight = resizable(ROWS.flat());
      const samples = resizable(new Array(24).fill(1));
      const coactivation = resizable(new Array(32).fill(1));
      const options = { samples: { ...flat(samples.array), numSamples: 3 } };
      const plans = Promise.allSettled([
        balancer.plan(flat(growing)),
        balancer.plan(flat(weight.array)),
        balancer.plan(flat(weight.array), options),
        // The one thing that is neither shared nor copied: it must not be written.
        balancer.plan(flat(weight.array), { coactivation: flat(coactivation.array) }),
      ]);
      Reflect.apply(Reflect.get(growing.buffer, 'grow'), growing.buffer, [4000]);
      for (const { resize } of [weight, samples, coactivation]) resize(3);
      const [first, second, third, last] = await plans;
      for (const plan of [first, second]) {
        assert.equal(plan.status, 'fulfilled');
        assert.ok(plan.value.equals(expected));
      }
      assert.equal(third.status, 'fulfilled');
      if (last.status === 'rejected') assert.match(last.reason.code, /^EPLB_(SHAPE|WORKER_LOST)$/);
      assert.deepEqual(stateOf(balancer), before);
      await balancer.close();
    }
  }
});

/** Says of itself whatever suits it. */
class Liar extends Float32Array {
  override get length(): number {
    return 6;
  }
  override slice(): Float32Array<ArrayBuffer> {
    return new Float32Array(1000);
  }
  override subarray(): Float32Array<ArrayBuffer> {
    return new Float32Array(1000);
  }
  override set(): void {}
  override get buffer(): ArrayBuffer {
    return new ArrayBuffer(4);
  }
  override get byteOffset(): number {
    return 2;
  }
  override [Symbol.iterator](): ArrayIterator<number> {
    return [Number.NaN].values() as ArrayIterator<number>;
  }
  static get [Symbol.species](): Float32ArrayConstructor {
    return Float64Array as unknown as Float32ArrayConstructor;
  }
}

test('typed arrays are taken for what they are, whatever they say', async () => {
  const balancer = used({ threads: 0 });
  const before = stateOf(balancer);
  const liar = (values: readonly number[]) => new Liar(Float32Array.from(values).buffer);
  for (const length of [5, 7, 1000]) {
    const row = new Liar(length);
    assert.throws(() => balancer.recordLoad(0, row), refusal('range', 'EPLB_SHAPE', /has \d+ loads, not 6/));
  }
  const property = Object.defineProperty(new Float32Array(1000), 'length', { value: 6 });
  assert.throws(
    () => balancer.recordLoad(0, property),
    refusal('range', 'EPLB_SHAPE', /has 1000 loads, not 6/),
  );
  assert.throws(
    () => balancer.recordLoad(0, new Proxy(new Float32Array(6), {})),
    refusal('type', 'EPLB_KIND', /layer 0: an object is not/),
  );
  assert.throws(
    () => balancer.recordLoad(0, Object.create(Float32Array.prototype)),
    refusal('type', 'EPLB_KIND', /layer 0/),
  );
  assert.deepEqual(stateOf(balancer), before);
  const loads = flat(liar(ROWS.flat()));
  const samples = { ...flat(liar(new Array(24).fill(1))), numSamples: 3 };
  const coactivation = { ...flat(liar(new Array(32).fill(1))) };
  for (const policy of [new DefaultEplbPolicy(), new LocalityAwarePolicy(), new AdaptiveEplbPolicy()]) {
    const honest = {
      samples: { ...flat(new Float32Array(24).fill(1)), numSamples: 3 },
      coactivation: flat(new Float32Array(32).fill(1)),
    };
    for (const threads of [0, 1]) {
      await withBalancer({ ...SIZES, threads, policy }, async (other) => {
        const expected = await other.plan(flat(), honest);
        assert.ok((await other.plan(loads, { samples, coactivation })).equals(expected));
        assert.ok(other.rebalanceSync(loads, { samples, coactivation }).equals(expected));
      });
    }
  }
  await balancer.close();
});

test('a policy that wants more samples than its kernel has room for gets as many as fit', async () => {
  class Greedy extends AdaptiveEplbPolicy {
    override readonly maxSamples: number = 64;
  }
  const policy = new Greedy({ maxSamples: 2, rememberedSteps: 64 });
  for (const threads of [0, 1]) {
    const balancer = used({ threads, policy, windowSize: 64 });
    for (let step = 0; step < 64; step++) {
      for (const layer of [0, 1]) balancer.recordLoad(layer, [1, 200, 3, 40, 5, step]);
      balancer.advanceWindow();
    }
    const before = stateOf(balancer);
    await balancer.plan();
    assert.deepEqual(stateOf(balancer), before);
    await balancer.close();
  }
});

test('samples that a policy wants are a whole number', () => {
  for (const key of ['maxSamples', 'rememberedSteps'] as const) {
    for (const [value, kind, code] of [
      [1.5, 'range', 'EPLB_NOT_WHOLE'],
      [-1, 'range', 'EPLB_RANGE'],
      [Number.NaN, 'range', 'EPLB_NOT_WHOLE'],
      ['4', 'type', 'EPLB_KIND'],
    ] as const) {
      const policy = { name: 'odd', rebalanceExperts: () => PREVIOUS, [key]: value } as never;
      const make = () => new ExpertLoadBalancer({ ...SIZES, threads: 0, policy });
      assert.throws(make, refusal(kind, code, new RegExp(`policy\\.${key}: `)));
    }
  }
});

test('a mapping that lies about its shape is refused', async () => {
  class Other extends ExpertMapping {
    override get numLayers(): number {
      return 2;
    }
    override get numPhysicalExperts(): number {
      return 6;
    }
    override get numLogicalExperts(): number {
      return 4;
    }
  }
  const rows = Array.from({ length: 50 }, () => [0, 1, 2, 3, 0, 1, 2, 3]);
  const mapping = new Other({ phyToLog: rows });
  for (const threads of [0, 1]) {
    const balancer = used({ threads });
    const before = stateOf(balancer);
    const wrong = refusal('range', 'EPLB_SHAPE', /50 layers x 4 experts in 8 slots, not 2 layers/);
    assert.throws(() => balancer.commit(mapping), wrong);
    await assert.rejects(balancer.plan(ROWS, { previous: mapping }), wrong);
    assert.deepEqual(stateOf(balancer), before);
    await balancer.close();
  }
});

test('options of a plan that are none, and a signal that is none, are refused', async () => {
  const balancer = used({ threads: 0 });
  for (const options of [null, 7, 'text'] as never[]) {
    await assert.rejects(balancer.plan(ROWS, options), refusal('type', 'EPLB_KIND', /^options: /));
    await assert.rejects(connectBalancer(new MessageChannel().port1 as never, options), {
      code: 'EPLB_KIND',
    });
  }
  for (const signal of [null, 7, {}, { aborted: false }] as never[]) {
    await assert.rejects(balancer.plan(ROWS, { signal }), refusal('type', 'EPLB_KIND', /^signal: /));
  }
  await balancer.close();
});

test('the sizes of a balancer cannot be changed', () => {
  const { topology } = new ExpertLoadBalancer({ ...SIZES, threads: 0, slotsPerRank: undefined as never });
  assert.throws(() => Object.assign(topology, { numLayers: 1000 }), TypeError);
});
