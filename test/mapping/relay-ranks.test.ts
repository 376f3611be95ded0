import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { relayRanks } from '../../src/mapping/relay-ranks.ts';
import { SEED } from '../helpers/library.ts';

const layoutArbitrary = fc.record({
  numRanks: fc.integer({ min: 1, max: 5 }),
  slotsPerRank: fc.integer({ min: 1, max: 4 }),
});

test('a rank that stays has the same experts in the same slots, all else is empty', () => {
  const property = fc.property(
    layoutArbitrary,
    layoutArbitrary,
    fc.integer({ min: 1, max: 3 }),
    (before, after, numLayers) => {
      const table = Int32Array.from(
        { length: numLayers * before.numRanks * before.slotsPerRank },
        (_, at) => at,
      );
      const laidOut = relayRanks(table, numLayers, before, after);
      const expected: number[] = [];
      for (let layer = 0; layer < numLayers; layer++) {
        for (let rank = 0; rank < after.numRanks; rank++) {
          for (let slot = 0; slot < after.slotsPerRank; slot++) {
            const isOld = rank < before.numRanks && slot < before.slotsPerRank;
            expected.push(isOld ? (layer * before.numRanks + rank) * before.slotsPerRank + slot : -1);
          }
        }
      }
      assert.deepEqual(Array.from(laidOut), expected);
      assert.ok(
        table.every((value, at) => value === at),
        'the table given is only read',
      );
    },
  );
  fc.assert(property, { numRuns: 200, seed: SEED });
});

test('two layers of two ranks of two slots, on three ranks of three', () => {
  const table = Int32Array.from([0, 1, 2, 3, 3, 2, 1, 0]);
  const laidOut = relayRanks(table, 2, { numRanks: 2, slotsPerRank: 2 }, { numRanks: 3, slotsPerRank: 3 });
  assert.deepEqual(Array.from(laidOut), [0, 1, -1, 2, 3, -1, -1, -1, -1, 3, 2, -1, 1, 0, -1, -1, -1, -1]);
});
