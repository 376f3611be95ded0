import assert from 'node:assert/strict';
import {
  type AdaptiveEplbPolicyOptions,
  ExpertMapping,
  type LoadSamples,
  type Topology,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { divisors, seededRandom } from './arbitraries.ts';

/** A whole problem of the adaptive policy. */
export interface AdaptiveProblem {
  readonly topology: Topology;
  readonly samples: LoadSamples;
  readonly previous: ExpertMapping;
  readonly options: AdaptiveEplbPolicyOptions;
}

/**
 * Loads of samples, from the first one to before the last: every layer and expert has a mean, which bursts
 * now and then.
 */
export function makeSamples(
  { numLayers, numLogicalExperts: numExperts }: Pick<Topology, 'numLayers' | 'numLogicalExperts'>,
  end: number,
  seed: number,
  first = 0,
): LoadSamples {
  const random = seededRandom(seed);
  const means = Array.from({ length: numLayers * numExperts }, () => 5 + 95 * random() ** 3);
  const data = Float32Array.from({ length: end * means.length }, (_, i) => {
    const burst = random() < 0.1 ? 3 : 1;
    return Math.round(means[i % means.length]! * (0.5 + random()) * burst);
  });
  return { data: data.slice(first * means.length), numSamples: end - first, numLayers, numExperts };
}

/** The same step in every sample. */
export function steadySamples(samples: LoadSamples, numSamples: number): LoadSamples {
  const step = samples.data.slice(0, samples.numLayers * samples.numExperts);
  const data = Float32Array.from({ length: numSamples * step.length }, (_, i) => step[i % step.length]!);
  return { ...samples, data, numSamples };
}

/** Tokens that pick any expert with the same chance: nothing but sampling noise. */
export function noiseSamples(
  { numLayers, numLogicalExperts: numExperts }: Pick<Topology, 'numLayers' | 'numLogicalExperts'>,
  numSamples: number,
  tokens: number,
  seed: number,
): LoadSamples {
  const random = seededRandom(seed);
  const data = new Float32Array(numSamples * numLayers * numExperts);
  for (let row = 0; row < numSamples * numLayers; row++) {
    for (let token = 0; token < tokens; token++)
      data[row * numExperts + Math.floor(random() * numExperts)]! += 1;
  }
  return { data, numSamples, numLayers, numExperts };
}

/**
 * Ranks of nodes, at times with closed slots or speeds of their own, live placements with empty slots,
 * doubles and experts in closed slots, any options.
 */
export function adaptiveProblems(maxSlots: number): fc.Arbitrary<AdaptiveProblem> {
  return fc
    .record({ numRanks: fc.constantFrom(1, 2, 3, 4, 8), slotsPerRank: fc.integer({ min: 1, max: 6 }) })
    .filter(({ numRanks, slotsPerRank }) => numRanks * slotsPerRank <= maxSlots)
    .chain(({ numRanks, slotsPerRank }) =>
      fc.record({
        numLayers: fc.integer({ min: 1, max: 4 }),
        numPhysicalExperts: fc.constant(numRanks * slotsPerRank),
        numLogicalExperts: fc.integer({ min: 1, max: numRanks * slotsPerRank }),
        numRanks: fc.constant(numRanks),
        numNodes: fc.constantFrom(...divisors(numRanks)),
      }),
    )
    .chain((sizes) =>
      fc.record({
        topology: fc
          .constantFrom(...divisors(sizes.numLogicalExperts))
          .map((numGroups) => ({ ...sizes, numGroups })),
        numSamples: fc.integer({ min: 1, max: 9 }),
        seed: fc.integer(),
        isBroken: fc.boolean(),
        slotsPerRank: openSlots(sizes.numRanks, sizes.numPhysicalExperts / sizes.numRanks),
        options: optionsArbitrary(sizes.numLayers * sizes.numPhysicalExperts),
        rankSpeed: fc.option(rankSpeeds(sizes.numRanks), { nil: undefined }),
      }),
    )
    .map(({ topology: given, numSamples, seed, isBroken, slotsPerRank, options, rankSpeed }) => {
      const sizes = rankSpeed === undefined ? given : { ...given, rankSpeed };
      const numOpen = slotsPerRank?.reduce((sum, slots) => sum + slots, 0) ?? 0;
      const isEnough = slotsPerRank !== undefined && numOpen >= sizes.numLogicalExperts;
      const topology = isEnough ? { ...sizes, slotsPerRank } : sizes;
      return {
        topology,
        samples: makeSamples(topology, numSamples, seed),
        previous: liveMapping(topology, seed, isBroken),
        options,
      };
    });
}

/** Speeds of ranks, most of them usual ones. */
function rankSpeeds(numRanks: number): fc.Arbitrary<number[]> {
  const speed = fc.oneof(fc.constantFrom(1, 0.9, 0.5), fc.double({ min: 0.001, max: 1000, noNaN: true }));
  return fc.array(speed, { minLength: numRanks, maxLength: numRanks });
}

/** How many slots of each rank are open, at least one of all; undefined: all are. */
export function openSlots(numRanks: number, most: number): fc.Arbitrary<number[] | undefined> {
  const some = fc
    .array(fc.integer({ min: 0, max: most }), { minLength: numRanks, maxLength: numRanks })
    .filter((sizes) => sizes.some((size) => size > 0));
  // More slots than fewer, so that experts have replicas.
  const most4 = fc.array(fc.integer({ min: Math.max(most - 2, 1), max: most }), {
    minLength: numRanks,
    maxLength: numRanks,
  });
  return fc.oneof(fc.constant(undefined), some, most4);
}

function optionsArbitrary(slots: number): fc.Arbitrary<AdaptiveEplbPolicyOptions> {
  const limit = fc.nat({ max: slots });
  return fc.record(
    {
      price: fc.constantFrom(0, 0.0001, 0.002, 0.05),
      maxMovesPerLayer: limit,
      maxMoves: limit,
      maxBytes: limit.map((moves) => 1e6 * moves),
      maxEvaluations: fc.constantFrom(1, 50, 100_000),
      numKicks: fc.nat({ max: 2 }),
      locality: fc.constantFrom('none' as const, 'groups' as const),
      confidence: fc.constantFrom(0, 1, 3),
      cost: fc.record({ bytesPerExpert: fc.constant(1e6), secondsPerLoad: fc.constantFrom(1e-9, 1e-3) }),
      maxSamples: fc.integer({ min: 1, max: 9 }),
    },
    { requiredKeys: [] },
  );
}

/** Every expert somewhere, the other slots anything; when it is broken some of those are empty. */
export function liveMapping(topology: Topology, seed: number, isBroken: boolean): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const random = seededRandom(seed ^ 0x5bd1e995);
  const rows = Array.from({ length: numLayers }, () => {
    const row = Array.from({ length: numPhysicalExperts }, (_, slot) => {
      if (slot < numLogicalExperts) return slot;
      return isBroken && random() < 0.3 ? -1 : Math.floor(random() * numLogicalExperts);
    });
    for (let slot = row.length - 1; slot > 0; slot--) {
      const other = Math.floor(random() * (slot + 1));
      [row[slot], row[other]] = [row[other]!, row[slot]!];
    }
    return row;
  });
  return ExpertMapping.fromPhysicalToLogical(rows, numLogicalExperts);
}

