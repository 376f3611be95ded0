import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { ExpertMapping } from 'expert-load-balancer';
import {
  FORMATS,
  mappingOf,
  type Placement,
  type PlacementWriteOptions,
  parsePlacement,
  placementFrom,
  writePlacement,
} from 'expert-load-balancer/formats';
import { placementArbitrary } from '../helpers/placements.ts';
import { assertForAllAsync } from '../helpers/property.ts';

/** Writes a placement and reads it back, the format told from the content. */
async function around(
  name: string,
  placement: Placement,
  options: PlacementWriteOptions = {},
): Promise<Placement> {
  const { bytes } = await writePlacement(placement, name, options);
  const { numLogicalExperts } = placement;
  return parsePlacement(bytes, { numExperts: numLogicalExperts });
}

describe('round trips of placements', () => {
  for (const name of ['sglang', 'tensorrt-llm', 'tables-npy', 'tables-npz', 'tables-json']) {
    test(`${name}: every slot comes back`, async () => {
      await assertForAllAsync(placementArbitrary, { small: 60, large: 4 }, async ({ mapping }) => {
        const back = await around(name, placementFrom(mapping));
        assert.equal(back.format, name);
        assert.ok(mappingOf(back).equals(mapping));
      });
    });
  }

  test('vllm-ascend: every slot and the ranks come back', async () => {
    await assertForAllAsync(placementArbitrary, { small: 60, large: 4 }, async ({ mapping, numRanks }) => {
      const back = await around('vllm-ascend', placementFrom(mapping), { numRanks });
      assert.equal(back.format, 'vllm-ascend');
      assert.equal(back.numRanks, numRanks);
      assert.ok(mappingOf(back).equals(mapping));
    });
  });

  test('omni-infer: every rank comes back with its experts, each once', async () => {
    await assertForAllAsync(placementArbitrary, { small: 60, large: 4 }, async ({ mapping, numRanks }) => {
      const back = await around('omni-infer', placementFrom(mapping, { numRanks }));
      assert.equal(back.format, 'omni-infer');
      assert.equal(back.numRanks, numRanks);
      const held = (one: ExpertMapping) =>
        one.toJSON().phyToLog.map((row) => {
          const width = row.length / numRanks;
          return Array.from({ length: numRanks }, (_, rank) => {
            const experts = new Set(row.slice(rank * width, (rank + 1) * width));
            experts.delete(-1);
            return [...experts].sort((a, b) => a - b);
          });
        });
      assert.deepEqual(held(mappingOf(back)), held(mapping));
    });
  });
});

test('the same placement gives the same bytes', async () => {
  const placement = placementFrom(ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0]]), { numRanks: 2 });
  for (const { name, holds } of FORMATS) {
    if (holds === 'loads') continue;
    const [a, b] = [await writePlacement(placement, name), await writePlacement(placement, name)];
    assert.deepEqual(a, b);
  }
});

test('golden placements, and the order of their replicas, come back from formats that have it', async () => {
  const folder = new URL('../fixtures/golden/', import.meta.url);
  for (const name of (await readdir(folder)).filter((file) => file.endsWith('.json'))) {
    const golden = JSON.parse(await readFile(new URL(name, folder), 'utf8'));
    const logToPhy: number[][][] | null = golden.logicalToPhysical;
    const mapping = new ExpertMapping({
      phyToLog: golden.physicalToLogical,
      numLogicalExperts: golden.numLogicalExperts,
      ...(logToPhy === null ? {} : { logToPhy }),
    });
    const placement = placementFrom(mapping, { numRanks: golden.numRanks });
    for (const format of [
      'sglang',
      'vllm-ascend',
      'tensorrt-llm',
      'tables-npy',
      'tables-npz',
      'tables-json',
    ]) {
      const back = mappingOf(await around(format, placement));
      assert.deepEqual(back.toJSON().phyToLog, golden.physicalToLogical);
      if (format === 'tables-npz' || format === 'tables-json')
        assert.deepEqual(back.logToPhy, mapping.logToPhy);
    }
  }
});
