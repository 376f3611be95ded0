import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { divisors, seededRandom, sizeArbitrary } from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { countReplicas, invertLayer } from '../oracle/inverse.ts';
import { preserveSlots } from '../oracle/preserve.ts';

const { kernels, arena } = loadKernels();

interface Tables {
  phyToLog: number[];
  replicaRank: number[];
  numLogical: number;
}

/** Numbers the replicas of a placement at random, as kernels must not count on any order of them. */
function numberReplicas(phyToLog: number[], numLogical: number, random: () => number): Tables {
  const numbers = countReplicas(phyToLog, numLogical).map((count) =>
    shuffle([...Array(count).keys()], random),
  );
  const replicaRank = phyToLog.map((expert) => (expert === -1 ? -1 : numbers[expert]!.pop()!));
  return { phyToLog, replicaRank, numLogical };
}

function shuffle<T>(items: T[], random: () => number): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

/**
 * Slots with any experts in them, some of them none, some slots empty; few experts make for many replicas.
 */
function randomSlots(numSlots: number, numLogical: number, random: () => number): number[] {
  const emptyShare = random() < 0.5 ? 0 : random() * 0.5;
  return Array.from({ length: numSlots }, () =>
    random() < emptyShare ? -1 : Math.floor(random() * numLogical),
  );
}

function tablesArbitrary(max: number): fc.Arbitrary<Tables> {
  return fc
    .record({ numLogical: sizeArbitrary(max), numSlots: sizeArbitrary(max), seed: fc.integer() })
    .map(({ numLogical, numSlots, seed }) => {
      const random = seededRandom(seed);
      return numberReplicas(randomSlots(numSlots, numLogical, random), numLogical, random);
    });
}

interface PreserveProblem extends Tables {
  previous: number[];
  numRanks: number;
}

/** A new placement that is unlike the previous one, much like it, or the same in another order. */
function preserveArbitrary(max: number): fc.Arbitrary<PreserveProblem> {
  return sizeArbitrary(max).chain((numSlots) =>
    fc
      .record({
        numLogical: sizeArbitrary(max),
        numRanks: fc.constantFrom(...divisors(numSlots)),
        kind: fc.constantFrom('other', 'like', 'reordered'),
        seed: fc.integer(),
      })
      .map(({ numLogical, numRanks, kind, seed }) => {
        const random = seededRandom(seed);
        const previous = randomSlots(numSlots, numLogical, random);
        let phyToLog = randomSlots(numSlots, numLogical, random);
        if (kind !== 'other') phyToLog = reorderRanks(previous, numRanks, random);
        if (kind === 'like') {
          for (let i = 0; i < numSlots; i += 3) phyToLog[i] = Math.floor(random() * numLogical);
        }
        return { ...numberReplicas(phyToLog, numLogical, random), previous, numRanks };
      }),
  );
}

function reorderRanks(phyToLog: number[], numRanks: number, random: () => number): number[] {
  const slotsPerRank = phyToLog.length / numRanks;
  return Array.from({ length: numRanks }, (_, rank) =>
    shuffle(phyToLog.slice(rank * slotsPerRank, (rank + 1) * slotsPerRank), random),
  ).flat();
}

function checkTables({ phyToLog, replicaRank, numLogical }: Tables): void {
  arena.reset();
  const slots = arena.input(Int32Array.from(phyToLog));
  const ranks = arena.input(Int32Array.from(replicaRank));
  const count = arena.output(Int32Array, numLogical);
  const maxReplicas = kernels.countReplicas(slots.ptr, phyToLog.length, numLogical, count.ptr);
  const expectedCount = countReplicas(phyToLog, numLogical);
  assertSameNumbers(count.view, expectedCount, 'count');
  assert.equal(maxReplicas, Math.max(...expectedCount));

  // A table may be wider than this layer needs: it is as wide as the widest of all layers.
  const width = maxReplicas + (numLogical % 3);
  const logToPhy = arena.output(Int32Array, numLogical * width);
  kernels.invertLayer(slots.ptr, ranks.ptr, phyToLog.length, numLogical, width, logToPhy.ptr);
  arena.check();
  const expected = invertLayer(phyToLog, replicaRank, numLogical, width);
  assertSameNumbers(logToPhy.view, expected.flat(), 'logToPhy');
}

function checkPreserve({ phyToLog, replicaRank, numLogical, previous, numRanks }: PreserveProblem): void {
  arena.reset();
  const slots = arena.inOut(Int32Array.from(phyToLog));
  const ranks = arena.inOut(Int32Array.from(replicaRank));
  kernels.preserveSlots(
    arena.input(Int32Array.from(previous)).ptr,
    slots.ptr,
    ranks.ptr,
    phyToLog.length,
    numRanks,
    numLogical,
    arena.scratch(kernels.preserveSlotsScratchBytes(phyToLog.length, numRanks, numLogical)),
  );
  arena.check();
  const expected = preserveSlots(previous, { phyToLog, replicaRank }, numRanks);
  assertSameNumbers(slots.view, expected.phyToLog, 'phyToLog');
  assertSameNumbers(ranks.view, expected.replicaRank, 'replicaRank');
}

test('countReplicas and invertLayer equal their oracles', () => {
  assertForAll(tablesArbitrary, { small: 5000, large: 800 }, checkTables);
});

test('countReplicas and invertLayer: one expert in all slots, all empty, more experts than slots', () => {
  checkTables({ phyToLog: [0, 0, 0, 0, 0], replicaRank: [4, 2, 0, 1, 3], numLogical: 1 });
  checkTables({ phyToLog: [-1, -1], replicaRank: [-1, -1], numLogical: 3 });
  checkTables({ phyToLog: [4], replicaRank: [0], numLogical: 9 });
});

test('preserveSlots equals its oracle', () => {
  assertForAll(preserveArbitrary, { small: 5000, large: 800 }, checkPreserve);
});

test('preserveSlots: an expert that stays on its rank stays in its slot', () => {
  const numLogical = 6;
  const replicaRank = [0, 0, 0, 0, 1, 1];
  // Rank 0 holds the same experts in another order; rank 1 keeps expert 3 and gets two others.
  const previous = [0, 1, 2, 3, 4, 5];
  const placed = { phyToLog: [2, 0, 1, 4, 0, 3], replicaRank };
  assert.deepEqual(preserveSlots(previous, placed, 2).phyToLog, [0, 1, 2, 3, 4, 0]);
  checkPreserve({ ...placed, numLogical, previous, numRanks: 2 });
});

test('preserveSlots: copies of one expert on a rank, and slots that were empty', () => {
  const replicaRank = [0, 2, 1, 0];
  checkPreserve({ previous: [1, 0, 0, 0], phyToLog: [0, 0, 0, 1], replicaRank, numLogical: 2, numRanks: 1 });
  checkPreserve({ previous: [0, 1, 1, 1], phyToLog: [0, 0, 0, 1], replicaRank, numLogical: 2, numRanks: 1 });
  checkPreserve({
    previous: [-1, -1, -1, 0],
    phyToLog: [0, 0, 0, 1],
    replicaRank,
    numLogical: 2,
    numRanks: 2,
  });
  checkPreserve({
    previous: [-1, -1, -1, -1],
    phyToLog: [0, 0, 0, 1],
    replicaRank,
    numLogical: 2,
    numRanks: 4,
  });
});
