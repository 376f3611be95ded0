import fc from 'fast-check';
import type { Topology } from '../oracle/default-policy.ts';

/** Mulberry32: long rows of numbers from one seed, much quicker than an arbitrary for each. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The greatest finite float32. */
export const FLOAT32_MAX = 2 ** 128 - 2 ** 104;
const FLOAT32_TINIEST = 2 ** -149;

type Random = () => number;
const below = (random: Random, end: number): number => Math.floor(random() * end);

/**
 * Ways to draw the load at `index` of `size`; `shape` is one more random number, the same for the whole row.
 */
const LOAD_KINDS: Record<string, (random: Random, index: number, size: number, shape: number) => number> = {
  counts: (random) => below(random, 10_000),
  ties: (random) => below(random, 4),
  fewLoads: (random) => (random() < 0.9 ? 0 : below(random, 100)),
  allZero: () => 0,
  allEqual: (_random, _index, _size, shape) => shape * 100,
  oneHot: (_random, index, size, shape) => (index === Math.floor(shape * size) ? 4096 : 0),
  zipf: (random) => Math.floor(100_000 / (1 + below(random, 1000))),
  ascending: (_random, index) => index,
  descending: (_random, index, size) => size - index,
  huge: (random) => FLOAT32_MAX * (random() < 0.5 ? 1 : random()),
  subnormal: (random) => below(random, 1000) * FLOAT32_TINIEST,
  signedZeros: (random) => [0, -0, 1][below(random, 3)]!,
  fractional: (random) => random() * 1000,
  allScales: (random) => 2 ** (random() * 270 - 145),
};

/**
 * Loads (float32, finite, >= 0) of one row. Short rows are also drawn load by load, so that failures shrink
 * well.
 */
export function loadsArbitrary(size: number): fc.Arbitrary<number[]> {
  const drawn = fc
    .record({ kind: fc.constantFrom(...Object.keys(LOAD_KINDS)), seed: fc.integer() })
    .map(({ kind, seed }) => {
      const random = seededRandom(seed);
      const shape = random();
      const draw = LOAD_KINDS[kind]!;
      return Array.from({ length: size }, (_, index) => Math.fround(draw(random, index, size, shape)));
    });
  if (size > 16) return drawn;
  const load = fc.oneof(
    fc.constantFrom(0, -0, 1, 2, 3, 0.5, FLOAT32_TINIEST, FLOAT32_MAX, FLOAT32_MAX / 2),
    fc.nat({ max: 20 }),
    fc.float({ min: 0, noDefaultInfinity: true, noNaN: true }),
  );
  return fc.oneof(drawn, fc.array(load, { minLength: size, maxLength: size }));
}

/** Sizes 1 to `max`: any of them, very small ones, and the powers of two and their neighbours. */
export function sizeArbitrary(max: number): fc.Arbitrary<number> {
  const powers = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].flatMap((n) => [n - 1, n, n + 1]);
  return fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 1, max }) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: Math.min(max, 12) }) },
    { weight: 2, arbitrary: fc.constantFrom(...powers.filter((n) => n >= 1 && n <= max)) },
  );
}

/** Sizes from `min` that mostly have several divisors, so that ranks and packs hold more than one item. */
function divisibleFrom(min: number, size: fc.Arbitrary<number>): fc.Arbitrary<number> {
  return fc
    .tuple(size, fc.constantFrom(1, 2, 4, 6, 8, 12, 16))
    .map(([n, factor]) => Math.ceil(Math.max(n, min) / factor) * factor);
}

/** Items for packing, their number a multiple of the packs, now and then one pack or one item a pack. */
interface PackProblem {
  weight: number[];
  numPacks: number;
}

export function packProblemArbitrary(max: number): fc.Arbitrary<PackProblem> {
  return divisibleFrom(1, sizeArbitrary(max)).chain((size) =>
    fc.record({ weight: loadsArbitrary(size), numPacks: fc.constantFrom(...divisors(size)) }),
  );
}

/** One row for replication: no redundant slot, a few, or many times the items. */
export interface RowProblem {
  weight: number[];
  numSlots: number;
  numPacks: number;
}

export function rowProblemArbitrary(max: number): fc.Arbitrary<RowProblem> {
  return sizeArbitrary(max)
    .chain((numItems) => fc.tuple(fc.constant(numItems), slotsArbitrary(numItems)))
    .chain(([numItems, numSlots]) =>
      fc.record({
        weight: loadsArbitrary(numItems),
        numSlots: fc.constant(numSlots),
        numPacks: fc.constantFrom(...divisors(numSlots)),
      }),
    );
}

/** A layer of the default policy: loads and a topology whose numbers fit each other. */
export interface LayerProblem {
  weight: number[];
  topology: Topology;
}

export function layerProblemArbitrary(maxExperts: number): fc.Arbitrary<LayerProblem> {
  return topologyArbitrary(maxExperts).chain((topology) =>
    fc.record({ weight: loadsArbitrary(topology.numLogicalExperts), topology: fc.constant(topology) }),
  );
}

/** Nodes divide groups, ranks and slots, groups divide experts, ranks divide slots. */
function topologyArbitrary(maxExperts: number): fc.Arbitrary<Topology> {
  return fc
    .constantFrom(...[1, 1, 2, 3, 4, 8, 16].filter((numNodes) => numNodes <= maxExperts))
    .chain((numNodes) => {
      const max = Math.floor(maxExperts / numNodes);
      const expertsPerNode = fc.oneof(
        sizeArbitrary(max),
        // Experts that many numbers of groups divide.
        sizeArbitrary(Math.ceil(max / 8)).map((n) => Math.min(8 * n, max)),
      );
      return fc.tuple(fc.constant(numNodes), expertsPerNode);
    })
    .chain(([numNodes, expertsPerNode]) =>
      fc.tuple(fc.constant(numNodes), fc.constant(expertsPerNode), slotsArbitrary(expertsPerNode)),
    )
    .chain(([numNodes, expertsPerNode, slotsPerNode]) =>
      fc.record({
        numLogicalExperts: fc.constant(numNodes * expertsPerNode),
        numReplicas: fc.constant(numNodes * slotsPerNode),
        numGroups: fc.constantFrom(...divisors(expertsPerNode)).map((perNode) => perNode * numNodes),
        numNodes: fc.constant(numNodes),
        numRanks: fc.constantFrom(...divisors(slotsPerNode)).map((perNode) => perNode * numNodes),
      }),
    );
}

/** At least one slot an item: exactly one, twice as many, some more, or many more. */
export function slotsArbitrary(numItems: number): fc.Arbitrary<number> {
  return fc.oneof(
    fc.constant(numItems),
    fc.constant(2 * numItems),
    divisibleFrom(numItems, fc.integer({ min: numItems, max: numItems + 64 })),
    divisibleFrom(numItems, fc.integer({ min: numItems, max: 3 * numItems })),
  );
}

/** Every number that divides `n`, from 1 to n. */
export function divisors(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
}
