import type { Topology } from '../../core/topology.ts';
import type { JobLayout } from '../../engine/layout.ts';
import { alignUp } from '../../memory/carver.ts';
import type { Pointer } from '../../memory/kernel-exports.ts';

/** Numbers before those of layers: see {@link PlanMemory}. */
const HEADER_NUMBERS = 4;
const KNOWN_STEPS = 0;
const STAYING_STEPS = 1;

/** Bytes of a {@link PlanMemory}. */
export function planMemoryBytes({ numLayers, numLogicalExperts }: Topology): number {
  return 4 * (HEADER_NUMBERS + numLayers * (1 + alignUp(numLogicalExperts, 4)));
}

/**
 * What is remembered with a mapping: the loads that it was planned for, and how well they were known. So that
 * the next plan can tell whether they have changed. A view on a job's memory.
 */
export class PlanMemory {
  /** Where the rows of expected loads begin. */
  readonly #rows: Pointer;
  readonly #width: number;
  readonly #numbers: Float32Array;

  /** @param at of as many bytes as {@link planMemoryBytes} says */
  constructor(buffer: ArrayBufferLike, { topology, memoryBytes }: JobLayout, at: Pointer) {
    this.#width = alignUp(topology.numLogicalExperts, 4);
    this.#rows = at + 4 * (HEADER_NUMBERS + topology.numLayers);
    this.#numbers = new Float32Array(buffer, at, memoryBytes / 4);
  }

  /** Steps that the plan was made from. */
  get knownSteps(): number {
    return this.#numbers[KNOWN_STEPS]!;
  }

  /** Steps that the mapping was expected to stay good for. */
  get stayingSteps(): number {
    return this.#numbers[STAYING_STEPS]!;
  }

  /** Writes what holds for all layers. */
  describe(knownSteps: number, stayingSteps: number): void {
    this.#numbers[KNOWN_STEPS] = knownSteps;
    this.#numbers[STAYING_STEPS] = stayingSteps;
  }

  /** Steps that a layer's expected loads are as good as. */
  tellingSteps(layer: number): number {
    return this.#numbers[HEADER_NUMBERS + layer]!;
  }

  /** f32[logical made a multiple of 4]: a layer's expected loads, as shares of the mean rank load. */
  expectedAt(layer: number): Pointer {
    return this.#rows + 4 * layer * this.#width;
  }

  /** Writes a layer's expected loads. */
  expect(layer: number, loads: Float32Array, tellingSteps: number): void {
    const numLayers = (this.#numbers.length - HEADER_NUMBERS) / (1 + this.#width);
    this.#numbers[HEADER_NUMBERS + layer] = tellingSteps;
    this.#numbers.set(loads, HEADER_NUMBERS + numLayers + layer * this.#width);
  }

  /** Takes over all of another's. */
  copy(other: PlanMemory): void {
    this.#numbers.set(other.#numbers);
  }
}