/** The experts of a rank's slots. */
export function expertsOf(row: readonly number[], rank: number, slotsPerRank: number): readonly number[] {
  return row.slice(rank * slotsPerRank, (rank + 1) * slotsPerRank);
}

/** The node that each group is on; fails when one is on several. */
export function assertGroupsOnNodes(row: readonly number[], topology: Topology): void {
  const { numNodes, numGroups, numLogicalExperts } = topology;
  const nodes = new Map<number, number>();
  for (const [slot, expert] of row.entries()) {
    if (expert < 0) continue;
    const group = Math.floor((expert * numGroups) / numLogicalExperts);
    const node = Math.floor((slot * numNodes) / row.length);
    assert.equal(nodes.get(group) ?? node, node, `group ${group}`);
    nodes.set(group, node);
  }
}

/**
 * The fewest moves that make a layer valid, where groups need not stay on nodes and no rank has more slots
 * than there are experts. No rank can keep more than it has slots, nor more than it has, and no more experts
 * can be kept than a matching of experts to open slots of the ranks that have them at hand: each expert left
 * out, and each slot left over, takes a move, and one move serves one of both.
 */
export function fewestMoves(
  previous: ArrayLike<number>,
  sizes: { numRanks: number; numExperts: number; slotsPerRank?: ArrayLike<number> | undefined },
): number {
  const { numRanks, numExperts, slotsPerRank } = sizes;
  const stride = previous.length / numRanks;
  const sizesOfRanks = Array.from({ length: numRanks }, (_, rank) => slotsPerRank?.[rank] ?? stride);
  const held = sizesOfRanks.map(
    (_, rank) =>
      new Set(
        Array.from(previous)
          .slice(rank * stride, (rank + 1) * stride)
          .filter((expert) => expert >= 0),
      ),
  );
  const kept: number[][] = sizesOfRanks.map(() => []);
  const place = (expert: number, seen: Set<number>): boolean =>
    held.some((experts, rank) => {
      if (!experts.has(expert) || seen.has(rank)) return false;
      seen.add(rank);
      const row = kept[rank]!;
      if (row.length < sizesOfRanks[rank]!) return row.push(expert) > 0;
      const at = row.findIndex((other) => place(other, seen));
      if (at >= 0) row[at] = expert;
      return at >= 0;
    });
  const numKept = Array.from({ length: numExperts }, (_, expert) => place(expert, new Set())).filter(
    Boolean,
  ).length;
  const leftOver = sizesOfRanks.reduce((sum, size, rank) => sum + size - Math.min(size, held[rank]!.size), 0);
  return Math.max(leftOver, numExperts - numKept);
}
