import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping, type RetireOptions, ranksToRetire } from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { SEED } from '../helpers/library.ts';

/** Layers of ranks of two to four slots, each expert somewhere. */
function randomRows(numRanks: number, stride: number, share: number, seed: number): number[][] {
  const random = seededRandom(seed);
  const numSlots = numRanks * stride;
  const numExperts = Math.max(1, Math.floor(numSlots * share));
  return Array.from({ length: 2 }, () => {
    const row = Array.from({ length: numSlots }, (_, slot) =>
      slot < numExperts ? slot : Math.floor(random() * numExperts),
    );
    for (let slot = numSlots - 1; slot > 0; slot--) {
      const other = Math.floor(random() * (slot + 1));
      [row[slot], row[other]] = [row[other]!, row[slot]!];
    }
    return row;
  });
}

/** Experts of all layers that are on none of the other ranks. */
function numLost(rows: readonly number[][], numRanks: number, retired: readonly number[]): number {
  const stride = rows[0]!.length / numRanks;
  return rows
    .map((row) => {
      const left = new Set(row.filter((_, slot) => !retired.includes(Math.floor(slot / stride))));
      return new Set(row).size - left.size;
    })
    .reduce((sum, lost) => sum + lost, 0);
}

/** All sets of so many ranks. */
function choicesOf(numRanks: number, count: number, from = 0): number[][] {
  if (count === 0) return [[]];
  return Array.from({ length: numRanks - from }, (_, i) => from + i).flatMap((rank) =>
    choicesOf(numRanks, count - 1, rank + 1).map((rest) => [rank, ...rest]),
  );
}

test('the ranks that retire take the fewest experts with them', () => {
  const problem = fc.record({
    numRanks: fc.integer({ min: 1, max: 7 }),
    stride: fc.integer({ min: 1, max: 4 }),
    share: fc.double({ min: 0.3, max: 1, noNaN: true }),
    seed: fc.integer(),
    retiring: fc.nat(6),
  });
  const property = fc.property(problem, ({ numRanks, stride, share, seed, retiring }) => {
    const count = Math.min(retiring, numRanks - 1);
    const rows = randomRows(numRanks, stride, share, seed);
    const mapping = ExpertMapping.fromPhysicalToLogical(rows);
    const chosen = ranksToRetire(mapping, { numRanks, shrinkTo: numRanks - count });
    const costs = choicesOf(numRanks, count).map((choice) => numLost(rows, numRanks, choice));
    assert.deepEqual(
      chosen,
      [...new Set(chosen)].sort((a, b) => a - b),
    );
    assert.equal(chosen.length, count);
    assert.equal(numLost(rows, numRanks, chosen), Math.min(...costs));
  });
  fc.assert(property, { numRuns: 200, seed: SEED });
});

test('ranks that are dead have nothing, do not count, and others stay with room for all experts', () => {
  const problem = fc.record({
    slots: fc.array(fc.nat(4), { minLength: 2, maxLength: 7 }),
    isDead: fc.array(fc.boolean(), { minLength: 7, maxLength: 7 }),
    share: fc.double({ min: 0.2, max: 0.9, noNaN: true }),
    seed: fc.integer(),
    staying: fc.integer({ min: 1, max: 7 }),
  });
  let numNarrow = 0;
  const property = fc.property(problem, ({ slots, isDead, share, seed, staying }) => {
    const numRanks = slots.length;
    const rows = randomRows(numRanks, 4, share, seed);
    const numExperts = new Set(rows[0]).size;
    const deadRanks = [...slots.keys()].filter((rank) => isDead[rank]);
    const live = [...slots.keys()].filter((rank) => !isDead[rank]);
    fc.pre(live.length >= staying);
    const options = { numRanks, shrinkTo: staying, deadRanks, slotsPerRank: slots };
    const chosen = ranksToRetire(ExpertMapping.fromPhysicalToLogical(rows), options);
    assert.equal(chosen.length, live.length - staying);
    assert.ok(chosen.every((rank) => live.includes(rank)));
    const slotsWithout = (retired: readonly number[]) =>
      live.filter((rank) => !retired.includes(rank)).reduce((sum, rank) => sum + slots[rank]!, 0);
    const choices = choicesOf(live.length, live.length - staying).map((choice) =>
      choice.map((i) => live[i]!),
    );
    const roomy = choices.filter((choice) => slotsWithout(choice) >= numExperts);
    if (roomy.length === 0) {
      assert.equal(slotsWithout(chosen), Math.max(...choices.map(slotsWithout)));
      return;
    }
    numNarrow += roomy.length < choices.length ? 1 : 0;
    const lost = (retired: readonly number[]) => numLost(rows, numRanks, [...deadRanks, ...retired]);
    assert.ok(slotsWithout(chosen) >= numExperts);
    assert.equal(lost(chosen), Math.min(...roomy.map(lost)));
  });
  fc.assert(property, { numRuns: 300, seed: SEED });
  assert.ok(numNarrow > 20, `${numNarrow} where some choices have no room`);
});

