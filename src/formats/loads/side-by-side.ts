import { EplbRangeError } from '../../core/errors.ts';
import { loadError } from './array-loads.ts';
import type { NumberTable } from './number-table.ts';

/** A table of the slots of one device. */
export interface DeviceTable {
  readonly name: string;
  readonly table: NumberTable;
}

/** Loads of one step [layers x experts], of tables whose columns stand side by side. */
export interface StepTable {
  readonly numLayers: number;
  readonly numExperts: number;
  readonly data: Float64Array;
}

/**
 * Puts the columns of devices' tables beside each other.
 *
 * @param tables - at least one, in the order of the devices
 * @throws EplbRangeError EPLB_SHAPE when their rows differ, EPLB_LOAD for what is no load
 */
export function sideBySide(tables: readonly DeviceTable[]): StepTable {
  const first = tables[0]!;
  const numLayers = first.table.numRows;
  const numExperts = tables.reduce((sum, { table }) => sum + table.numColumns, 0);
  const data = new Float64Array(numLayers * numExperts);
  let column = 0;
  for (const { name, table } of tables) {
    if (table.numRows !== numLayers) {
      const what = `has ${table.numRows} lines, ${first.name} has ${numLayers}; a line is a layer`;
      throw new EplbRangeError('EPLB_SHAPE', `${name} ${what}`);
    }
    for (let i = 0; i < table.data.length; i++) {
      const [row, at] = [Math.floor(i / table.numColumns), i % table.numColumns];
      const load = table.data[i]!;
      if (!(load >= 0 && load < Number.POSITIVE_INFINITY)) {
        throw loadError(name, load, `line ${row + 1}, column ${at + 1}`);
      }
      data[row * numExperts + column + at] = load;
    }
    column += table.numColumns;
  }
  return { numLayers, numExperts, data };
}
