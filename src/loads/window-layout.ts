import type { Topology } from '../core/topology.ts';
import { Carver } from '../memory/carver.ts';
import type { KernelSizes } from '../memory/kernel-exports.ts';
import { windowImbalanceBytes } from './window-imbalance.ts';

/** Where the window of recorded loads lies in the shared memory, as byte offsets. */
export interface WindowLayout {
  /** f32[max(physical, logical)]: a row on its way in. */
  readonly input: number;
  /** f32[layers x physical] and f32[layers x logical]: the step being recorded. */
  readonly passPhysical: number;
  readonly passLogical: number;
  /** i32[layers x physical] and i32[layers x logical]: the live mapping. */
  readonly liveTable: number;
  readonly liveCount: number;
  /** i32[layers x physical]: an older mapping, while samples of it are taken back. */
  readonly olderTable: number;
  /**
   * The sums of the samples of the live mapping, [layers x physical], and of all others, [layers x logical].
   */
  readonly physical: SumsLayout;
  readonly logical: SumsLayout;
  /** f32[layers x max(physical, logical)]: an average on its way out; and the kernels' scratch. */
  readonly output: number;
  readonly scratch: number;
  /** f32[physical]: a row on its way out of the ring. */
  readonly ringRow: number;
  /**
   * u16[windowSize x layers x physical] and f32 of the same shape: a row is in one of them, from its first
   * place on. They come last: rows are written before they are read, so that a region in use again need not
   * be cleared from here on.
   */
  readonly narrowRing: number;
  readonly wideRing: number;
  readonly end: number;
}

/** Where running sums of rows of loads lie: see kernels/bands.ts. `loads` are all loads of a step. */
export interface SumsLayout {
  readonly loads: number;
  /** f64[loads]: of the rows of whole loads up to 65,535. */
  readonly whole: number;
  /**
   * f64[numBands x loads]: of all other rows; u8[numBands]: 1 for bands that have something. Memory is
   * touched only for these.
   */
  readonly bands: number;
  readonly used: number;
  readonly numBands: number;
  readonly bandShift: number;
  /** f64[loads]: all together, made when it is asked for. */
  readonly total: number;
}

function carveSums(loads: number, bandShift: number, carver: Carver): SumsLayout {
  // The bits of a float32 without its sign.
  const numBands = 2 ** (31 - bandShift);
  return {
    loads,
    whole: carver.take(8 * loads),
    bands: carver.take(8 * loads * numBands),
    used: carver.take(numBands),
    numBands,
    bandShift,
    total: carver.take(8 * loads),
  };
}

/**
 * Bits of a float32 that do not tell its band: its 23 of fraction, and as many of its exponent as a window of
 * this size allows. A sum of n loads whose exponents are e in a row takes 23 + e + log2(n) bits, and a
 * float64 has 53. One is missing beyond 2^29 loads of an expert in the window: that takes 16 million steps.
 */
function bandShiftOf({ numPhysicalExperts, numLogicalExperts }: Topology, windowSize: number): number {
  const mostReplicas = numPhysicalExperts - numLogicalExperts + 1;
  const numExponents = Math.max(1, 53 - 23 - Math.ceil(Math.log2(windowSize * mostReplicas)));
  return 23 + Math.floor(Math.log2(numExponents));
}

/** Lays out a window from `start` on. */
export function carveWindow(
  topology: Topology,
  windowSize: number,
  sizes: KernelSizes,
  start: number,
): WindowLayout {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = topology;
  const carver = new Carver(start);
  const physical = numLayers * numPhysicalExperts;
  const logical = numLayers * numLogicalExperts;
  const bandShift = bandShiftOf(topology, windowSize);
  return {
    input: carver.take(4 * numPhysicalExperts),
    passPhysical: carver.take(4 * physical),
    passLogical: carver.take(4 * logical),
    liveTable: carver.take(4 * physical),
    liveCount: carver.take(4 * logical),
    olderTable: carver.take(4 * physical),
    physical: carveSums(physical, bandShift, carver),
    logical: carveSums(logical, bandShift, carver),
    output: carver.take(4 * physical),
    scratch: carver.take(
      Math.max(windowImbalanceBytes(topology, sizes), sizes.averageLoadsScratchBytes(numLogicalExperts)),
    ),
    ringRow: carver.take(4 * numPhysicalExperts),
    narrowRing: carver.take(2 * physical * windowSize),
    wideRing: carver.take(4 * physical * windowSize),
    end: carver.end,
  };
}
