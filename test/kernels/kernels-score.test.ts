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
  /** [layers][logical] and [layers][slots], -1 for an empty slot. */
  readonly loads: readonly number[][];
  readonly slots: readonly number[][];
}

/** Any placements: experts with many replicas and with none, some slots empty. */
function layersArbitrary(max: number): fc.Arbitrary<Layers> {
  return fc
    .tuple(sizeArbitrary(max), sizeArbitrary(max), fc.integer({ min: 1, max: 3 }))
    .chain(([numSlots, numLogical, numLayers]) =>
      fc.record({
        seed: fc.integer(),
        numSlots: fc.constant(numSlots),
        numLogical: fc.constant(numLogical),
        numRanks: fc.constantFrom(...divisors(numSlots)),
        zeroIsOne: fc.boolean(),
        loads: fc.array(loadsArbitrary(numLogical), { minLength: numLayers, maxLength: numLayers }),
      }),
    )
    .map(({ seed, numSlots, numLogical, loads, ...rest }) => {
      const random = seededRandom(seed);
      const emptyShare = random() < 0.5 ? 0 : 0.3;
      const expertOrNone = () => (random() < emptyShare ? -1 : Math.floor(random() * numLogical));
      return { ...rest, loads, slots: loads.map(() => Array.from({ length: numSlots }, expertOrNone)) };
    });
}

/** 8 x expert and replicas of each expert that has more than one. */
function severalOf(counts: readonly number[]): number[] {
  return counts.flatMap((count, expert) => (count > 1 ? [8 * expert, count] : []));
}

function checkScore({ loads, slots, numRanks, zeroIsOne }: Layers): void {
  const numLayers = loads.length;
  const numLogical = loads[0]!.length;
  const numSlots = slots[0]!.length;
  const words = replicatedWords({ numLogicalExperts: numLogical, numPhysicalExperts: numSlots });
  const counts = slots.map((row) => countReplicas(row, numLogical));
  arena.reset();
  const offsets = arena.inOut(Int32Array.from(slots.flat()));
  const replicated = arena.output(Int32Array, numLayers * words);
  slots.forEach((_, layer) => {
    const lists = replicated.ptr + 4 * layer * words;
    const found = arena.output(Int32Array, numLogical);
    kernels.scoreTables(offsets.ptr + 4 * layer * numSlots, numSlots, numLogical, lists, found.ptr);
    assertSameNumbers(found.view, counts[layer]!, 'replicas');
    const several = severalOf(counts[layer]!);
    const list = replicated.view.slice(layer * words, layer * words + 1 + several.length);
    assertSameNumbers(list, [several.length / 2, ...several], 'experts with replicas');
  });
  assertSameNumbers(
    offsets.view,
    slots.flat().map((expert) => 8 * (expert === -1 ? numLogical : expert)),
    'offsets',
  );
  const ranks = arena.output(Float64Array, numLayers * numRanks);
  const stats = arena.output(Float64Array, 2 * numLayers);
  kernels.scoreLayers(
    arena.input(Float32Array.from(loads.flat())).ptr,
    offsets.ptr,
    replicated.ptr,
    words,
    numLayers,
    numLogical,
    numSlots,
    numRanks,
    Number(zeroIsOne),
    ranks.ptr,
    stats.ptr,
    arena.scratch(kernels.scoreLayersScratchBytes(numLogical)),
  );
  arena.check();
  const expected = slots.map((row, layer) => {
    const read = loads[layer]!.map((load) => (load === 0 && zeroIsOne ? 1 : load));
    return rankLoads(read, row, counts[layer]!, numRanks);
  });
  assertSameNumbers(
    ranks.view,
    expected.flatMap((layer) => layer.loads),
    'rank loads',
  );
  assertSameNumbers(
    stats.view,
    expected.flatMap(({ max, mean }) => [max, mean]),
    'max and mean',
  );
}

test('scoreLayers by tables of scoreTables equals the oracle of rankLoads, layer by layer', () => {
  assertForAll(layersArbitrary, { small: 3000, large: 200 }, checkScore);
});
