import { EplbError } from '../core/errors.ts';

/** A byte offset into the kernels' memory. */
export type Pointer = number;

/** A number that the kernels export. */
interface KernelConstant {
  readonly value: number;
}

/** Fields of the terms of the adaptive policy's kernels that are float64; those that are 32-bit integers. See
 * kernels/adaptive/terms.ts. */
export type AdaptiveNumber =
  | 'price'
  | 'leastGain'
  | 'linkPrice'
  | 'pairsTotal'
  | 'savedBefore'
  | 'savedAfter'
  | 'ceiling'
  | 'before'
  | 'after'
  | 'evaluations'
  | 'work'
  | 'noise'
  | 'numTelling'
  | 'numVarying'
  | 'passing'
  | 'forgetting'
  | 'turnover'
  | 'shrink'
  | 'prior'
  | 'distance'
  | 'numNewSteps'
  | 'stepLength'
  | 'newestLength'
  | 'totalLoad'
  | 'unit'
  | 'elasticity';
export type AdaptiveInteger =
  | 'numExperts'
  | 'numSlots'
  | 'numRanks'
  | 'numNodes'
  | 'maxSamples'
  | 'slotsPerRank'
  | 'survivors'
  | 'domains'
  | 'rankSpeed'
  | 'pairs'
  | 'nodeOfRank'
  | 'numLinkNodes'
  | 'ceilingLoads'
  | 'isBelow'
  | 'pinned'
  | 'numPins'
  | 'mostCopies'
  | 'fixedShare'
  | 'fixedLoad'
  | 'curve'
  | 'tokens'
  | 'scratch'
  | 'steps'
  | 'stride'
  | 'numSteps'
  | 'numSingles'
  | 'numSamples'
  | 'isNoise'
  | 'samples'
  | 'spread'
  | 'weights'
  | 'mean'
  | 'middle'
  | 'likeness'
  | 'previous'
  | 'fresh'
  | 'dealsCopies'
  | 'isSharp'
  | 'maxMoves'
  | 'maxVisits'
  | 'maxPasses'
  | 'maxIdle'
  | 'maxEvaluations'
  | 'numKicks'
  | 'walkPatience'
  | 'cancelled'
  | 'placement'
  | 'slowest'
  | 'phyToLog'
  | 'replicaRank'
  | 'moves'
  | 'visits'
  | 'expected'
  | 'firstNew';

/** Where these fields lie in the terms. */
type AdaptiveOffsets = {
  readonly [Field in AdaptiveNumber | AdaptiveInteger as `adaptive_${Field}`]: KernelConstant;
};

/**
 * What the WebAssembly module exports; the contracts are in kernels/, one file each. Sizes are exported
 * beside the kernels that they are of, so that no other place knows them.
 */
