import type { Topology } from '../core/topology.ts';
import { zeros } from '../memory/allocate.ts';
import { addRow, foldRow } from './load-rows.ts';
import { RowKind, type WindowContent } from './window-content.ts';

/**
 * What a window has, by experts alone: each row of slots is folded through the table that it was recorded
 * under. So it fits a window of any slots.
 *
 * @param topology of the window
 * @param live `[layers x physical]`: the table of the step being recorded
 * @param next `[layers x slots]`: the table that stands for all of them
 */
export function contentOfExperts(
  { tables, tableOfStep, kinds, rows }: WindowContent,
  { numLayers, numPhysicalExperts, numLogicalExperts }: Topology,
  live: Int32Array,
  next: Int32Array,
): WindowContent {
  const numRows = kinds.filter((kind) => kind !== 0).length;
  const folded = zeros('a copy of a window', Float32Array, numRows * numLogicalExperts);
  let from = 0;
  let to = 0;
  for (let i = 0; i < kinds.length; i++) {
    const kind = kinds[i]!;
    if (kind === 0) continue;
    const row = folded.subarray(to, to + numLogicalExperts);
    const step = Math.floor(i / numLayers);
    const table = step < tableOfStep.length ? tables[tableOfStep[step]!]! : live;
    if ((kind & RowKind.PHYSICAL) !== 0) {
      foldRow(rows.subarray(from, from + numPhysicalExperts), i % numLayers, table, row);
      from += numPhysicalExperts;
    }
    if ((kind & RowKind.LOGICAL) !== 0) {
      addRow(rows.subarray(from, from + numLogicalExperts), row);
      from += numLogicalExperts;
    }
    to += numLogicalExperts;
  }
  return {
    tables: [next],
    tableOfStep: new Int32Array(tableOfStep.length),
    kinds: kinds.map((kind) => (kind === 0 ? 0 : RowKind.LOGICAL)),
    rows: folded,
  };
}
