import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  ExpertMapping,
} from 'expert-load-balancer';
import { replay } from 'expert-load-balancer/replay';
import { refusal } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

const SIZES = { numPhysicalExperts: 12, numRanks: 3 };
/** One layer of four experts, the same in every step. */
const RECORDING = memoryRecording(Array.from({ length: 8 }, () => [[30, 10, 10, 10]]));

test('ranks without open slots count as ranks without load, but plans go by the others', async () => {
  const slotsPerRank = [2, 0, 2];
  const policy = new AdaptiveEplbPolicy();
  const looked = { loadThreshold: 1.9 };
  const even = await replay(RECORDING, {
    ...SIZES,
    slotsPerRank,
    policy,
    trigger: { loadThreshold: 2.5 },
    windowSize: 2,
  });
  // Expert 0 and 1 on rank 0, 2 and 3 on rank 2: 40 and 20, and none on rank 1.
  assert.deepEqual(even.heatMap.before, [[2, 0, 1]]);
  assert.equal(even.totals.numPlans, 0);
  assert.deepEqual(even.configuration.slotsPerRank, slotsPerRank);
  assert.equal(even.totals.redundantBytesPerRank, 0);
  const uneven = await replay(RECORDING, { ...SIZES, slotsPerRank, policy, trigger: looked, windowSize: 2 });
  assert.ok(uneven.totals.numPlans > 0);
});

test('a replay refuses a start, a policy and a plan that would fill closed slots', async () => {
  const slotsPerRank = [4, 3, 4];
  const start = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]]);
  await assert.rejects(
    replay(RECORDING, { ...SIZES, slotsPerRank, policy: 'static', start }),
    refusal(
      'other',
      'EPLB_MAPPING',
      /^policy "start": its mapping has expert 3 in layer 0, slot 7, which is closed/,
    ),
  );
  await assert.rejects(
    replay(RECORDING, { ...SIZES, slotsPerRank, policy: new DefaultEplbPolicy() }),
    refusal('range', 'EPLB_TOPOLOGY', /^slotsPerRank: the default policy cannot plan for closed slots/),
  );
  class Full extends AbstractEplbPolicy {
    readonly name = 'full';
    override rebalanceExperts(): ExpertMapping {
      return start;
    }
  }
  await assert.rejects(
    replay(RECORDING, { ...SIZES, slotsPerRank, policy: new Full(), trigger: { interval: 2 } }),
    refusal(
      'other',
      'EPLB_POLICY',
      /^policy "full": its mapping: layer 0: slot 7 holds expert 3, but is closed/,
    ),
  );
  await assert.rejects(
    replay(RECORDING, { ...SIZES, slotsPerRank: [4, 4], policy: 'static' }),
    refusal('range', 'EPLB_SHAPE', /^slotsPerRank: has 2 numbers, not 3/),
  );
});
