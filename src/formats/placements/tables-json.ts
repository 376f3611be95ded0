import { EplbTypeError, isOwnError } from '../../core/errors.ts';
import { isList, type List } from '../json/value.ts';
import { kindOf } from '../text.ts';
import { mappingOf } from './mapping.ts';
import type { Content, Placement, PlacementFormat, WrittenPlacement } from './placement.ts';
import { checkFilledUp } from './table-limits.ts';
import { TABLE_KEYS } from './table-names.ts';
import { namesPlacement, placementOf, readNamed, threeTablesOf } from './three-tables.ts';
import { nestedTable, rowsOf, type WholeTable, wholeNumber } from './whole-table.ts';

/** The three tables as nested arrays; also bare arrays, and what an ExpertMapping gives to JSON.stringify. */
export const tablesJson: PlacementFormat = {
  name: 'tables-json',
  holds: 'placements',
  description: 'the same tables as nested arrays in one JSON object; also one table as a bare array',
  extensions: [],
  recognise: (content) => {
    if (content.container !== 'json') return false;
    const { value } = content;
    if (Array.isArray(value)) return isBareTable(value);
    if (typeof value !== 'object' || value === null) return false;
    const has = (name: string) => Object.hasOwn(value, name);
    // With the first name alone it is SGLang's.
    const others = [...TABLE_KEYS.phyToLog.slice(1), ...TABLE_KEYS.logToPhy, ...TABLE_KEYS.replicaCount];
    return others.some(has) && namesPlacement(has);
  },
  read: readJson,
  write: writeJson,
};

function readJson(content: Content, name: string): Placement {
  if (content.container !== 'json')
    throw new EplbTypeError(
      'EPLB_KIND',
      `${name}: is a ${content.container} file; these tables are a JSON file`,
    );
  const { value } = content;
  if (typeof value !== 'object' || value === null)
    throw new EplbTypeError(
      'EPLB_KIND',
      `${name}: is ${kindOf(value)}; tables are arrays, or an object of them`,
    );
  if (Array.isArray(value)) {
    const table = nestedTable(value, [2, 3], name);
    return placementOf(
      table.shape.length === 2 ? { phyToLog: table } : { logToPhy: table },
      tablesJson.name,
      name,
    );
  }
  const fields = value as Record<string, unknown>;
  const get = (key: string) => (Object.hasOwn(fields, key) ? fields[key] : undefined);
  const tables = readNamed(
    get,
    name,
    (table, depths, path) =>
      (depths[0] === 3 ? paddedTable(table, path) : undefined) ?? nestedTable(table, depths, path),
  );
  return placementOf(tables, tablesJson.name, name);
}

/**
 * Lists of slots as long as the experts have replicas, filled up with -1 to one length. Undefined when they
 * are not nested so, or are of one length and need no filling.
 */
function paddedTable(table: unknown, path: string): WholeTable | undefined {
  if (!isList(table)) return undefined;
  let [width, lists, held, numExperts] = [1, 0, 0, 0];
  for (const layer of table) {
    if (!isList(layer)) return undefined;
    numExperts ||= layer.length;
    // The reader of tables of one length reports it.
    if (layer.length !== numExperts) return undefined;
    for (const list of layer) {
      if (!isList(list)) return undefined;
      width = Math.max(width, list.length);
      lists++;
      held += list.length;
    }
  }
  if (lists === 0 || width * lists === held) return undefined;
  checkFilledUp(width * lists, held, path);
  const data = new Int32Array(width * lists).fill(-1);
  for (const [i, layer] of (table as readonly (readonly List[])[]).entries()) {
    for (const [expert, list] of layer.entries()) {
      const at = (i * numExperts + expert) * width;
      for (let slot = 0; slot < list.length; slot++) {
        data[at + slot] = wholeNumber(list[slot], -1, () => `${path}[${i}][${expert}][${slot}]`);
      }
    }
  }
  return { data, shape: [table.length, numExperts, width] };
}

function writeJson(placement: Placement): WrittenPlacement {
  const { phyToLog, replicaCount } = threeTablesOf(placement);
  const mapping = mappingOf(placement);
  const lists = Array.from({ length: placement.numLayers }, (_, layer) =>
    Array.from({ length: placement.numLogicalExperts }, (_, expert) =>
      mapping.getPhysicalExperts(layer, expert),
    ),
  );
  const lines = (rows: readonly unknown[]) =>
    `[\n${rows.map((row) => `  ${JSON.stringify(row)}`).join(',\n')}\n]`;
  const text = [
    `"${TABLE_KEYS.phyToLog[0]}": ${lines(rowsOf(phyToLog.data, placement.numPhysicalExperts))}`,
    `"${TABLE_KEYS.logToPhy[0]}": ${lines(lists)}`,
    `"${TABLE_KEYS.replicaCount[0]}": ${lines(rowsOf(replicaCount.data, placement.numLogicalExperts))}`,
  ].join(',\n');
  return { bytes: new TextEncoder().encode(`{${text}}\n`), notes: [] };
}

/** Whether an array without a name could be a table. */
function isBareTable(value: readonly unknown[]): boolean {
  try {
    nestedTable(value, [2, 3], 'the array');
    return true;
  } catch (error) {
    if (isOwnError(error)) return false;
    throw error;
  }
}
