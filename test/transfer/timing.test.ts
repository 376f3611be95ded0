import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping, planTransfer } from 'expert-load-balancer';

const mapping = (...rows: number[][]) => ExpertMapping.fromPhysicalToLogical(rows);
const COST = {
  slotSeconds: { perToken: 1 },
  links: {
    intraNode: { bytesPerSecond: 100 },
    interNode: { bytesPerSecond: 10, batchShare: 0.5 },
  },
  moves: { secondsPerRound: 3, bandwidthShare: 0.5 },
} as const;

/** Four ranks of two slots, each of which gets both experts of the next one: two rounds. */
const ring = mapping([0, 1, 2, 3, 4, 5, 6, 7]);
const turned = mapping([2, 3, 4, 5, 6, 7, 0, 1]);

test('a round takes its start and its slowest transfer, a batch its start and its busiest rank', () => {
  const options = { numRanks: 4, bytesPerExpert: 100, cost: COST };
  const near = planTransfer(ring, turned, options);
  assert.deepEqual(near.secondsIn, { rounds: 2 * (3 + 2), batch: 3 + 4 });
  assert.deepEqual([near.schedule, near.seconds, near.roundsPerBatch], ['batch', 7, null]);
  assert.deepEqual(near.bounds, { rounds: 2, seconds: 7 });
  const far = planTransfer(ring, turned, { ...options, numNodes: 4 });
  assert.deepEqual(far.secondsIn, { rounds: 2 * (3 + 20), batch: 3 + 2 * 20 * 2 });
  assert.deepEqual([far.schedule, far.seconds, far.roundsPerBatch], ['rounds', 46, 1]);
  assert.match(far.scheduleReason, /by the link model of custom rounds/);
  assert.deepEqual(far.bytesByLink, { intraNode: 0, interNode: 800 });
  assert.equal(far.bounds.seconds, 43);
});

test('a schedule that was asked for is taken, and there are rounds where nothing speaks for a batch', () => {
  const options = { numRanks: 4, bytesPerExpert: 100 };
  const batch = planTransfer(ring, turned, { ...options, numNodes: 4, cost: COST, schedule: 'batch' });
  assert.deepEqual([batch.schedule, batch.seconds], ['batch', 83]);
  const scheduleOf = (more: object) => planTransfer(ring, turned, { ...options, ...more }).schedule;
  assert.equal(scheduleOf({}), 'rounds');
  assert.equal(scheduleOf({ cost: COST, relay: true }), 'rounds');
  assert.equal(scheduleOf({ cost: COST, staging: 2 }), 'rounds');
});

test('a limit of bytes in flight makes batches smaller, and then rounds', () => {
  const plan = (maxBytesInFlight: number) =>
    planTransfer(ring, turned, { numRanks: 4, bytesPerExpert: 100, cost: COST, maxBytesInFlight });
  assert.deepEqual([plan(400).roundsPerBatch, plan(400).secondsIn!.batch], [2, 7]);
  assert.deepEqual([plan(399).roundsPerBatch, plan(399).secondsIn!.batch], [1, 10]);
  // A rank that may have one expert in flight sends or receives.
  assert.deepEqual([plan(199).numRounds, plan(200).numRounds], [4, 2]);
});

test('transfers of four H200s take what was measured, within 15 %', () => {
  // All twelve directed pairs of four ranks, an expert of 88 MB each.
  const before = Array.from({ length: 16 }, (_, slot) => slot);
  const pairs = Array.from({ length: 16 }, (_, slot) => {
    const [rank, place] = [Math.floor(slot / 4), slot % 4];
    return place === 0 ? slot : 4 * ((rank + place) % 4) + place;
  });
  const plan = planTransfer(mapping(before), mapping(pairs), { numRanks: 4, cost: 'h200:deepseek-v3:bf16' });
  assert.deepEqual([plan.numTransfers, plan.numRounds, plan.schedule], [12, 3, 'batch']);
  const near = (seconds: number, measured: number) => Math.abs(seconds / measured - 1) < 0.15;
  assert.ok(near(plan.secondsIn!.batch!, 1.29e-3), `${plan.secondsIn!.batch} s`);
  assert.ok(near(plan.secondsIn!.rounds, 2.11e-3), `${plan.secondsIn!.rounds} s`);
});
