import { EplbRangeError, EplbTypeError } from '../../errors.ts';
import { isOwnError } from '../../own-error.ts';
import { shapeText } from '../text.ts';
import { int32Npy } from '../write/npy.ts';
import { npzFile } from '../write/npz.ts';
import { mappingOf } from './mapping.ts';
import {
  checkExpansion,
  expertsIn,
  nestedTable,
  rowsOf,
  type WholeTable,
  wholeTable,
} from './number-tables.ts';
import type { Content, NumberArray, Placement, PlacementFormat, WrittenPlacement } from './placement.ts';
import { TABLE_KEYS } from './table-names.ts';

type TableName = keyof typeof TABLE_KEYS;
type Tables = Partial<Record<TableName, WholeTable>>;

/** One array: physical-to-logical [layers, physical], or logical-to-physical [layers, experts, width]. */
export const tablesNpy: PlacementFormat = {
  name: 'tables-npy',
  holds: 'placements',
  description:
    'one table of DeepSeek EPLB or vLLM: .npy [layers, slots], or logical-to-physical [layers, experts, width]',
  extensions: ['.npy'],
  recognise: (content) =>
    content.container === 'npy' &&
    [2, 3].includes(content.array.shape.length) &&
    looksLikeTable(content.array),
  read: (content, name) => {
    if (content.container !== 'npy') throw new EplbTypeError('EPLB_KIND', `${name}: a table is a .npy file`);
    const table = wholeTable(content.array, [2, 3], name);
    return placementOf(
      table.shape.length === 2 ? { phyToLog: table } : { logToPhy: table },
      tablesNpy.name,
      name,
    );
  },
  write: ({ slots, numLayers, numPhysicalExperts }) => ({
    bytes: int32Npy(slots, [numLayers, numPhysicalExperts]),
    notes: [],
  }),
};

/** The three tables in one .npz. */
export const tablesNpz: PlacementFormat = {
  name: 'tables-npz',
  holds: 'placements',
  description: `the tables of DeepSeek EPLB or vLLM in one .npz: ${Object.values(TABLE_KEYS)
    .map(([name]) => name)
    .join(', ')}`,
  extensions: ['.npz'],
  recognise: (content) => content.container === 'npz' && namedIn((name) => content.arrays.has(name)),
  read: (content, name) => {
    if (content.container !== 'npz')
      throw new EplbTypeError('EPLB_KIND', `${name}: these tables are a .npz file`);
    const tables = readNamed((key) => content.arrays.get(key), name, wholeTable);
    return placementOf(tables, tablesNpz.name, name);
  },
  write: async (placement) => {
    const { phyToLog, logToPhy, replicaCount } = tablesOf(placement);
    return {
      bytes: await npzFile([
        [TABLE_KEYS.phyToLog[0], int32Npy(phyToLog.data, phyToLog.shape)],
        [TABLE_KEYS.logToPhy[0], int32Npy(logToPhy.data, logToPhy.shape)],
        [TABLE_KEYS.replicaCount[0], int32Npy(replicaCount.data, replicaCount.shape)],
      ]),
      notes: [],
    };
  },
};

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
    return others.some(has) && namedIn(has);
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

function namedIn(has: (name: string) => boolean): boolean {
  return [...TABLE_KEYS.phyToLog, ...TABLE_KEYS.logToPhy].some(has);
}

function readNamed<T>(
  get: (key: string) => T | undefined,
  name: string,
  read: (value: T, depths: readonly number[], path: string) => WholeTable,
): Tables {
  const tables: Tables = {};
  for (const table of Object.keys(TABLE_KEYS) as TableName[]) {
    const key = TABLE_KEYS[table].find((one) => get(one) !== undefined);
    const value = key === undefined ? undefined : get(key);
    if (value !== undefined) tables[table] = read(value, [table === 'logToPhy' ? 3 : 2], `${name}: ${key}`);
  }
  return tables;
}

/** Whether numbers could be a table of slots or experts: whole, from -1 on. */
function looksLikeTable({ data }: NumberArray): boolean {
  for (let i = 0; i < data.length; i++) if (!(Number.isInteger(data[i]) && data[i]! >= -1)) return false;
  return true;
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

/** Puts tables together to a placement: the physical one, or the one that follows from the logical one. */
function placementOf({ phyToLog, logToPhy, replicaCount }: Tables, format: string, name: string): Placement {
  const notes: string[] = [];
  const forward = phyToLog ?? inverted(logToPhy, replicaCount, name, notes);
  const [numLayers, numPhysicalExperts] = forward.shape as [number, number];
  const told = [logToPhy, replicaCount].find((table) => table !== undefined)?.shape;
  for (const [key, table] of Object.entries({ logToPhy, replicaCount })) {
    if (table === undefined || (table.shape[0] === numLayers && table.shape[1] === told![1])) continue;
    const wanted = `${numLayers} layers and ${told![1]} experts are wanted`;
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${name}: ${key} has the shape ${shapeText(table.shape)}; ${wanted}`,
    );
  }
  return {
    format,
    numLayers,
    numPhysicalExperts,
    numLogicalExperts: told === undefined ? expertsIn(forward.data) : told[1]!,
    slots: forward.data,
    ...(logToPhy === undefined ? {} : { logToPhy: logToPhy.data }),
    ...(replicaCount === undefined ? {} : { replicaCount: replicaCount.data }),
    notes,
  };
}

/** The slots of each layer from the slots of its experts; slots that none names are empty. */
function inverted(
  logToPhy: WholeTable | undefined,
  replicaCount: WholeTable | undefined,
  name: string,
  notes: string[],
): WholeTable {
  if (logToPhy === undefined) {
    const found =
      replicaCount === undefined ? 'none of the tables is in it' : 'replica counts alone place nothing';
    throw new EplbTypeError('EPLB_KIND', `${name}: ${found}`);
  }
  const [numLayers, numExperts, width] = logToPhy.shape as [number, number, number];
  const numSlots = expertsIn(logToPhy.data);
  if (numSlots * numLayers > logToPhy.data.length) {
    // Every slot is named once at least, so the table cannot be shorter than the slots.
    throw new EplbRangeError('EPLB_MAPPING', `${name}: slot ${numSlots - 1} is named, but not all before it`);
  }
  const slots = new Int32Array(numLayers * numSlots).fill(-1);
  for (let at = 0; at < logToPhy.data.length; at++) {
    const slot = logToPhy.data[at]!;
    if (slot < 0) continue;
    const layer = Math.floor(at / (numExperts * width));
    const expert = Math.floor(at / width) % numExperts;
    const before = slots[layer * numSlots + slot]!;
    if (before !== -1) {
      const both = `experts ${before} and ${expert}`;
      throw new EplbRangeError('EPLB_MAPPING', `${name}: layer ${layer}: slot ${slot} is named for ${both}`);
    }
    slots[layer * numSlots + slot] = expert;
  }
  notes.push('the slots are those that the logical-to-physical table names');
  return { data: slots, shape: [numLayers, numSlots] };
}

function tablesOf(placement: Placement): Required<Tables> {
  const { slots, numLayers, numPhysicalExperts, numLogicalExperts } = placement;
  const mapping = mappingOf(placement);
  return {
    phyToLog: { data: slots, shape: [numLayers, numPhysicalExperts] },
    logToPhy: { data: mapping.logToPhy, shape: [numLayers, numLogicalExperts, mapping.maxReplicas] },
    replicaCount: { data: mapping.replicaCount, shape: [numLayers, numLogicalExperts] },
  };
}
