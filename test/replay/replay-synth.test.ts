import assert from 'node:assert/strict';
import { test } from 'node:test';
import { replay, SYNTH_DEFAULTS, synthesize } from 'expert-load-balancer/replay';

test('a recording whose sizes are getters is replayed, as that of synthesize is', async () => {
  const recording = synthesize({ ...SYNTH_DEFAULTS, numLayers: 1, numExperts: 4, topK: 2, numSteps: 3 });
  const result = await replay(recording, { numPhysicalExperts: 6, numRanks: 2, policy: 'static' });
  assert.equal(result.numSteps, 3);
});