test('of very many choices one with room for all experts is found', () => {
  const [numRanks, shrinkTo] = [24, 14];
  // Half of the ranks have four slots, and together room for one expert more than there are.
  const slotsPerRank = Array.from({ length: numRanks }, (_, rank) => (rank % 2 === 0 ? 4 : 1));
  const rows = randomRows(numRanks, 4, 49 / 96, 5);
  const options = { numRanks, shrinkTo, slotsPerRank };
  const chosen = ranksToRetire(ExpertMapping.fromPhysicalToLogical(rows), options);
  const staying = slotsPerRank.filter((_, rank) => !chosen.includes(rank));
  assert.equal(staying.length, shrinkTo);
  assert.ok(staying.reduce((sum, slots) => sum + slots, 0) >= 49);
});

test('of very many choices no single exchange betters the one made', () => {
  const [numRanks, shrinkTo] = [24, 14];
  for (const seed of [1, 2, 3]) {
    const rows = randomRows(numRanks, 5, 0.7, seed);
    const chosen = ranksToRetire(ExpertMapping.fromPhysicalToLogical(rows), { numRanks, shrinkTo });
    assert.equal(chosen.length, numRanks - shrinkTo);
    const lost = numLost(rows, numRanks, chosen);
    const first = Array.from({ length: 10 }, (_, rank) => rank);
    assert.ok(lost < numLost(rows, numRanks, first), 'less than the first ranks');
    for (const out of chosen) {
      for (let other = 0; other < numRanks; other++) {
        if (chosen.includes(other)) continue;
        const exchanged = chosen.map((rank) => (rank === out ? other : rank));
        assert.ok(numLost(rows, numRanks, exchanged) >= lost);
      }
    }
  }
});

test('equal choices retire the highest ranks, and wrong numbers are refused', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 0, 1, 2, 3]]);
  assert.deepEqual(ranksToRetire(mapping, { numRanks: 4, shrinkTo: 3 }), [3]);
  assert.deepEqual(ranksToRetire(mapping, { numRanks: 4, shrinkTo: 2 }), [2, 3]);
  assert.deepEqual(ranksToRetire(mapping, { numRanks: 4, shrinkTo: 4 }), []);
  const wrong: readonly [options: object, code: string][] = [
    [{ numRanks: 4, shrinkTo: 0 }, 'EPLB_RANGE'],
    [{ numRanks: 4, shrinkTo: 5 }, 'EPLB_RANGE'],
    [{ numRanks: 3, shrinkTo: 2 }, 'EPLB_TOPOLOGY'],
    [{ numRanks: 4 }, 'EPLB_KIND'],
    [{ numRanks: 4, keep: 2 }, 'EPLB_OPTION'],
    [{ numRanks: 4, shrinkTo: 4, deadRanks: [1] }, 'EPLB_RANGE'],
    [{ numRanks: 4, shrinkTo: 2, deadRanks: [4] }, 'EPLB_RANGE'],
    [{ numRanks: 4, shrinkTo: 2, slotsPerRank: [2, 2, 2] }, 'EPLB_SHAPE'],
    [{ numRanks: 4, shrinkTo: 2, slotsPerRank: [2, 2, 2, -1] }, 'EPLB_RANGE'],
  ];
  for (const [options, code] of wrong)
    assert.throws(() => ranksToRetire(mapping, options as RetireOptions), { code }, JSON.stringify(options));
});
