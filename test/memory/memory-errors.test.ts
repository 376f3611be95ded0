import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  CoactivationRecorder,
  computeBalancedPacking,
  computeExpertReplication,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  ExpertMapping,
  layerBalances,
} from 'expert-load-balancer';
import { competitionStart, inspect, replay, synthesize } from 'expert-load-balancer/replay';
import { refusal } from '../helpers/library.ts';

// No process has 2^48 bytes of address space: the runtime's own error would be a bare RangeError.
const MANY = 2 ** 24;
const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1]]);
const tooMuch = (what: RegExp) =>
  refusal('range', 'EPLB_MEMORY', new RegExp(`^${what.source}.* needs \\d+ MiB`));

/** Rows that are not there, but for the first, which has no entries either. */
function claimedRows(): number[][] {
  const rows: number[][] = [[]];
  rows.length = 2 ** 31;
  rows[0]!.length = 2 ** 31;
  return rows;
}

/** A recording that says how large its steps are, and has none. */
const claimedRecording = {
  numLayers: MANY,
  numLogicalExperts: MANY,
  async *steps() {},
};

test('nested rows that claim more than can be had are refused before anything is made', () => {
  const rows = claimedRows();
  const balancer = new ExpertLoadBalancer({
    ...{ numLayers: 1, numLogicalExperts: 2, numPhysicalExperts: 2, numRanks: 1, threads: 0 },
  });
  // A mapping's rows are looked at one by one first, and the second is none.
  const noRow = refusal('type', 'EPLB_KIND', /mapping: phyToLog: layer 1: undefined is not an array/);
  assert.throws(() => ExpertMapping.fromPhysicalToLogical(rows), noRow);
  assert.throws(() => ExpertMapping.fromJSON({ phyToLog: rows }), noRow);
  assert.throws(() => layerBalances(rows, mapping, 1), tooMuch(/weight/));
  assert.throws(() => computeBalancedPacking(rows, 1), tooMuch(/weight/));
  assert.throws(() => balancer.rebalanceSync(rows), tooMuch(/weight/));
  for (const policy of [new DefaultEplbPolicy(), new AdaptiveEplbPolicy()])
    assert.throws(() => policy.rebalanceExperts(rows, MANY, 1, 1, 1), tooMuch(/weight/));
});

test('sizes that are each allowed and together too much are refused with a code', async () => {
  const ones = { data: new Float32Array(MANY), numLayers: MANY, numExperts: 1 };
  const sizes = { numLayers: MANY, numLogicalExperts: 2 ** 22, numPhysicalExperts: 2 ** 22, numRanks: 1 };
  assert.throws(() => computeExpertReplication(ones, MANY), tooMuch(/replicating 1 experts/));
  assert.throws(() => new CoactivationRecorder({ numLayers: 1, numExperts: MANY }), tooMuch(/coactivation/));
  assert.throws(() => new ExpertLoadBalancer(sizes), tooMuch(/topology/));
  assert.throws(() => new DefaultEplbPolicy().rebalanceExperts(ones, MANY, 1, 1, 1), tooMuch(/topology/));
  const slots = refusal('range', 'EPLB_RANGE', /numPhysicalExperts: 1099511627776/);
  assert.throws(() => competitionStart({ ...sizes, numPhysicalExperts: 2 ** 40 }), slots);
  const options = { numPhysicalExperts: MANY, numRanks: 1, policy: 'static' } as const;
  await assert.rejects(replay(claimedRecording, options), tooMuch(/replay/));
  await assert.rejects(inspect(claimedRecording), tooMuch(/inspect/));
  const synthetic = synthesize({ ...SYNTH, numLayers: MANY, numExperts: MANY });
  await assert.rejects(synthetic.steps().next(), tooMuch(/synth/));
});

const SYNTH = {
  ...{ topK: 1, numSteps: 1, tokensPerStep: 1, seed: 1, skew: 1, burst: 0, burstGain: 8, drift: 0 },
  ...{ domains: 1, blendSteps: 0 },
};

test('a mapping whose table of slots cannot be had is as good as any but for that table', () => {
  const experts = 2 ** 16;
  const row = [...Array(experts).keys(), ...new Array<number>(2 ** 17 - experts).fill(3)];
  const wide = ExpertMapping.fromPhysicalToLogical([row]);
  assert.throws(() => wide.logToPhy, tooMuch(/inverting a mapping with up to 65537 replicas/));
  assert.equal(wide.getPhysicalExperts(0, 3).length, experts + 1);
  assert.equal(wide.maxReplicas, experts + 1);
  assert.throws(() => wide.logToPhy, tooMuch(/inverting/));
});
