import { EplbError } from '../core/errors.ts';

/** A byte offset into the kernels' memory. */
export type Pointer = number;

/**
 * What the WebAssembly module exports; the contracts are in kernels/, one file each. Sizes are exported
 * beside the kernels that they are of, so that no other place knows them.
 */
export interface KernelExports {
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
  countReplicas(phyToLog: Pointer, numPhysical: number, numLogical: number, count: Pointer): number;
  firstInvalid(loads: Pointer, n: number): number;
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
  placeLocality(
    weight: Pointer,
    coactivation: Pointer,
    numLogical: number,
    numPhysical: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    tolerance: number,
    maxEvaluations: number,
    cancelled: Pointer,
    phyToLog: Pointer,
    replicaRank: Pointer,
    scratch: Pointer,
  ): number;
  placeLocalityScratchBytes(
    numLogical: number,
    numPhysical: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
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
  prepareSamples(
    steps: Pointer,
    stride: number,
    numSteps: number,
    numExperts: number,
    numRanks: number,
    lengths: Pointer,
    shrink: number,
    prior: number,
    samples: Pointer,
    spread: Pointer,
    mean: Pointer,
    likeness: Pointer,
    weights: Pointer,
    scratch: Pointer,
  ): void;
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
  searchAdaptive(
    samples: Pointer,
    spread: Pointer,
    weights: Pointer,
    numExperts: number,
    numSlots: number,
    numRanks: number,
    numNodes: number,
    numSamples: number,
    slotsPerRank: Pointer,
    previous: Pointer,
    fresh: Pointer,
    price: number,
    maxMoves: number,
    maxEvaluations: number,
    numKicks: number,
    cancelled: Pointer,
    phyToLog: Pointer,
    replicaRank: Pointer,
    stats: Pointer,
    scratch: Pointer,
  ): void;
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
    scratch: Pointer,
  ): number;
  windowImbalanceScratchBytes(numLogical: number): number;
  widenRow(row: Pointer, out: Pointer, n: number): void;
}

/** What the kernels say of sizes: what can be asked before there is any memory to work in. */
export type KernelSizes = Pick<KernelExports, Extract<keyof KernelExports, `${string}ScratchBytes`>>;

/**
 * How many parameters each export has. The types hold it to the interface, and {@link isKernels} to the
 * module.
 */
const NUM_PARAMETERS: { readonly [Name in keyof KernelExports]: Parameters<KernelExports[Name]>['length'] } =
  {
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
    placeLocality: 13,
    placeLocalityScratchBytes: 5,
    placeRow: 7,
    placeRowScratchBytes: 2,
    prepareSamples: 14,
    preserveSlots: 7,
    preserveSlotsScratchBytes: 3,
    rankLoads: 7,
    recordRow: 3,
    replicateLayer: 7,
    replicateLayerScratchBytes: 2,
    scoreLayers: 12,
    searchAdaptive: 20,
    sortKeysDescending: 3,
    sortKeysScratchBytes: 1,
    widenRow: 3,
    windowImbalance: 8,
    windowImbalanceScratchBytes: 1,
  };

/**
 * What a module's exports lack to be the kernels: undefined when they are all there, have as many parameters
 * as this library gives them, and none is there that it does not know.
 */
export function kernelMismatch(exports: object): string | undefined {
  for (const [name, numParameters] of Object.entries(NUM_PARAMETERS)) {
    const found: unknown = Reflect.get(exports, name);
    if (typeof found !== 'function') return `exports no function ${name}`;
    if (found.length !== numParameters) {
      return `exports ${name} with ${found.length} parameters, not ${numParameters}`;
    }
  }
  const unknown = Object.keys(exports).find(
    (name) => name !== 'memory' && !Object.hasOwn(NUM_PARAMETERS, name),
  );
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
