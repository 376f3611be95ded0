import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MessageChannel, Worker } from 'node:worker_threads';
import { connectBalancer, ExpertLoadBalancer, ExpertMapping, shareBalancer } from 'expert-load-balancer';
import { FLOAT32_MAX } from '../helpers/arbitraries.ts';

const SIZES = { numLayers: 4, numLogicalExperts: 16, numPhysicalExperts: 24, numRanks: 4 };

/** The mapping whose slots are the experts from `shift` on, around and around. */
function rotated(shift: number): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = SIZES;
  const row = Array.from({ length: numPhysicalExperts }, (_, slot) => (slot + shift) % numLogicalExperts);
  return ExpertMapping.fromPhysicalToLogical(
    Array.from({ length: numLayers }, () => row),
    numLogicalExperts,
  );
}

interface Report {
  tokens: Float64Array;
  numMappings: number;
  numBroken: number;
  numMixed: number;
  numRecords: number;
}

test('two threads record while mappings and layers go live: each load counts once', async () => {
  const windowSize = 100_000;
  const balancer = new ExpertLoadBalancer({ ...SIZES, windowSize, threads: 0 });
  // Whether to stop; and how many mappings each thread has seen.
  const words = new Int32Array(new SharedArrayBuffer(12));
  const recorders = ['physical', 'logical'].map((mode, index) => {
    const port = shareBalancer(balancer);
    const sizes = { numLayers: SIZES.numLayers, numPhysical: 24, numLogical: 16 };
    const workerData = { port, stopWord: words.buffer, mode, index, ...sizes };
    const url = new URL('../fixtures/share/recorder.mjs', import.meta.url);
    const worker = new Worker(url, { workerData, transferList: [port], execArgv: [] });
    return { worker, ready: once(worker, 'message') };
  });
  await Promise.all(recorders.map(({ ready }) => ready));
  const reports = recorders.map(async ({ worker }) => (await once(worker, 'message'))[0] as Report);
  const exits = recorders.map(({ worker }) => once(worker, 'exit'));

  // Further steps where a thread got little of the processor, and saw few of them.
  const hasSeenFew = () => Math.min(Atomics.load(words, 1), Atomics.load(words, 2)) <= 10;
  for (let step = 0; step < 3000 || (step < windowSize - 1 && hasSeenFew()); step++) {
    // As recorder.mjs knows: in turn one layer, and all.
    const generation = step + 1;
    if (generation % 2 === 0) balancer.commitLayers(rotated(generation % 16), [(generation / 2) % 4]);
    else balancer.commit(rotated(generation % 16));
    balancer.advanceWindow();
    if (step % 8 === 0) await nextTurn();
  }
  Atomics.store(words, 0, 1);
  const done = await Promise.all(reports);
  await Promise.all(exits);
  await nextTurn();
  balancer.advanceWindow();

  const { data } = balancer.getAverageLogicalLoad();
  const counted = Array.from(data, (mean) => Math.round(mean * balancer.numSamples));
  const recorded = Array.from(done[0]!.tokens, (tokens, i) => tokens + done[1]!.tokens[i]!);
  assert.deepEqual(counted, recorded);
  for (const { numBroken, numMappings, numMixed, numRecords } of done) {
    assert.equal(numBroken, 0);
    assert.ok(numMixed > 0, 'saw layers that were committed alone');
    assert.ok(numMappings > 10, `saw ${numMappings} mappings`);
    assert.ok(numRecords >= 1000);
  }
  await balancer.close();
});

test('a connected thread can advance, rebalance and read the result', async () => {
  const balancer = new ExpertLoadBalancer({ ...SIZES, threads: 0 });
  const connected = await connectBalancer(shareBalancer(balancer));
  const loads = Float32Array.from({ length: 16 }, (_, expert) => (expert === 3 ? 100 : 1));
  for (let layer = 0; layer < SIZES.numLayers; layer++) connected.recordLogicalLoad(layer, loads);
  await connected.advanceWindow();
  assert.equal(balancer.numSamples, 1);
  assert.deepEqual(Array.from(balancer.getAverageLogicalLoad().data.subarray(0, 16)), Array.from(loads));
  const mapping = await connected.rebalance();
  assert.ok(mapping.equals(balancer.mapping));
  assert.deepEqual(mapping.toJSON(), balancer.mapping.toJSON());
  assert.ok(mapping.getPhysicalExperts(0, 3).length > 1);
  assert.equal(connected.generation, balancer.generation);
  connected.close();
  connected.close();
  await balancer.close();
});

test('what a thread recorded and did not see counted is counted when it leaves', async () => {
  const balancer = new ExpertLoadBalancer({ ...SIZES, threads: 0 });
  const connected = await connectBalancer(shareBalancer(balancer));
  connected.recordLogicalLoad(2, new Float32Array(16).fill(5));
  connected.close();
  await nextTurn();
  await nextTurn();
  balancer.advanceWindow();
  assert.deepEqual(Array.from(balancer.getAverageLogicalLoad().data.subarray(32, 48)), new Array(16).fill(5));
  assert.throws(() => connected.recordLoad(0, new Float32Array(24)), {
    name: 'EplbError',
    code: 'EPLB_CLOSED',
  });
  await assert.rejects(connected.rebalance(), { code: 'EPLB_CLOSED' });
  await balancer.close();
});

