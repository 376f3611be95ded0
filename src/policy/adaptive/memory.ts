import type { Topology } from '../../core/topology.ts';
import type { MemoryPart } from '../../engine/layer-kernel.ts';
import type { JobLayout } from '../../engine/layout.ts';
import { alignUp } from '../../memory/carver.ts';
import type { Pointer } from '../../memory/kernel-exports.ts';

/** Numbers of a layer before its loads: see {@link PlanMemory}. */
const HEADER_NUMBERS = 4;
const KNOWN_STEPS = 0;
const STAYING_STEPS = 1;
const TELLING_STEPS = 2;
const EXTRA_STEPS = 3;

/** In place of the steps that a layer's plan was made from. */
const NOT_PLANNED = 0;
const FOR_NO_LOADS = -1;

/** Bytes of a {@link PlanMemory}. */
export function planMemoryBytes({ numLayers, numLogicalExperts }: Topology): number {
  return 4 * numLayers * layerNumbers(numLogicalExperts);
}

function layerNumbers(numLogicalExperts: number): number {
  return HEADER_NUMBERS + alignUp(numLogicalExperts, 4);
}

/**
 * What is remembered with a mapping, layer by layer: the loads that it was planned for, and how well they
 * were known. So that the next plan can tell whether they have changed. A view on a job's memory.
 */
export class PlanMemory {
  readonly #at: Pointer;
  /** Numbers of a layer. */
  readonly #stride: number;
  readonly #numbers: Float32Array;

  /** @param at of as many bytes as {@link planMemoryBytes} says */
  constructor(buffer: ArrayBufferLike, { topology, memoryBytes }: JobLayout, at: Pointer) {
    this.#at = at;
    this.#stride = layerNumbers(topology.numLogicalExperts);
    this.#numbers = new Float32Array(buffer, at, memoryBytes / 4);
  }

  /** Whether anything is remembered of a layer. */
  isPlanned(layer: number): boolean {
    return this.knownSteps(layer) > NOT_PLANNED;
  }

  /** Whether a layer is as it was before the first plan. */
  isForNoLoads(layer: number): boolean {
    return this.knownSteps(layer) === FOR_NO_LOADS;
  }

  /** Steps that the plan of a layer was made from. */
  knownSteps(layer: number): number {
    return this.#number(layer, KNOWN_STEPS);
  }

  /** Steps that it was expected to stay good for. */
  stayingSteps(layer: number): number {
    return this.#number(layer, STAYING_STEPS);
  }

  /** Steps that a layer's expected loads are as good as. */
  tellingSteps(layer: number): number {
    return this.#number(layer, TELLING_STEPS);
  }

  /** By how many steps a layer is older than the mapping: layers can be committed one by one. */
  extraSteps(layer: number): number {
    return this.#number(layer, EXTRA_STEPS);
  }

  /**
   * f32[logical made a multiple of 4]: a layer's expected loads, as shares of the mean rank load; 0 beyond
   * the last expert.
   */
  expectedAt(layer: number): Pointer {
    return this.#at + 4 * (layer * this.#stride + HEADER_NUMBERS);
  }

  /** Writes how well a layer's loads were known. */
  describe(layer: number, knownSteps: number, stayingSteps: number): void {
    const header = layer * this.#stride;
    this.#numbers[header + KNOWN_STEPS] = knownSteps;
    this.#numbers[header + STAYING_STEPS] = stayingSteps;
    this.#numbers[header + EXTRA_STEPS] = 0;
  }

  /** Writes a layer's expected loads, and that there are none beyond them: the memory may hold anything. */
  expect(layer: number, loads: Float32Array, tellingSteps: number): void {
    const header = layer * this.#stride;
    this.#numbers[header + TELLING_STEPS] = tellingSteps;
    this.#numbers.set(loads, header + HEADER_NUMBERS);
    this.#numbers.fill(0, header + HEADER_NUMBERS + loads.length, header + this.#stride);
  }

  /** Takes over a layer of another's. */
  copyLayer(other: PlanMemory, layer: number): void {
    const first = layer * this.#stride;
    this.#numbers.set(other.#numbers.subarray(first, first + this.#stride), first);
  }

  #number(layer: number, index: number): number {
    return this.#numbers[layer * this.#stride + index]!;
  }
}

/** The memory of a mapping that has each layer of one of two others. */
export function joinPlanMemories(topology: Topology, partOf: (layer: number) => MemoryPart): Uint8Array {
  const { numLayers, numLogicalExperts } = topology;
  const stride = layerNumbers(numLogicalExperts);
  const joined = new Float32Array(numLayers * stride);
  for (let layer = 0; layer < numLayers; layer++) {
    const { memory, isInitial, extraSteps } = partOf(layer);
    const first = layer * stride;
    if (memory?.length !== planMemoryBytes(topology))
      joined[first + KNOWN_STEPS] = isInitial ? FOR_NO_LOADS : NOT_PLANNED;
    else {
      joined.set(new Float32Array(memory.buffer, memory.byteOffset + 4 * first, stride), first);
      joined[first + EXTRA_STEPS]! += extraSteps;
    }
  }
  return new Uint8Array(joined.buffer);
}
