/** A byte offset into the kernels' memory. */
export type Pointer = number;

/** What the WebAssembly module exports; the contracts are in kernels/, one file each. */
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
  widenRow(row: Pointer, out: Pointer, n: number): void;
}

/** A compiled module, and a memory: WebAssembly's own types are in the DOM library, which users of these types need not have. */
export type WasmModule = object;
export interface WasmMemory {
  readonly buffer: ArrayBufferLike;
  grow(pages: number): number;
}

/** An instance of the kernels on `memory`. */
export function instantiateKernels(module: WasmModule, memory: WasmMemory): KernelExports {
  const { exports } = new WebAssembly.Instance(module as WebAssembly.Module, {
    env: { memory: memory as WebAssembly.Memory },
  });
  return exports as unknown as KernelExports;
}
