import type { Topology } from './topology.ts';

/** Expert i in slot i, and the redundant slots from expert 0 on again: [layers x physical]. */
export function initialSlots({ numLayers, numLogicalExperts, numPhysicalExperts }: Topology): Int32Array {
  return repeatRow(numLayers, numPhysicalExperts, (slot) => slot % numLogicalExperts);
}

/** A table whose rows are all alike. One is made and copied: cold code is slow. */
export function repeatRow(numRows: number, width: number, valueAt: (index: number) => number): Int32Array {
  const table = new Int32Array(numRows * width);
  for (let index = 0; index < width; index++) table[index] = valueAt(index);
  for (let row = 1; row < numRows; row++) table.copyWithin(row * width, 0, width);
  return table;
}
