import type { Topology } from '../core/topology.ts';

/**
 * Bits of what a row of a step holds: loads of slots, loads of experts, or both while it is being recorded.
 */
export const RowKind = { PHYSICAL: 1, LOGICAL: 2 } as const;

/** All that a window was given and still has: what `refill` makes the same window of. */
export interface WindowContent {
  /** Int32Array[layers x physical]: tables that steps were recorded under, in the order they were live. */
  readonly tables: readonly Int32Array[];
  /** `[steps]`: which of the tables each step was recorded under; oldest first. */
  readonly tableOfStep: Int32Array;
  /**
   * `[steps + 1, layers]`: the {@link RowKind} of each row; at last those of the step being recorded, or 0.
   */
  readonly kinds: Uint8Array;
  /** All rows, one after the other, as long as their kind says. */
  readonly rows: Float32Array;
}

/** Numbers of the rows that have these kinds. */
export function numLoadsOf(kinds: Uint8Array, topology: Topology): number {
  let sum = 0;
  for (const kind of kinds) {
    if ((kind & RowKind.PHYSICAL) !== 0) sum += topology.numPhysicalExperts;
    if ((kind & RowKind.LOGICAL) !== 0) sum += topology.numLogicalExperts;
  }
  return sum;
}
