import { EplbError } from '../core/errors.ts';

/** A byte offset into the kernels' memory. */
export type Pointer = number;

/**
 * What the WebAssembly module exports; the contracts are in kernels/, one file each. Sizes are exported
 * beside the kernels that they are of, so that no other place knows them.
 */
export interface KernelExports {
  /** What they were instantiated on. */
  readonly memory: WasmMemory;
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
  replaceRow(row: Pointer, kept: Pointer, sums: Pointer, n: number, scratch: Pointer): number;
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
    numPlacements: number,
    stride: number,
  ): void;
  scoreLayersScratchBytes(numLogical: number): number;
  scoreTables(
    slots: Pointer,
    numPhysical: number,
    numLogical: number,
    replicated: Pointer,
    counts: Pointer,
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
  'memory' | Extract<keyof KernelExports, `${string}ScratchBytes`>
>;

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
  throw new EplbError('EPLB_INTERNAL', "the kernels' module is not this library's");
}

/**
 * Whether it is the module of this library. That this one has all that the interface says is checked when it
 * is built, by scripts/kernel-contract.ts: to ask for each name again takes a twentieth of a first mapping.
 */
function isKernels(exports: object): exports is KernelExports {
  return 'recordRow' in exports;
}
