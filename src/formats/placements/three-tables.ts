import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { shapeText } from '../text.ts';
import { mappingOf } from './mapping.ts';
import type { Placement } from './placement.ts';
import { checkExpansion } from './table-limits.ts';
import { TABLE_KEYS } from './table-names.ts';
import { expertsIn, type WholeTable } from './whole-table.ts';

type TableName = keyof typeof TABLE_KEYS;

/** The tables that a file has. */
type Tables = Partial<Record<TableName, WholeTable>>;

/** Whether names of tables are there that place experts: replica counts alone do not. */
export function namesPlacement(has: (name: string) => boolean): boolean {
  return [...TABLE_KEYS.phyToLog, ...TABLE_KEYS.logToPhy].some(has);
}

/** Reads those tables that a file has, under any of their names. */
export function readNamed<T>(
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

/** Puts tables together to a placement: the physical one, or the one that follows from the logical one. */
export function placementOf(
  { phyToLog, logToPhy, replicaCount }: Tables,
  format: string,
  name: string,
): Placement {
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
    const message = `read as the slots of each expert, it names slot ${numSlots - 1}, but not every one below it`;
    throw new EplbRangeError('EPLB_MAPPING', `${name}: ${message}`);
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

/**
 * The three tables of a placement.
 *
 * @throws EplbRangeError EPLB_MAPPING when it is not valid, EPLB_SHAPE when one expert has so many slots that
 *   the tables grow huge
 */
export function threeTablesOf(placement: Placement): Required<Tables> {
  const { slots, numLayers, numPhysicalExperts, numLogicalExperts } = placement;
  const mapping = mappingOf(placement);
  checkExpansion(
    numLayers * numLogicalExperts * mapping.maxReplicas,
    slots.length,
    'logical-to-physical table',
  );
  return {
    phyToLog: { data: slots, shape: [numLayers, numPhysicalExperts] },
    logToPhy: { data: mapping.logToPhy, shape: [numLayers, numLogicalExperts, mapping.maxReplicas] },
    replicaCount: { data: mapping.replicaCount, shape: [numLayers, numLogicalExperts] },
  };
}
