/**
 * Holds the kernels' module to `KernelExports`, when it is built: the types cannot, as it is compiled apart.
 */
import type { KernelConstant, KernelExports } from '../src/memory/kernel-exports.ts';

/** The exports that are functions. */
type KernelFunction = {
  [Name in keyof KernelExports]: KernelExports[Name] extends KernelConstant ? never : Name;
}[keyof KernelExports];

/**
 * How many parameters each function has. The types hold it to the interface, and {@link kernelMismatch} to
 * the module.
 */
const NUM_PARAMETERS: {
  readonly [Name in KernelFunction]: Parameters<KernelExports[Name]>['length'];
} = {
  adaptiveScratchBytes: 5,
  adaptiveStepCost: 4,
  addSample: 4,
  addSums: 4,
  addToBands: 7,
  averageLoads: 8,
  averageLoadsScratchBytes: 1,
  averageSlots: 7,
  clearBytes: 2,
  copyBytes: 3,
  countReplicas: 4,
  dealToRanks: 1,
  firstInvalid: 2,
  foldLoads: 5,
  foldSample: 5,
  foldSums: 4,
  foldToBands: 8,
  invertLayer: 6,
  loadImbalance: 2,
  longestTime: 2,
  narrowRow: 3,
  packLayer: 6,
  packLayerScratchBytes: 1,
  placeLayers: 10,
  placeLayersScratchBytes: 4,
  placeRow: 7,
  placeRowScratchBytes: 2,
  measureChange: 1,
  measureSlowest: 1,
  preparePairs: 6,
  prepareSamples: 1,
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
  searchAdaptive: 1,
  sortKeysDescending: 3,
  sortKeysScratchBytes: 1,
  widenRow: 3,
  windowImbalance: 10,
  windowImbalanceScratchBytes: 1,
};

/** The numbers that the kernels export: the types hold it to the interface. */
const CONSTANTS: { readonly [Name in Exclude<keyof KernelExports, KernelFunction>]: true } = {
  adaptiveTermsBytes: true,
  adaptive_price: true,
  adaptive_leastGain: true,
  adaptive_linkPrice: true,
  adaptive_pairsTotal: true,
  adaptive_savedBefore: true,
  adaptive_savedAfter: true,
  adaptive_ceiling: true,
  adaptive_before: true,
  adaptive_after: true,
  adaptive_evaluations: true,
  adaptive_work: true,
  adaptive_noise: true,
  adaptive_numTelling: true,
  adaptive_numVarying: true,
  adaptive_passing: true,
  adaptive_forgetting: true,
  adaptive_turnover: true,
  adaptive_shrink: true,
  adaptive_prior: true,
  adaptive_distance: true,
  adaptive_numNewSteps: true,
  adaptive_numExperts: true,
  adaptive_numSlots: true,
  adaptive_numRanks: true,
  adaptive_numNodes: true,
  adaptive_maxSamples: true,
  adaptive_slotsPerRank: true,
  adaptive_survivors: true,
  adaptive_domains: true,
  adaptive_rankSpeed: true,
  adaptive_pairs: true,
  adaptive_nodeOfRank: true,
  adaptive_isNearest: true,
  adaptive_numLinkNodes: true,
  adaptive_ceilingLoads: true,
  adaptive_isBelow: true,
  adaptive_pinned: true,
  adaptive_numPins: true,
  adaptive_mostCopies: true,
  adaptive_fixedShare: true,
  adaptive_fixedLoad: true,
  adaptive_curve: true,
  adaptive_tokens: true,
  adaptive_scratch: true,
  adaptive_steps: true,
  adaptive_stride: true,
  adaptive_numSteps: true,
  adaptive_numSingles: true,
  adaptive_stepLength: true,
  adaptive_newestLength: true,
  adaptive_totalLoad: true,
  adaptive_unit: true,
  adaptive_elasticity: true,
  adaptive_placement: true,
  adaptive_slowest: true,
  adaptive_numSamples: true,
  adaptive_isNoise: true,
  adaptive_samples: true,
  adaptive_spread: true,
  adaptive_weights: true,
  adaptive_mean: true,
  adaptive_middle: true,
  adaptive_likeness: true,
  adaptive_previous: true,
  adaptive_fresh: true,
  adaptive_dealsCopies: true,
  adaptive_isSharp: true,
  adaptive_maxMoves: true,
  adaptive_maxVisits: true,
  adaptive_maxPasses: true,
  adaptive_maxIdle: true,
  adaptive_maxEvaluations: true,
  adaptive_numKicks: true,
  adaptive_walkPatience: true,
  adaptive_cancelled: true,
  adaptive_phyToLog: true,
  adaptive_replicaRank: true,
  adaptive_moves: true,
  adaptive_visits: true,
  adaptive_expected: true,
  adaptive_firstNew: true,
};

/**
 * What a module's exports lack to be the kernels: undefined when they are all there, functions have as many
 * parameters as this library gives them, and none is there that it does not know.
 */
export function kernelMismatch(exports: object): string | undefined {
  for (const [name, numParameters] of Object.entries(NUM_PARAMETERS)) {
    const found: unknown = Reflect.get(exports, name);
    if (typeof found !== 'function') return `exports no function ${name}`;
    if (found.length !== numParameters) {
      return `exports ${name} with ${found.length} parameters, not ${numParameters}`;
    }
  }
  for (const name of Object.keys(CONSTANTS)) {
    const found: unknown = Reflect.get(exports, name);
    if (!(found instanceof WebAssembly.Global)) return `exports no number ${name}`;
  }
  const known = { memory: true, ...NUM_PARAMETERS, ...CONSTANTS };
  const unknown = Object.keys(exports).find((name) => !Object.hasOwn(known, name));
  return unknown === undefined ? undefined : `exports ${unknown}, which is not known`;
}
