import type { Topology } from '../core/topology.ts';
import { zeros } from '../memory/allocate.ts';
import { Carver } from '../memory/carver.ts';
import type { KernelSizes, Pointer } from '../memory/kernel-exports.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';

/** Where buckets of steps lie in the shared memory, as byte offsets. */
export interface BucketLayout {
  /** Steps of a bucket, and whole or begun buckets that are kept: together at most the steps to remember. */
  readonly stepsPerBucket: number;
  readonly numBuckets: number;
  /**
   * f64[layers x logical]: sums of the newest bucket, only ever added to; f64[logical]: the kernel's scratch.
   */
  readonly sums: number;
  readonly scratch: number;
  /**
   * f32[numBuckets x layers x logical]: means of the whole buckets, in turn; f32[layers x logical]: of the
   * newest.
   */
  readonly ring: number;
  readonly newest: number;
  readonly end: number;
}

/** All that buckets have: what makes others of the same sizes the same. */
export interface BucketContent {
  /** `[buckets x layers x logical]`: means of whole buckets, oldest first. */
  readonly means: Float32Array;
  /** `[layers x logical]`: sums of the newest one, and how many steps it has. */
  readonly sums: Float64Array;
  readonly numSteps: number;
}

/** Lays out at most `maxBuckets` buckets of the last steps. */
export function carveBuckets(
  { numLayers, numLogicalExperts }: Topology,
  numSteps: number,
  maxBuckets: number,
  sizes: KernelSizes,
  start: number,
): BucketLayout {
  const stepsPerBucket = Math.ceil(numSteps / maxBuckets);
  const numBuckets = Math.floor(numSteps / stepsPerBucket);
  const loads = numLayers * numLogicalExperts;
  const carver = new Carver(start);
  return {
    stepsPerBucket,
    numBuckets,
    sums: carver.take(8 * loads),
    scratch: carver.take(sizes.averageLoadsScratchBytes(numLogicalExperts)),
    ring: carver.take(4 * loads * numBuckets),
    newest: carver.take(4 * loads),
    end: carver.end,
  };
}

/**
 * The last steps' loads per expert, step by step or in buckets of a few consecutive steps. Each step is
 * folded through the mapping it was recorded under, when it ends: that costs the same however long the window
 * is, and a plan has only to copy.
 */
export class SampleBuckets {
  readonly #topology: Topology;
  readonly #region: KernelRegion;
  readonly #at: BucketLayout;
  /** Whole buckets so far, and steps in the one that is being filled. */
  #numWhole = 0;
  #numSteps = 0;

  constructor(topology: Topology, region: KernelRegion, layout: BucketLayout) {
    this.#topology = topology;
    this.#region = region;
    this.#at = layout;
  }

  /**
   * Adds a layer's loads per slot f32[physical] to the step that ends, through the table that it was recorded
   * under.
   */
  addPhysical(layer: number, row: Pointer, phyToLog: Pointer): void {
    const { numPhysicalExperts } = this.#topology;
    this.#region.kernels.foldSample(row, phyToLog, numPhysicalExperts, 1, this.#sumsOf(layer));
  }

  /** Adds a layer's loads per expert f32[logical] to the step that ends. */
  addLogical(layer: number, row: Pointer): void {
    this.#region.kernels.addSample(row, this.#sumsOf(layer), this.#topology.numLogicalExperts, 1);
  }

  /** Adds the loads per expert of all layers, f32[layers x logical], to the step that ends. */
  addStep(step: Pointer): void {
    const { numLayers, numLogicalExperts } = this.#topology;
    this.#region.kernels.addSample(step, this.#at.sums, numLayers * numLogicalExperts, 1);
  }

  /** The step has all its layers. */
  endStep(): void {
    this.#numSteps++;
    if (this.#numSteps < this.#at.stepsPerBucket) return;
    this.#average(this.#placeOf(this.#numWhole));
    this.#numWhole++;
    this.#numSteps = 0;
    const { numLayers, numLogicalExperts } = this.#topology;
    this.#region.kernels.clearBytes(this.#at.sums, 8 * numLayers * numLogicalExperts);
  }

  /** Where the bucket is that the next whole one takes the place of, f32[layers x logical]; if any. */
  get leaving(): Pointer | undefined {
    return this.#numWhole < this.#at.numBuckets ? undefined : this.#placeOf(this.#numWhole);
  }

  /** All that it has. Copies. */
  content(): BucketContent {
    const step = this.#bucketBytes / 4;
    const numKept = Math.min(this.#numWhole, this.#at.numBuckets);
    const means = zeros('a copy of samples', Float32Array, numKept * step);
    for (let i = 0; i < numKept; i++) {
      const place = this.#placeOf(this.#numWhole - numKept + i);
      means.set(new Float32Array(this.#region.buffer, place, step), i * step);
    }
    const sums = new Float64Array(new Float64Array(this.#region.buffer, this.#at.sums, step));
    return { means, sums, numSteps: this.#numSteps };
  }

  /** Takes over what another one of the same sizes had. */
  refill({ means, sums, numSteps }: BucketContent): void {
    const step = this.#bucketBytes / 4;
    this.#numWhole = means.length / step;
    this.#numSteps = numSteps;
    for (let i = 0; i < this.#numWhole; i++) {
      const row = means.subarray(i * step, (i + 1) * step);
      new Float32Array(this.#region.buffer, this.#placeOf(i), step).set(row);
    }
    new Float64Array(this.#region.buffer, this.#at.sums, step).set(sums);
  }

  /** Steps that a bucket is of, and how many buckets are kept. */
  get sizes(): Pick<BucketLayout, 'stepsPerBucket' | 'numBuckets'> {
    return this.#at;
  }

  /** Where the buckets' mean steps are until the next step, oldest first: f32[layers x logical] each. */
  places(): Pointer[] {
    const { numBuckets, newest } = this.#at;
    const numBegun = this.#numSteps > 0 ? 1 : 0;
    const first = Math.max(0, this.#numWhole + numBegun - numBuckets);
    const places = Array.from({ length: this.#numWhole - first }, (_, i) => this.#placeOf(first + i));
    if (numBegun === 0) return places;
    this.#average(newest);
    return [...places, newest];
  }

  /** How many steps the newest bucket has, as a share of what it is to have. */
  get newestShare(): number {
    return this.#numSteps > 0 ? this.#numSteps / this.#at.stepsPerBucket : 1;
  }

  get #bucketBytes(): number {
    return 4 * this.#topology.numLayers * this.#topology.numLogicalExperts;
  }

  #placeOf(bucket: number): Pointer {
    return this.#at.ring + (bucket % this.#at.numBuckets) * this.#bucketBytes;
  }

  #sumsOf(layer: number): Pointer {
    return this.#at.sums + 8 * layer * this.#topology.numLogicalExperts;
  }

  /** Writes the mean step of the newest bucket. */
  #average(out: Pointer): void {
    const { numLayers, numLogicalExperts } = this.#topology;
    for (let layer = 0; layer < numLayers; layer++) {
      // No slots: the sums are of experts already.
      this.#region.kernels.averageLoads(
        this.#at.sums,
        this.#at.sums,
        0,
        this.#sumsOf(layer),
        numLogicalExperts,
        this.#numSteps,
        out + 4 * layer * numLogicalExperts,
        this.#at.scratch,
      );
    }
  }
}
