import { EplbTypeError, isOwnError } from '../../core/errors.ts';
import { mappingOf } from './mapping.ts';
import { checkExpansion, nestedTable, rowsOf } from './number-tables.ts';
import type { Content, Placement, PlacementFormat, WrittenPlacement } from './placement.ts';
import { TABLE_KEYS } from './table-names.ts';
import { namesPlacement, placementOf, readNamed, tablesOf } from './tables.ts';

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
    throw new EplbTypeError('EPLB_KIND', `${name}: these tables are a JSON file`);
  const { value } = content;
  if (typeof value !== 'object' || value === null)
    throw new EplbTypeError('EPLB_KIND', `${name}: no tables in it`);
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
  const tables = readNamed(get, name, (table, depths, path) =>
    nestedTable(depths[0] === 3 ? padded(table, path) : table, depths, path),
  );
  return placementOf(tables, tablesJson.name, name);
}

/** Lists of slots as long as the experts have replicas, filled up with -1 to one length. */
function padded(table: unknown, path: string): unknown {
  if (!Array.isArray(table)) return table;
  let [width, lists, held] = [1, 0, 0];
  for (const layer of table) {
    if (!Array.isArray(layer)) return table;
    for (const list of layer) {
      if (!Array.isArray(list)) return table;
      width = Math.max(width, list.length);
      lists++;
      held += list.length;
    }
  }
  if (width * lists === held) return table;
  checkExpansion(width * lists, held, path);
  return table.map((layer: number[][]) =>
    layer.map((list) => [...list, ...new Array<number>(width - list.length).fill(-1)]),
  );
}

function writeJson(placement: Placement): WrittenPlacement {
  const { phyToLog, replicaCount } = tablesOf(placement);
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