export interface KernelExports extends AdaptiveOffsets {
  readonly adaptiveTermsBytes: KernelConstant;
  adaptiveScratchBytes(
    numExperts: number,
    numSlots: number,
    numRanks: number,
    maxSamples: number,
    numLinkNodes: number,
  ): number;
  adaptiveStepCost(terms: Pointer, slot: number, other: number, isOverwrite: number): number;
  addSample(sample: Pointer, sums: Pointer, n: number, sign: number): void;
  addSums(a: Pointer, b: Pointer, out: Pointer, n: number): void;
  addToBands(
    sample: Pointer,
    bands: Pointer,
    stride: number,
    shift: number,
    n: number,
    sign: number,
    used: Pointer,
  ): void;
  averageLoads(
    physicalSums: Pointer,
    phyToLog: Pointer,
    numPhysical: number,
    logicalSums: Pointer,
    numLogical: number,
    numSamples: number,
    out: Pointer,
    acc: Pointer,
  ): void;
  averageLoadsScratchBytes(numLogical: number): number;
  averageSlots(
    physicalSums: Pointer,
    phyToLog: Pointer,
    count: Pointer,
    numPhysical: number,
    logicalSums: Pointer,
    numSamples: number,
    out: Pointer,
  ): void;
  clearBytes(at: Pointer, length: number): void;
  copyBytes(to: Pointer, from: Pointer, length: number): void;
  dealToRanks(terms: Pointer): void;
  countReplicas(phyToLog: Pointer, numPhysical: number, numLogical: number, count: Pointer): number;
  firstInvalid(loads: Pointer, n: number): number;
  foldLoads(
    sample: Pointer,
    phyToLog: Pointer,
    numPhysical: number,
    loads: Pointer,
    numLogical: number,
  ): void;
  foldSample(sample: Pointer, phyToLog: Pointer, numPhysical: number, sign: number, sums: Pointer): void;
  foldSums(physicalSums: Pointer, phyToLog: Pointer, numPhysical: number, sums: Pointer): void;
  foldToBands(
    sample: Pointer,
    phyToLog: Pointer,
    bands: Pointer,
    stride: number,
    shift: number,
    numPhysical: number,
    sign: number,
    used: Pointer,
  ): void;
  invertLayer(
    phyToLog: Pointer,
    replicaRank: Pointer,
    numPhysical: number,
    numLogical: number,
    maxReplicas: number,
    logToPhy: Pointer,
  ): void;
  loadImbalance(loads: Pointer, n: number): number;
  narrowRow(row: Pointer, out: Pointer, n: number): number;
  packLayer(
    weight: Pointer,
    n: number,
    numPacks: number,
    packIndex: Pointer,
    rankInPack: Pointer,
    scratch: Pointer,
  ): void;
  packLayerScratchBytes(n: number): number;
  placeLayers(
    weight: Pointer,
    numLayers: number,
    numLogical: number,
    numPhysical: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    phyToLog: Pointer,
    replicaRank: Pointer,
    scratch: Pointer,
  ): void;
  placeLayersScratchBytes(
    numLogical: number,
    numPhysical: number,
    numGroups: number,
    numNodes: number,
  ): number;
  placeRow(
    weight: Pointer,
    numItems: number,
    numCopies: number,
    numPacks: number,
    slotToItem: Pointer,
    slotReplicaRank: Pointer,
    scratch: Pointer,
  ): void;
  placeRowScratchBytes(numItems: number, numCopies: number): number;
  measureChange(terms: Pointer): void;
  measureSlowest(terms: Pointer): void;
  preparePairs(
    coactivation: Pointer,
    weight: Pointer,
    numExperts: number,
    numGroups: number,
    pairs: Pointer,
  ): number;
  prepareSamples(terms: Pointer): void;
  preserveSlots(
    previous: Pointer,
    phyToLog: Pointer,
    replicaRank: Pointer,
    numPhysical: number,
    numRanks: number,
    numLogical: number,
    scratch: Pointer,
  ): void;
  preserveSlotsScratchBytes(numPhysical: number, numRanks: number, numLogical: number): number;
  rankLoads(
    weight: Pointer,
    phyToLog: Pointer,
    count: Pointer,
    numPhysical: number,
    numRanks: number,
    loads: Pointer,
    stats: Pointer,
  ): void;
  recordRow(loads: Pointer, pass: Pointer, n: number): number;
  replicateLayer(
    weight: Pointer,
    numLogical: number,
    numPhysical: number,
    phyToLog: Pointer,
    rank: Pointer,
    count: Pointer,
    scratch: Pointer,
  ): void;
  replicateLayerScratchBytes(numLogical: number, numPhysical: number): number;
  scoreLayers(
    loads: Pointer,
    offsets: Pointer,
    replicated: Pointer,
    words: number,
    numLayers: number,
    numLogical: number,
    numPhysical: number,
    numRanks: number,
    zeroIsOne: number,
    rankLoads: Pointer,
    stats: Pointer,
    shares: Pointer,
  ): void;
  scoreLayersScratchBytes(numLogical: number): number;
  longestTime(terms: Pointer, slots: Pointer): number;
  scoreTables(
    slots: Pointer,
    numPhysical: number,
    numLogical: number,
    replicated: Pointer,
    counts: Pointer,
  ): void;
  searchAdaptive(terms: Pointer): void;
  sortKeysDescending(keys: Pointer, n: number, scratch: Pointer): void;
  sortKeysScratchBytes(n: number): number;
  windowImbalance(
    physical: Pointer,
    logical: Pointer,
    phyToLog: Pointer,
    numLayers: number,
    numPhysical: number,
    numLogical: number,
    numRanks: number,
    paces: Pointer,
    shared: Pointer,
    scratch: Pointer,
  ): number;
  windowImbalanceScratchBytes(numLogical: number): number;
  widenRow(row: Pointer, out: Pointer, n: number): void;
}

/** What the kernels say of sizes: what can be asked before there is any memory to work in. */
export type KernelSizes = Pick<
  KernelExports,
  'adaptiveTermsBytes' | Extract<keyof KernelExports, `${string}ScratchBytes`>
>;

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
  preparePairs: 5,
  prepareSamples: 1,
  preserveSlots: 7,
  preserveSlotsScratchBytes: 3,
  rankLoads: 7,
  recordRow: 3,
  replicateLayer: 7,
  replicateLayerScratchBytes: 2,
  scoreLayers: 12,
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

function isKernels(exports: object): exports is KernelExports {
  return kernelMismatch(exports) === undefined;
}

/**
 * A compiled module, and a memory: WebAssembly's own types are in the DOM library, which users of these types
 * need not have.
 */
export type WasmModule = object;
export interface WasmMemory {
  readonly buffer: ArrayBufferLike;
  grow(pages: number): number;
}

/**
 * An instance of the kernels on `memory`.
 * @throws EplbError `EPLB_INTERNAL` for a module that is not this library's
 */
export function instantiateKernels(module: WasmModule, memory: WasmMemory): KernelExports {
  const { exports } = new WebAssembly.Instance(module as WebAssembly.Module, {
    env: { memory: memory as WebAssembly.Memory },
  });
  if (isKernels(exports)) return exports;
  throw new EplbError('EPLB_INTERNAL', `the kernels' module ${kernelMismatch(exports)}`);
}
