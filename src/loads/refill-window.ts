import type { Topology } from '../core/topology.ts';
import { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { LoadWindow } from './load-window.ts';
import { RowKind, type WindowContent } from './window-content.ts';

/**
 * Records what another window had in one that is empty, and leaves `live` as its mapping.
 *
 * @throws EplbTypeError, EplbRangeError for loads and tables that are none: the window is of no use then
 */
export function refill(
  window: LoadWindow,
  { numLayers, numPhysicalExperts, numLogicalExperts }: Topology,
  { tables, tableOfStep, kinds, rows }: WindowContent,
  live: ExpertMapping,
): void {
  const mappings = tables.map((phyToLog) => new ExpertMapping({ phyToLog, numLayers, numLogicalExperts }));
  let at = 0;
  const record = (step: number) => {
    for (let layer = 0; layer < numLayers; layer++) {
      const kind = kinds[step * numLayers + layer]!;
      if ((kind & RowKind.PHYSICAL) !== 0) {
        window.recordPhysical(layer, rows.subarray(at, at + numPhysicalExperts));
        at += numPhysicalExperts;
      }
      if ((kind & RowKind.LOGICAL) !== 0) {
        window.recordLogical(layer, rows.subarray(at, at + numLogicalExperts));
        at += numLogicalExperts;
      }
    }
  };
  for (const [step, table] of tableOfStep.entries()) {
    if (step === 0 || table !== tableOfStep[step - 1]) window.changeMapping(mappings[table]!);
    record(step);
    window.advance();
  }
  window.changeMapping(live);
  record(tableOfStep.length);
}
