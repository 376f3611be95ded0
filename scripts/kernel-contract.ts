/**
 * Holds the kernels' module to `KernelExports`, when it is built: the types cannot, as it is compiled apart.
 */
import type { KernelExports } from '../src/memory/kernel-exports.ts';
import type { AdaptiveExports, KernelConstant } from '../src/policy/adaptive/kernel-exports.ts';

/**
 * How many parameters each function has, and which numbers are exported. The types hold it to the interface,
 * and {@link kernelMismatch} to the module.
 */
type Contract<Exports> = {
  readonly [Name in Exclude<keyof Exports, 'memory'>]: Exports[Name] extends KernelConstant
    ? 'number'
    : Exports[Name] extends (...given: never[]) => unknown
      ? Parameters<Exports[Name]>['length']
      : never;
};

/** Of kernels/index.ts. */
export const KERNELS: Contract<KernelExports> = {
  addSample: 4,
  addSums: 4,
  addToBands: 7,
  averageLoads: 8,
  averageLoadsScratchBytes: 1,
  averageSlots: 7,
  clearBytes: 2,
  copyBytes: 3,
  countReplicas: 4,
  firstInvalid: 2,
  foldLoads: 5,
  foldSample: 5,
  foldSums: 4,
  foldToBands: 8,
  invertLayer: 6,
  loadImbalance: 2,
  narrowRow: 3,
  packLayer: 6,
  packLayerScratchBytes: 1,
  placeLayers: 10,
  placeLayersScratchBytes: 4,
  placeRow: 7,
  placeRowScratchBytes: 2,
  preserveSlots: 7,
  preserveSlotsScratchBytes: 3,
  rankLoads: 7,
  recordRow: 3,
  replaceRow: 5,
  replicateLayer: 7,
  replicateLayerScratchBytes: 2,
  scoreLayers: 14,
  scoreLayersScratchBytes: 1,
  scoreTables: 5,
  sortKeysDescending: 3,
  sortKeysScratchBytes: 1,
  widenRow: 3,
  windowImbalance: 10,
  windowImbalanceScratchBytes: 1,
};

/** Of kernels/adaptive/index.ts. */
export const ADAPTIVE_KERNELS: Contract<AdaptiveExports> = {
  adaptiveScratchBytes: 5,
  adaptiveStepCost: 4,
  dealToRanks: 1,
  longestTime: 2,
  measureChange: 1,
  measureSlowest: 1,
  preparePairs: 6,
  prepareSamples: 1,
  searchAdaptive: 1,
  adaptiveTermsBytes: 'number',
  adaptive_price: 'number',
  adaptive_leastGain: 'number',
  adaptive_linkPrice: 'number',
  adaptive_pairsTotal: 'number',
  adaptive_savedBefore: 'number',
  adaptive_savedAfter: 'number',
  adaptive_ceiling: 'number',
  adaptive_before: 'number',
  adaptive_after: 'number',
  adaptive_evaluations: 'number',
  adaptive_work: 'number',
  adaptive_noise: 'number',
  adaptive_numTelling: 'number',
  adaptive_numVarying: 'number',
  adaptive_passing: 'number',
  adaptive_forgetting: 'number',
  adaptive_turnover: 'number',
  adaptive_shrink: 'number',
  adaptive_prior: 'number',
  adaptive_distance: 'number',
  adaptive_numNewSteps: 'number',
  adaptive_numExperts: 'number',
  adaptive_numSlots: 'number',
  adaptive_numRanks: 'number',
  adaptive_numNodes: 'number',
  adaptive_maxSamples: 'number',
  adaptive_slotsPerRank: 'number',
  adaptive_survivors: 'number',
  adaptive_domains: 'number',
  adaptive_rankSpeed: 'number',
  adaptive_pairs: 'number',
  adaptive_nodeOfRank: 'number',
  adaptive_isNearest: 'number',
  adaptive_numLinkNodes: 'number',
  adaptive_ceilingLoads: 'number',
  adaptive_isBelow: 'number',
  adaptive_pinned: 'number',
  adaptive_numPins: 'number',
  adaptive_mostCopies: 'number',
  adaptive_fixedShare: 'number',
  adaptive_fixedLoad: 'number',
  adaptive_curve: 'number',
  adaptive_tokens: 'number',
  adaptive_scratch: 'number',
  adaptive_steps: 'number',
  adaptive_stride: 'number',
  adaptive_numSteps: 'number',
  adaptive_numSingles: 'number',
  adaptive_stepLength: 'number',
  adaptive_newestLength: 'number',
  adaptive_totalLoad: 'number',
  adaptive_unit: 'number',
  adaptive_elasticity: 'number',
  adaptive_placement: 'number',
  adaptive_slowest: 'number',
  adaptive_numSamples: 'number',
  adaptive_isNoise: 'number',
  adaptive_samples: 'number',
  adaptive_spread: 'number',
  adaptive_weights: 'number',
  adaptive_mean: 'number',
  adaptive_middle: 'number',
  adaptive_likeness: 'number',
  adaptive_previous: 'number',
  adaptive_fresh: 'number',
  adaptive_dealsCopies: 'number',
  adaptive_isSharp: 'number',
  adaptive_maxMoves: 'number',
  adaptive_maxVisits: 'number',
  adaptive_maxPasses: 'number',
  adaptive_maxIdle: 'number',
  adaptive_maxEvaluations: 'number',
  adaptive_numKicks: 'number',
  adaptive_walkPatience: 'number',
  adaptive_cancelled: 'number',
  adaptive_phyToLog: 'number',
  adaptive_replicaRank: 'number',
  adaptive_moves: 'number',
  adaptive_visits: 'number',
  adaptive_expected: 'number',
  adaptive_firstNew: 'number',
};

/**
 * What a module's exports lack to be the kernels: undefined when they are all there, functions have as many
 * parameters as this library gives them, and none is there that it does not know.
 */
export function kernelMismatch(
  exports: object,
  contract: Readonly<Record<string, number | 'number'>>,
): string | undefined {
  for (const [name, expected] of Object.entries(contract)) {
    const found: unknown = Reflect.get(exports, name);
    if (expected === 'number') {
      if (!(found instanceof WebAssembly.Global)) return `exports no number ${name}`;
      continue;
    }
    if (typeof found !== 'function') return `exports no function ${name}`;
    if (found.length !== expected) return `exports ${name} with ${found.length} parameters, not ${expected}`;
  }
  const unknown = Object.keys(exports).find((name) => name !== 'memory' && !Object.hasOwn(contract, name));
  return unknown === undefined ? undefined : `exports ${unknown}, which is not known`;
}
