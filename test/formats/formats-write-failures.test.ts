import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeLoads } from 'expert-load-balancer/formats';

/** A recording of two steps, of which the second may fail. */
function recording(fails: boolean) {
  return {
    ...{ numLayers: 1, numLogicalExperts: 2, format: 'test', numSteps: 2, notes: [], close: async () => {} },
    async *steps() {
      yield { step: 0, loads: Float32Array.of(1, 2), bytesRead: 8 };
      if (fails) throw new Error('the disk is gone');
      yield { step: 1, loads: Float32Array.of(3, 4), bytesRead: 16 };
    },
  };
}

for (const format of ['npy', 'npz', 'json', 'json-lines']) {
  test(`what a recording's reader throws ends the writing of ${format}, and nothing else`, async () => {
    const drain = async (fails: boolean) => {
      let numBytes = 0;
      const { chunks } = writeLoads(format, { recording: recording(fails) as never, from: 0, to: 2 });
      for await (const chunk of chunks) numBytes += chunk.length;
      return numBytes;
    };
    assert.ok((await drain(false)) > 0);
    await assert.rejects(drain(true), /the disk is gone/);
  });
}

for (const format of ['npy', 'npz', 'json', 'json-lines']) {
  test(`a recording that gives other steps than are to be written as ${format} is refused`, async () => {
    for (const to of [1, 3]) {
      const { chunks } = writeLoads(format, { recording: recording(false) as never, from: 0, to });
      const drain = async () => {
        for await (const chunk of chunks) assert.ok(chunk.length > 0);
      };
      await assert.rejects(drain, { name: 'EplbRangeError', code: 'EPLB_RANGE' }, `up to ${to}`);
    }
  });
}
