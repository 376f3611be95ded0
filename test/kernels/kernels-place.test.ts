import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  FLOAT32_MAX,
  type LayerProblem,
  layerProblemArbitrary,
  loadsArbitrary,
  type RowProblem,
  rowProblemArbitrary,
  sizeArbitrary,
  slotsArbitrary,
} from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { type Placement, placeHierarchical, placeRow, replicateExperts } from '../oracle/default-policy.ts';
import { countReplicas } from '../oracle/inverse.ts';

const { kernels, arena } = loadKernels();

function checkReplicate(weight: number[], numPhysical: number): void {
  arena.reset();
  const phyToLog = arena.output(Int32Array, numPhysical);
  const rank = arena.output(Int32Array, numPhysical);
  const count = arena.output(Int32Array, weight.length);
  kernels.replicateLayer(
    arena.input(Float32Array.from(weight)).ptr,
    weight.length,
    numPhysical,
    phyToLog.ptr,
    rank.ptr,
    count.ptr,
    arena.scratch(kernels.replicateLayerScratchBytes(weight.length, numPhysical)),
  );
  arena.check();
  const expected = replicateExperts(weight, numPhysical);
  assertSameNumbers(phyToLog.view, expected.phyToLog, 'phyToLog');
  assertSameNumbers(rank.view, expected.rank, 'rank');
  assertSameNumbers(count.view, expected.count, 'count');
}

function checkPlaceRow({ weight, numSlots, numPacks }: RowProblem): void {
  arena.reset();
  const slotToItem = arena.output(Int32Array, numSlots);
  const slotReplicaRank = arena.output(Int32Array, numSlots);
  kernels.placeRow(
    arena.input(Float32Array.from(weight)).ptr,
    weight.length,
    numSlots,
    numPacks,
    slotToItem.ptr,
    slotReplicaRank.ptr,
    arena.scratch(kernels.placeRowScratchBytes(weight.length, numSlots)),
  );
  arena.check();
  const expected = placeRow(weight, numSlots, numPacks);
  assertSameNumbers(slotToItem.view, expected.phyToLog, 'slotToItem');
  assertSameNumbers(slotReplicaRank.view, expected.replicaRank, 'slotReplicaRank');
}

/** Places the layer beside others: two are placed at once, and a third one beside itself. */
function checkLayers({ weight, topology }: LayerProblem): Placement {
  const { numReplicas, numGroups, numNodes, numRanks } = topology;
  const layers = [weight, weight.toReversed(), weight.map((_, i) => weight[(i * 7) % weight.length]!)];
  const placements = layers.map((layer) => placeHierarchical(layer, topology));
  for (const numLayers of [1, 2, 3]) {
    arena.reset();
    const phyToLog = arena.output(Int32Array, numLayers * numReplicas);
    const replicaRank = arena.output(Int32Array, numLayers * numReplicas);
    kernels.placeLayers(
      arena.input(Float32Array.from(layers.slice(0, numLayers).flat())).ptr,
      numLayers,
      weight.length,
      numReplicas,
      numGroups,
      numNodes,
      numRanks,
      phyToLog.ptr,
      replicaRank.ptr,
      arena.scratch(kernels.placeLayersScratchBytes(weight.length, numReplicas, numGroups, numNodes)),
    );
    arena.check();
    const expected = placements.slice(0, numLayers);
    assertSameNumbers(
      phyToLog.view,
      expected.flatMap((placement) => [...placement.phyToLog]),
      'phyToLog',
    );
    assertSameNumbers(
      replicaRank.view,
      expected.flatMap((placement) => [...placement.replicaRank]),
      'replicaRank',
    );
  }
  return placements[0]!;
}

test('replicateLayer equals its oracle', () => {
  const problems = (max: number) =>
    sizeArbitrary(max).chain((size) => fc.tuple(loadsArbitrary(size), slotsArbitrary(size)));
  assertForAll(problems, { small: 5000, large: 800 }, ([weight, numPhysical]) =>
    checkReplicate(weight, numPhysical),
  );
});