test('bad loads are refused in the recording thread and nothing is recorded', async () => {
  const balancer = new ExpertLoadBalancer({ ...SIZES, threads: 0 });
  const connected = await connectBalancer(shareBalancer(balancer));
  const loads = new Float32Array(24);
  loads[7] = Number.NaN;
  assert.throws(() => connected.recordLoad(1, loads), {
    name: 'EplbRangeError',
    code: 'EPLB_LOAD',
    message: /layer 1, index 7: NaN/,
  });
  assert.throws(() => connected.recordLoad(4, new Float32Array(24)), { code: 'EPLB_LAYER' });
  assert.throws(() => connected.recordLoad(0, new Float32Array(16)), { code: 'EPLB_SHAPE' });
  assert.throws(() => connected.recordLogicalLoad(0, 'loads' as never), {
    name: 'EplbTypeError',
    code: 'EPLB_KIND',
  });
  await connected.advanceWindow();
  assert.ok(balancer.getAverageLogicalLoad().data.every((load) => load === 0));
  connected.close();
  await balancer.close();
});

test('a load that does not fit with what its thread has is refused there, and not recorded', async () => {
  const balancer = new ExpertLoadBalancer({ ...SIZES, threads: 0 });
  const connected = await connectBalancer(shareBalancer(balancer));
  for (const [method, length] of [
    ['recordLoad', 24],
    ['recordLogicalLoad', 16],
  ] as const) {
    const loads = new Float32Array(length).fill(1);
    loads[3] = 3e38;
    connected[method](2, loads);
    assert.throws(() => connected[method](2, loads), {
      name: 'EplbRangeError',
      code: 'EPLB_LOAD',
      message: /layer 2, index 3: .*together with what the step has/,
    });
  }
  await connected.advanceWindow();
  // Slots of 1 each: experts 0 to 7 have two of them.
  const expected = Array.from({ length: 16 }, (_, expert) => (expert < 8 ? 2 : 1) + 1);
  expected[3] = FLOAT32_MAX;
  assert.deepEqual(Array.from(balancer.getAverageLogicalLoad().data.subarray(32, 48)), expected);
  connected.close();
  await balancer.close();
});

test('loads that only together exceed float32 count as the largest, and the step ends', async () => {
  const balancer = new ExpertLoadBalancer({ ...SIZES, threads: 0, windowSize: 1 });
  const [first, second] = await Promise.all([0, 1].map(() => connectBalancer(shareBalancer(balancer))));
  const slots = new Float32Array(24).fill(1);
  const experts = new Float32Array(16).fill(1);
  slots[0] = 3e38;
  experts[0] = 3e38;
  for (let layer = 0; layer < SIZES.numLayers; layer++) {
    balancer.recordLoad(layer, slots);
    first!.recordLoad(layer, slots);
    second!.recordLoad(layer, slots);
    if (layer % 2 === 0) second!.recordLogicalLoad(layer, experts);
  }
  // Recorded under the first mapping, taken under the second: in part one, in part the other.
  balancer.commit(rotated(3));
  second!.mapping;
  for (let layer = 0; layer < SIZES.numLayers; layer++)
    second!.recordLogicalLoad(layer, experts.fill(1, 0, 1));
  assert.equal(
    balancer.metrics().expertLoadPass.findIndex((load) => !Number.isFinite(load)),
    -1,
  );
  balancer.advanceWindow();
  const rows = Array.from({ length: SIZES.numLayers }, (_, layer) =>
    Array.from(balancer.getAverageLogicalLoad().data.subarray(16 * layer, 16 * layer + 16)),
  );
  for (const [layer, row] of rows.entries()) {
    const logical = layer % 2 === 0 ? 2 : 1;
    const expected = Array.from({ length: 16 }, (_, expert) => (expert < 8 ? 2 : 1) * 3 + logical);
    expected[0] = FLOAT32_MAX;
    assert.deepEqual(row, expected, `layer ${layer}`);
  }
  // Nothing of it is left for the next step.
  await first!.advanceWindow();
  assert.equal(balancer.numSamples, 1);
  assert.ok(balancer.getAverageLogicalLoad().data.every((load) => load === 0));
  for (const connected of [first!, second!]) {
    for (const layer of [0, 1]) connected.recordLoad(layer, slots);
    connected.close();
  }
  await nextTurn();
  await nextTurn();
  balancer.advanceWindow();
  // Slot 0 is of expert 3 in the mapping that the second one read, and of expert 0 in the one the first one
  // knew.
  const { data } = balancer.getAverageLogicalLoad();
  assert.equal(data[0], Math.fround(3e38));
  assert.equal(data[3], Math.fround(3e38));
  await balancer.close();
});

test('errors of control calls keep their class and code', async () => {
  const balancer = new ExpertLoadBalancer({ ...SIZES, threads: 0 });
  const connected = await connectBalancer(shareBalancer(balancer));
  await assert.rejects(connected.rebalance([[1, 2]]), { name: 'EplbRangeError', code: 'EPLB_SHAPE' });
  await balancer.close();
  await assert.rejects(connected.advanceWindow(), { name: 'EplbError', code: 'EPLB_CLOSED' });
  connected.close();
});

test('a call to a thread that does not answer ends with EPLB_TIMEOUT', async () => {
  const { port1, port2 } = new MessageChannel();
  await assert.rejects(connectBalancer(port1, { timeoutMs: 30 }), {
    name: 'EplbError',
    code: 'EPLB_TIMEOUT',
  });
  port2.close();
});

test('a call under way when the other side goes ends with EPLB_CLOSED', async () => {
  const { port1, port2 } = new MessageChannel();
  const connecting = connectBalancer(port1);
  port2.close();
  await assert.rejects(connecting, { name: 'EplbError', code: 'EPLB_CLOSED' });
});
