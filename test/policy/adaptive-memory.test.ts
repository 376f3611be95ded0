import assert from 'node:assert/strict';
import { test } from 'node:test';
import { carveJob } from '../../src/engine/layout.ts';
import { PlanMemory, planMemoryBytes } from '../../src/policy/adaptive/memory.ts';

test('what is remembered of a layer is a function of its loads, whatever lay in its memory before', () => {
  for (const numLogicalExperts of [1, 2, 3, 4, 5, 7, 8]) {
    const sizes = { numLayers: 2, numLogicalExperts, numPhysicalExperts: 8, numRanks: 2 };
    const topology = { ...sizes, numNodes: 1, numGroups: 1 };
    const memoryBytes = planMemoryBytes(topology);
    const needs = { numWorkers: 1, layersPerClaim: 1, scratchBytes: 0, dataBytes: 0, maxSamples: 1 };
    const layout = carveJob(topology, { ...needs, memoryBytes });
    const remembered = [0x00, 0x3f, 0xff].map((before) => {
      const bytes = new Uint8Array(memoryBytes).fill(before);
      const memory = new PlanMemory(bytes.buffer, layout, 0);
      for (let layer = 0; layer < 2; layer++) {
        memory.expect(layer, new Float32Array(numLogicalExperts).fill(0.25), 8);
        memory.describe(layer, 8, 64);
      }
      return bytes;
    });
    assert.deepEqual(remembered[1], remembered[0], `${numLogicalExperts} experts`);
    assert.deepEqual(remembered[2], remembered[0], `${numLogicalExperts} experts`);
  }
});
