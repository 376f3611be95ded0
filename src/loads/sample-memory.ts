import type { Topology } from '../core/topology.ts';
import { zeros } from '../memory/allocate.ts';
import type { KernelSizes, Pointer } from '../memory/kernel-exports.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';
import { type LoadSamples, singlesWithin, type WrittenSamples } from './load-samples.ts';
import { type BucketContent, type BucketLayout, carveBuckets, SampleBuckets } from './sample-buckets.ts';

/** Where the samples for policies that plan from them lie in the shared memory. */
export interface SampleLayout {
  /** Single steps, the newest; undefined where all steps are in `older`. */
  readonly newest: BucketLayout | undefined;
  readonly older: BucketLayout;
  readonly end: number;
}

/** All that is kept of the last steps: what makes another memory of the same sizes the same. */
export interface SampleContent {
  readonly newest: BucketContent | undefined;
  readonly older: BucketContent;
}

/** Two memories of samples of the same sizes can take over what the other one has. */
export interface SampleSizes {
  readonly numSingles: number;
  readonly stepsPerBucket: number;
  readonly numBuckets: number;
}

/**
 * Lays out at most `maxSamples` samples of the last steps: of more steps than that the newest ones one by
 * one, see {@link singlesWithin}, and older ones, as many in each.
 */
export function carveSamples(
  topology: Topology,
  numSteps: number,
  maxSamples: number,
  sizes: KernelSizes,
  start: number,
): SampleLayout {
  const numSingles = numSteps > maxSamples ? singlesWithin(maxSamples) : 0;
  const carve = (steps: number, most: number, at: number) => carveBuckets(topology, steps, most, sizes, at);
  const newest = numSingles === 0 ? undefined : carve(numSingles, numSingles, start);
  const older = carve(numSteps - numSingles, maxSamples - numSingles, newest?.end ?? start);
  return { newest, older, end: older.end };
}

export type { SampleMemory };

/** Begins to keep samples. A function, as an import of the library leaves this module out. */
export const makeSampleMemory = (...args: ConstructorParameters<typeof SampleMemory>): SampleMemory =>
  new SampleMemory(...args);

/**
 * The last steps' loads per expert: what a policy needs that plans for single steps and not for their sum. A
 * step that leaves the newest ones is added to the older ones.
 */
class SampleMemory {
  readonly #topology: Topology;
  readonly #region: KernelRegion;
  readonly #newest: SampleBuckets | undefined;
  readonly #older: SampleBuckets;

  constructor(topology: Topology, region: KernelRegion, { newest, older }: SampleLayout) {
    this.#topology = topology;
    this.#region = region;
    this.#newest = newest && new SampleBuckets(topology, region, newest);
    this.#older = new SampleBuckets(topology, region, older);
  }

  /** As {@link SampleBuckets.addPhysical}. */
  addPhysical(layer: number, row: Pointer, phyToLog: Pointer): void {
    (this.#newest ?? this.#older).addPhysical(layer, row, phyToLog);
  }

  /** As {@link SampleBuckets.addLogical}. */
  addLogical(layer: number, row: Pointer): void {
    (this.#newest ?? this.#older).addLogical(layer, row);
  }

  /** The step has all its layers. */
  endStep(): void {
    const leaving = this.#newest?.leaving;
    if (leaving !== undefined) {
      this.#older.addStep(leaving);
      this.#older.endStep();
    }
    (this.#newest ?? this.#older).endStep();
  }

  /** Copies the samples, oldest first, to f32[samples x layers x logical]. */
  writeTo(out: Pointer): WrittenSamples {
    const { places, written } = this.#samples();
    const bytes = 4 * this.#loadsOfStep;
    for (const [i, place] of places.entries()) this.#region.kernels.copyBytes(out + i * bytes, place, bytes);
    return written;
  }

  /** The samples, copied. */
  copy(): LoadSamples {
    const { numLayers, numLogicalExperts: numExperts } = this.#topology;
    const { places, written } = this.#samples();
    const step = this.#loadsOfStep;
    const data = zeros(`a copy of ${places.length} samples`, Float32Array, places.length * step);
    for (const [i, place] of places.entries())
      data.set(new Float32Array(this.#region.buffer, place, step), i * step);
    return { data, numLayers, numExperts, ...written };
  }

  /** All that it has. Copies. */
  content(): SampleContent {
    return { newest: this.#newest?.content(), older: this.#older.content() };
  }

  /** Takes over what another one of the same sizes had. */
  refill({ newest, older }: SampleContent): void {
    if (newest !== undefined) this.#newest?.refill(newest);
    this.#older.refill(older);
  }

  get sizes(): SampleSizes {
    const { stepsPerBucket, numBuckets } = this.#older.sizes;
    return { numSingles: this.#newest?.sizes.numBuckets ?? 0, stepsPerBucket, numBuckets };
  }

  get #loadsOfStep(): number {
    return this.#topology.numLayers * this.#topology.numLogicalExperts;
  }

  /** Where the samples are, oldest first, and what they are of. */
  #samples(): { readonly places: readonly Pointer[]; readonly written: WrittenSamples } {
    const singles = this.#newest?.places() ?? [];
    const places = [...this.#older.places(), ...singles];
    const stepsPerSample = this.#older.sizes.stepsPerBucket;
    const { newestShare } = this.#older;
    const written = { numSamples: places.length, stepsPerSample, newestShare, numSingles: singles.length };
    return { places, written };
  }
}
