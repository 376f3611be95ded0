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

/** Loads of samples: every layer and expert has a mean, which bursts now and then. */
export function makeSamples(
  { numLayers, numLogicalExperts: numExperts }: Pick<Topology, 'numLayers' | 'numLogicalExperts'>,
  numSamples: number,
  seed: number,
): LoadSamples {
  const random = seededRandom(seed);
  const means = Array.from({ length: numLayers * numExperts }, () => 5 + 95 * random() ** 3);
  const data = Float32Array.from({ length: numSamples * means.length }, (_, i) => {
    const burst = random() < 0.1 ? 3 : 1;
    return Math.round(means[i % means.length]! * (0.5 + random()) * burst);
  });
  return { data, numSamples, numLayers, numExperts };
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

/** Whole slots for ranks of nodes, live placements with empty slots and doubles, any options. */
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
        options: optionsArbitrary(sizes.numLayers * sizes.numPhysicalExperts),
      }),
    )
    .map(({ topology, numSamples, seed, isBroken, options }) => ({
      topology,
      samples: makeSamples(topology, numSamples, seed),
      previous: liveMapping(topology, seed, isBroken),
      options,
    }));
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
    const group = Math.floor((expert * numGroups) / numLogicalExperts);
    const node = Math.floor((slot * numNodes) / row.length);
    assert.equal(nodes.get(group) ?? node, node, `group ${group}`);
    nodes.set(group, node);
  }
}
