import { test } from 'node:test';
import fc from 'fast-check';
import { replicatedWords } from '../../src/mapping/score-tables.ts';
import { divisors, loadsArbitrary, seededRandom, sizeArbitrary } from '../helpers/arbitraries.ts';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import { assertForAll } from '../helpers/property.ts';
import { countReplicas } from '../oracle/inverse.ts';
import { rankLoads } from '../oracle/rank-loads.ts';

const { kernels, arena } = loadKernels();

interface Layers {
  readonly numRanks: number;
  readonly zeroIsOne: boolean;
  /** [layers][logical]; and [placements][layers][slots], -1 for an empty slot. */
  readonly loads: readonly number[][];
  readonly placements: readonly number[][][];
}

/** Any placements: experts with many replicas and with none, some slots empty. */
function layersArbitrary(max: number): fc.Arbitrary<Layers> {
  const upToThree = fc.integer({ min: 1, max: 3 });
  return fc
    .tuple(sizeArbitrary(max), sizeArbitrary(max), upToThree)
    .chain(([numSlots, numLogical, numLayers]) =>
      fc.record({
        seed: fc.integer(),
        numSlots: fc.constant(numSlots),
        numLogical: fc.constant(numLogical),
        numPlacements: upToThree,
        numRanks: fc.constantFrom(...divisors(numSlots)),
        zeroIsOne: fc.boolean(),
        loads: fc.array(loadsArbitrary(numLogical), { minLength: numLayers, maxLength: numLayers }),
      }),
    )
    .map(({ seed, numSlots, numLogical, numPlacements, loads, ...rest }) => {
      const random = seededRandom(seed);
      const emptyShare = random() < 0.5 ? 0 : 0.3;
      const expertOrNone = () => (random() < emptyShare ? -1 : Math.floor(random() * numLogical));
      const slots = () => loads.map(() => Array.from({ length: numSlots }, expertOrNone));
      return { ...rest, loads, placements: Array.from({ length: numPlacements }, slots) };
    });
}

/** 8 x expert and replicas of each expert that has more than one. */
function severalOf(counts: readonly number[]): number[] {
  return counts.flatMap((count, expert) => (count > 1 ? [8 * expert, count] : []));
}

/** Where a slot reads its loads: those of experts with several slots are behind the others. */
function offsetOf(expert: number, counts: readonly number[]): number {
  const numLogical = counts.length;
  if (expert === -1) return 8 * numLogical;
  return 8 * (counts[expert]! > 1 ? numLogical + 1 + expert : expert);
}

/** Makes the tables of a placement from its slots [layers][slots], and checks them. */
function checkTables(slots: readonly number[][], numLogical: number, tables: Int32Array): void {
  const numSlots = slots[0]!.length;
  const words = replicatedWords({ numLogicalExperts: numLogical, numPhysicalExperts: numSlots });
  const offsets = tables.subarray(0, slots.length * numSlots);
  offsets.set(slots.flat());
  slots.forEach((row, layer) => {
    const counts = countReplicas(row, numLogical);
    const first = tables.byteOffset + 4 * layer * numSlots;
    const list = offsets.length + layer * words;
    const found = arena.output(Int32Array, numLogical);
    kernels.scoreTables(first, numSlots, numLogical, tables.byteOffset + 4 * list, found.ptr);
    assertSameNumbers(found.view, counts, 'replicas');
    const several = severalOf(counts);
    const told = tables.slice(list, list + 1 + several.length);
    assertSameNumbers(told, [several.length / 2, ...several], 'experts with replicas');
    const read = offsets.slice(layer * numSlots, (layer + 1) * numSlots);
    assertSameNumbers(
      read,
      row.map((expert) => offsetOf(expert, counts)),
      'offsets',
    );
  });
}

function checkScore({ loads, placements, numRanks, zeroIsOne }: Layers): void {
  const numLayers = loads.length;
  const numLogical = loads[0]!.length;
  const numSlots = placements[0]![0]!.length;
  const words = replicatedWords({ numLogicalExperts: numLogical, numPhysicalExperts: numSlots });
  arena.reset();
  // Offsets, lists, and then, of float64, rank loads and stats of each placement: even numbers of words.
  const numOffsets = numLayers * numSlots;
  const numTableWords = (numOffsets + numLayers * words + 1) & ~1;
  const stride = 4 * numTableWords + 8 * numLayers * (numRanks + 2);
  const memory = arena.output(Float64Array, (placements.length * stride) / 8);
  placements.forEach((slots, placement) => {
    const at = memory.ptr + placement * stride;
    checkTables(slots, numLogical, new Int32Array(memory.view.buffer, at, numTableWords));
  });
  kernels.scoreLayers(
    arena.input(Float32Array.from(loads.flat())).ptr,
    memory.ptr,
    memory.ptr + 4 * numOffsets,
    words,
    numLayers,
    numLogical,
    numSlots,
    numRanks,
    Number(zeroIsOne),
    memory.ptr + 4 * numTableWords,
    memory.ptr + 4 * numTableWords + 8 * numLayers * numRanks,
    arena.scratch(kernels.scoreLayersScratchBytes(numLogical)),
    placements.length,
    stride,
  );
  arena.check();
  const read = loads.map((row) => row.map((load) => (load === 0 && zeroIsOne ? 1 : load)));
  placements.forEach((slots, placement) => {
    const expected = slots.map((row, layer) =>
      rankLoads(read[layer]!, row, countReplicas(row, numLogical), numRanks),
    );
    const at = memory.ptr + placement * stride + 4 * numTableWords;
    const told = new Float64Array(memory.view.buffer, at, numLayers * (numRanks + 2));
    const ranks = expected.flatMap((layer) => Array.from(layer.loads));
    const stats = expected.flatMap(({ max, mean }) => [max, mean]);
    assertSameNumbers(told, [...ranks, ...stats], 'rank loads, max and mean');
  });
}

test('scoreLayers by tables of scoreTables equals the oracle of rankLoads, by layer and placement', () => {
  assertForAll(layersArbitrary, { small: 3000, large: 200 }, checkScore);
});