test('replicateLayer: no redundant slot, one expert, ties, zeros, underflow of the quotients', () => {
  checkReplicate([3, 1, 2], 3);
  checkReplicate([5], 1);
  checkReplicate([5], 40);
  checkReplicate([0, 0, 0], 10);
  checkReplicate([-0, 0, -0], 10);
  checkReplicate([7, 7, 7, 7], 11);
  checkReplicate([1, 2, 3, 6], 30);
  // The least positive float32: its half rounds to zero, so from then on the lowest index wins.
  checkReplicate([0, 2 ** -149, 0], 9);
  checkReplicate([2 ** -149, 2 ** -149, 3 * 2 ** -149], 20);
  checkReplicate([FLOAT32_MAX, FLOAT32_MAX, 1], 9);
});

test('placeRow equals its oracle', () => {
  assertForAll(rowProblemArbitrary, { small: 5000, large: 800 }, checkPlaceRow);
});

test('placeRow: one pack, one slot a pack, no redundant slot, more copies than items', () => {
  const weight = [9, 4, 4, 0, 11, 2];
  checkPlaceRow({ weight, numSlots: 6, numPacks: 1 });
  checkPlaceRow({ weight, numSlots: 6, numPacks: 3 });
  checkPlaceRow({ weight, numSlots: 6, numPacks: 6 });
  checkPlaceRow({ weight, numSlots: 9, numPacks: 9 });
  checkPlaceRow({ weight, numSlots: 9, numPacks: 1 });
  checkPlaceRow({ weight, numSlots: 60, numPacks: 5 });
  checkPlaceRow({ weight: [0, 0, 0, 0], numSlots: 8, numPacks: 4 });
  checkPlaceRow({ weight: [1], numSlots: 1, numPacks: 1 });
  checkPlaceRow({ weight: [1], numSlots: 6, numPacks: 2 });
});

test('placeLayers equals its oracle', () => {
  assertForAll(layerProblemArbitrary, { small: 5000, large: 800 }, (problem) => void checkLayers(problem));
});

test('placeLayers: groups on one node still order its experts', () => {
  // With one slot a rank the packing keeps the order of the experts, which is the order of their groups by
  // load.
  const topology = { numLogicalExperts: 4, numReplicas: 4, numGroups: 2, numNodes: 1, numRanks: 4 };
  const { phyToLog } = checkLayers({ weight: [1, 1, 5, 5], topology });
  assert.deepEqual(phyToLog, [2, 3, 0, 1]);
});

test('placeLayers: sums beyond float32 still give a valid placement', () => {
  const weight = new Array<number>(64).fill(FLOAT32_MAX);
  for (const [numReplicas, numGroups, numNodes, numRanks] of [
    [64, 8, 4, 8],
    [80, 8, 2, 4],
    [96, 16, 1, 3],
    [128, 4, 4, 16],
    [72, 1, 1, 2],
  ] as const) {
    const topology = { numLogicalExperts: 64, numReplicas, numGroups, numNodes, numRanks };
    const { phyToLog } = checkLayers({ weight, topology });
    assert.ok(countReplicas(phyToLog, 64).every((count) => count > 0));
  }
});

test('placeLayers on the sizes of large models', () => {
  // Experts, slots, groups, nodes, ranks.
  for (const [numLogicalExperts, numReplicas, numGroups, numNodes, numRanks] of [
    [256, 288, 8, 4, 32],
    [256, 320, 1, 1, 64],
    [128, 160, 1, 1, 32],
    [384, 432, 1, 1, 48],
    [896, 1024, 1, 1, 16],
    [1024, 2048, 16, 16, 512],
    [1024, 1024, 1024, 1, 1],
    [1024, 1024, 1024, 1024, 1024],
  ] as const) {
    const topology = { numLogicalExperts, numReplicas, numGroups, numNodes, numRanks };
    const layers = fc.record({ weight: loadsArbitrary(numLogicalExperts), topology: fc.constant(topology) });
    for (const problem of fc.sample(layers, { numRuns: 8, seed: 1 })) checkLayers(problem);
  }
});
