import type { Topology } from '../topology.ts';
import { Carver } from './layout.ts';

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
  /** f64: sums of the samples of this turn of the ring, and of the turn before. */
  readonly thisPhysical: number;
  readonly thisLogical: number;
  readonly lastPhysical: number;
  readonly lastLogical: number;
  /** f64: both turns together, made when an average is asked for. */
  readonly totalPhysical: number;
  readonly totalLogical: number;
  /** f32[layers x max(physical, logical)]: an average on its way out; and the kernels' scratch. */
  readonly output: number;
  readonly scratch: number;
  /** f32[physical]: a row on its way out of the ring. */
  readonly ringRow: number;
  /**
   * u16[windowSize x layers x physical] and f32 of the same shape: a row is in one of them, from its first place on. They come last:
   * rows are written before they are read, so that a region in use again need not be cleared from here on.
   */
  readonly narrowRing: number;
  readonly wideRing: number;
  readonly end: number;
}

/** Lays out a window from `start` on. */
export function carveWindow(topology: Topology, windowSize: number, start: number): WindowLayout {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = topology;
  const carver = new Carver(start);
  const physical = numLayers * numPhysicalExperts;
  const logical = numLayers * numLogicalExperts;
  return {
    input: carver.take(4 * numPhysicalExperts),
    passPhysical: carver.take(4 * physical),
    passLogical: carver.take(4 * logical),
    liveTable: carver.take(4 * physical),
    liveCount: carver.take(4 * logical),
    olderTable: carver.take(4 * physical),
    thisPhysical: carver.take(8 * physical),
    thisLogical: carver.take(8 * logical),
    lastPhysical: carver.take(8 * physical),
    lastLogical: carver.take(8 * logical),
    totalPhysical: carver.take(8 * physical),
    totalLogical: carver.take(8 * logical),
    output: carver.take(4 * physical),
    scratch: carver.take(12 * numLogicalExperts),
    ringRow: carver.take(4 * numPhysicalExperts),
    narrowRing: carver.take(2 * physical * windowSize),
    wideRing: carver.take(4 * physical * windowSize),
    end: carver.end,
  };
}
