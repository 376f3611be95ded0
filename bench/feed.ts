import type { ExpertLoadBalancer, ExpertMapping, LoadRow } from 'expert-load-balancer';
import { Random } from './random.ts';

const NUM_STEPS = 4;

/**
 * Records steps of whole token counts, or of fractions, into a balancer, four different ones in turn, and
 * knows what the average of the window then has to be.
 */
export class StepFeed {
  readonly #balancer: ExpertLoadBalancer;
  readonly #numExperts: number;
  readonly #steps: Float32Array[];
  readonly #rows: Float32Array[][];
  readonly #isLogical: boolean;
  #recorded = 0;

  constructor(
    balancer: ExpertLoadBalancer,
    what: 'physical' | 'logical',
    seed: number,
    loads: 'whole' | 'fractional' = 'whole',
  ) {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = balancer.topology;
    const random = new Random(seed, 'steps');
    this.#balancer = balancer;
    this.#isLogical = what === 'logical';
    this.#numExperts = this.#isLogical ? numLogicalExperts : numPhysicalExperts;
    const numLoads = numLayers * this.#numExperts;
    this.#steps = Array.from({ length: NUM_STEPS }, () =>
      Float32Array.from({ length: numLoads }, () =>
        loads === 'whole' ? random.below(1000) : random.below(1_000_000) / 1000,
      ),
    );
    this.#rows = this.#steps.map((step) =>
      Array.from({ length: numLayers }, (_, layer) =>
        step.subarray(layer * this.#numExperts, (layer + 1) * this.#numExperts),
      ),
    );
  }

  /** The rows of the first step, one a layer. */
  get rows(): readonly Float32Array[] {
    return this.#rows[0]!;
  }

  /** Records the next step's loads; the caller advances the window. */
  record(): void {
    const rows = this.#rows[this.#recorded++ % NUM_STEPS]!;
    for (let layer = 0; layer < rows.length; layer++) this.#recordRow(layer, rows[layer]!);
  }

  /** Records and advances as many steps. */
  fill(steps: number): void {
    for (let i = 0; i < steps; i++) {
      this.record();
      this.#balancer.advanceWindow();
    }
  }

  /** The average of the steps in the window, as they were recorded. */
  average(): Float64Array {
    return meanOf(this.stepsInWindow());
  }

  /** The loads of the steps in the window, oldest first. */
  stepsInWindow(): Float32Array[] {
    const samples = Math.min(this.#recorded, this.#balancer.windowSize);
    const first = this.#recorded - samples;
    return Array.from({ length: samples }, (_, i) => this.#steps[(first + i) % NUM_STEPS]!);
  }

  #recordRow(layer: number, row: LoadRow): void {
    if (this.#isLogical) this.#balancer.recordLogicalLoad(layer, row);
    else this.#balancer.recordLoad(layer, row);
  }
}

/** Adds loads [layers x physical] up per expert: [layers x logical]. */
export function foldLoads(loads: Float32Array, mapping: ExpertMapping): Float64Array {
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = mapping;
  const folded = new Float64Array(numLayers * numLogicalExperts);
  phyToLog.forEach((expert, at) => {
    folded[Math.floor(at / numPhysicalExperts) * numLogicalExperts + expert]! += loads[at]!;
  });
  return folded;
}

/** The mean of tables of the same length, entry by entry. */
export function meanOf(tables: readonly (Float32Array | Float64Array)[]): Float64Array {
  const mean = new Float64Array(tables[0]!.length);
  for (const table of tables) {
    for (let at = 0; at < mean.length; at++) mean[at]! += table[at]!;
  }
  return mean.map((sum) => sum / tables.length);
}
