import fc from 'fast-check';
import { rebalanceLayer } from '../oracle/default-policy.ts';
import { rankLoads } from '../oracle/rank-loads.ts';
import { divisors, loadsArbitrary, seededRandom } from './arbitraries.ts';

type Random = () => number;

/** A layer, and what tells which of its experts belong together. */
export interface LocalityProblem {
  readonly weight: readonly number[];
  /** [experts x experts]; without it, the groups tell. */
  readonly coactivation: Float32Array | undefined;
  readonly numLogicalExperts: number;
  readonly numReplicas: number;
  readonly numGroups: number;
  readonly numNodes: number;
  readonly numRanks: number;
  readonly tolerance: number;
}

/** Ways to draw how often two experts are picked together. */
const MATRIX_KINDS: Record<string, (random: Random, a: number, b: number) => number> = {
  counts: (random) => Math.floor(random() * 1000),
  ties: (random) => Math.floor(random() * 3),
  sparse: (random) => (random() < 0.9 ? 0 : Math.floor(random() * 100)),
  clusters: (random, a, b) => (a % 4 === b % 4 ? 50 : 0) + random(),
  fractional: (random) => random(),
  huge: (random) => random() * 3e38,
  tiny: (random) => random() * 1e-44,
};

/** [experts x experts], symmetric, its diagonal anything. */
function coactivationArbitrary(numExperts: number): fc.Arbitrary<Float32Array> {
  const kinds = fc.constantFrom(...Object.keys(MATRIX_KINDS));
  return fc.record({ kind: kinds, seed: fc.integer() }).map(({ kind, seed }) => {
    const random = seededRandom(seed);
    const matrix = new Float32Array(numExperts ** 2);
    for (let a = 0; a < numExperts; a++) {
      for (let b = 0; b <= a; b++) {
        const value = MATRIX_KINDS[kind]!(random, a, b);
        matrix[a * numExperts + b] = value;
        matrix[b * numExperts + a] = value;
      }
    }
    return matrix;
  });
}

/** A layer of at most `maxExperts` experts on 1 to 8 nodes, with co-activation or only groups. */
export function localityProblemArbitrary(maxExperts: number): fc.Arbitrary<LocalityProblem> {
  return fc
    .record({
      numNodes: fc.constantFrom(1, 2, 2, 3, 4, 4, 8).filter((numNodes) => numNodes <= maxExperts),
      ranksPerNode: fc.integer({ min: 1, max: 4 }),
      share: fc.oneof(fc.constant(1), fc.double({ min: 0.4, max: 1, noNaN: true })),
    })
    .chain(({ numNodes, ranksPerNode, share }) => {
      const numRanks = numNodes * ranksPerNode;
      const most = Math.max(1, Math.floor(maxExperts / numRanks));
      return fc.integer({ min: 1, max: most }).chain((slotsPerRank) => {
        const numReplicas = numRanks * slotsPerRank;
        const numLogicalExperts = Math.max(1, Math.floor(numReplicas * share));
        return fc.record({
          numLogicalExperts: fc.constant(numLogicalExperts),
          numReplicas: fc.constant(numReplicas),
          numGroups: fc.constantFrom(...divisors(numLogicalExperts)),
          numNodes: fc.constant(numNodes),
          numRanks: fc.constant(numRanks),
          weight: loadsArbitrary(numLogicalExperts),
          coactivation: fc.option(coactivationArbitrary(numLogicalExperts), { freq: 3, nil: undefined }),
          tolerance: fc.constantFrom(0, 0.05, 0.05, 0.3, 0.95),
        });
      });
    });
}

/** The highest rank load of a placement, in float64. */
export function highestLoad({ weight, numRanks }: LocalityProblem, phyToLog: readonly number[]): number {
  const count = weight.map((_, expert) => phyToLog.filter((other) => other === expert).length);
  return rankLoads(weight, phyToLog, count, numRanks).max;
}

/** The nodes of each expert; -1 is an empty slot. */
export function nodeSets(
  phyToLog: readonly number[],
  numExperts: number,
  numNodes: number,
  nodeOf = (slot: number): number => Math.floor((slot * numNodes) / phyToLog.length),
): number[][] {
  const sets = Array.from({ length: numExperts }, () => new Set<number>());
  for (const [slot, expert] of phyToLog.entries()) if (expert >= 0) sets[expert]!.add(nodeOf(slot));
  return sets.map((set) => [...set]);
}

/** The default policy's placement of the same layer. */
export function usualPlacement(problem: LocalityProblem): number[] {
  return rebalanceLayer(problem.weight, problem).phyToLog;
}

/**
 * Mean number of nodes that a token needs to find all its experts, each on any node that has a copy: exactly
 * the least, by trying all sets of nodes. At most 16 nodes.
 */
export function meanNodesPerToken(
  tokens: Iterable<ArrayLike<number>>,
  phyToLog: readonly number[],
  numExperts: number,
  numNodes: number,
  nodeOf?: (slot: number) => number,
): number {
  const masks = nodeSets(phyToLog, numExperts, numNodes, nodeOf).map((set) =>
    set.reduce((mask, node) => mask | (1 << node), 0),
  );
  const sets = Array.from({ length: 2 ** numNodes }, (_, set) => set).sort((a, b) => bits(a) - bits(b));
  let sum = 0;
  let numTokens = 0;
  for (const experts of tokens) {
    const needed = Array.from(experts, (expert) => masks[expert]!);
    sum += bits(sets.find((set) => needed.every((mask) => (mask & set) !== 0))!);
    numTokens++;
  }
  return sum / numTokens;
}

function bits(set: number): number {
  let n = 0;
  for (let left = set; left !== 0; left &= left - 1) n++;
  return n;
}
