import { MAX_FLOAT32 } from '../core/checks.ts';

// Rows of loads per slot and per expert, added and turned into each other in plain code: for single rows, off
// the hot path. What adds up to more than the largest float32 becomes that.

/** Adds loads to others; nothing, where one is none. */
export function addRow(loads: Float32Array, to: Float32Array): void {
  for (let i = 0; i < to.length; i++) {
    const load = loads[i]!;
    if (load > 0) to[i] = Math.min(to[i]! + load, MAX_FLOAT32);
  }
}

/**
 * Adds loads of slots to loads of experts, through the table [layers x physical] they were recorded under.
 */
export function foldRow(
  physical: Float32Array,
  layer: number,
  phyToLog: Int32Array,
  logical: Float32Array,
): void {
  const first = layer * physical.length;
  for (let slot = 0; slot < physical.length; slot++) {
    const expert = phyToLog[first + slot]!;
    if (expert >= 0) logical[expert] = Math.min(logical[expert]! + physical[slot]!, MAX_FLOAT32);
  }
}

/**
 * Adds loads of experts to a row of slots, each spread evenly over the replicas in the table [layers x
 * physical].
 */
export function spreadRow(
  logical: Float32Array,
  layer: number,
  phyToLog: Int32Array,
  physical: Float32Array,
): void {
  const slots = phyToLog.subarray(layer * physical.length, (layer + 1) * physical.length);
  const count = new Int32Array(logical.length);
  for (const expert of slots) if (expert >= 0) count[expert]!++;
  slots.forEach((expert, slot) => {
    if (expert >= 0)
      physical[slot] = Math.min(physical[slot]! + logical[expert]! / count[expert]!, MAX_FLOAT32);
  });
}
