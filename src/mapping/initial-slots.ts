import { openPlaces } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';
import { zeros } from '../memory/allocate.ts';
import { ruledSlots } from './ruled-slots.ts';

/**
 * Expert i in the i-th open slot, and the redundant slots from expert 0 on again; closed ones are empty:
 * [layers x physical]. Where there are rules it keeps them.
 */
export function initialSlots(topology: Topology): Int32Array {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  if (topology.rules !== undefined) return ruledSlots(topology);
  const places = openPlaces(topology);
  const expertAt = (slot: number) => (places[slot]! < 0 ? -1 : places[slot]! % numLogicalExperts);
  return repeatRow(numLayers, numPhysicalExperts, expertAt);
}

/** A table whose rows are all alike. One is made and copied: cold code is slow. */
export function repeatRow(numRows: number, width: number, valueAt: (index: number) => number): Int32Array {
  const table = zeros(`${numRows} rows of ${width} slots`, Int32Array, numRows * width);
  for (let index = 0; index < width; index++) table[index] = valueAt(index);
  for (let row = 1; row < numRows; row++) table.copyWithin(row * width, 0, width);
  return table;
}
