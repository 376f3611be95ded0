import { EplbRangeError } from '../../core/errors.ts';
import type { LoadText } from './load-text.ts';

/** How the columns of devices' tables stand beside each other: [layers x experts]. */
interface JoinedTables {
  readonly numLayers: number;
  readonly numExperts: number;
  /**
   * Puts the loads of all tables into an array of that shape.
   *
   * @throws EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE or EPLB_LOAD for what is not a load
   */
  fill(target: Float32Array | Float64Array): void;
}

/**
 * Puts the columns of devices' tables beside each other.
 *
 * @param tables - at least one, in the order of the devices
 * @throws EplbRangeError EPLB_SHAPE when their rows differ
 */
export function sideBySide(tables: readonly LoadText[]): JoinedTables {
  const first = tables[0]!;
  const numLayers = first.numRows;
  const numExperts = tables.reduce((sum, { numColumns }) => sum + numColumns, 0);
  for (const { name, numRows } of tables) {
    if (numRows === numLayers) continue;
    const what = `has ${numRows} lines, ${first.name} has ${numLayers}; a line is a layer`;
    throw new EplbRangeError('EPLB_SHAPE', `${name} ${what}`);
  }
  const fill = (target: Float32Array | Float64Array) => {
    let column = 0;
    for (const table of tables) {
      table.fill(target, column, numExperts);
      column += table.numColumns;
    }
  };
  return { numLayers, numExperts, fill };
}
