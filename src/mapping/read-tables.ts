import { checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { MAX_SIZE } from '../core/topology.ts';
import { isInt32Array, typedArrayLength } from '../core/typed-arrays.ts';
import { zeros } from '../memory/allocate.ts';
import type { ExpertMappingInit } from './mapping-init.ts';
import type { MappingTables } from './mapping-tables.ts';
import { numberReplicas } from './number-replicas.ts';

/** The sizes that tables have to have. */
export type TableSizes = Pick<MappingTables, 'numLayers' | 'numPhysicalExperts' | 'numLogicalExperts'>;

/**
 * Checks and copies tables from outside. Every property, length and entry is read once: what would be another
 * at the next read is here what it was at the first.
 *
 * @param sizes what the tables have to be, where that is known: others are refused by their lengths, before
 * any entry is read
 * @throws as the constructor of ExpertMapping
 */
export function readTables(init: ExpertMappingInit, sizes?: TableSizes): MappingTables {
  if (typeof init !== 'object' || init === null) {
    throw new EplbTypeError('EPLB_KIND', `mapping: ${show(init)} is not an object of tables`);
  }
  const { numLayers: toldLayers, numLogicalExperts: toldExperts } = init;
  if (sizes !== undefined) {
    checkTold('numLayers', toldLayers, sizes.numLayers);
    checkTold('numLogicalExperts', toldExperts, sizes.numLogicalExperts);
  }
  const { phyToLog, numLayers } = readPhyToLog(init.phyToLog, toldLayers, sizes);
  const numPhysicalExperts = phyToLog.length / numLayers;
  const numLogicalExperts = sizes?.numLogicalExperts ?? toldExperts ?? highest(phyToLog) + 1;
  checkWhole('mapping: numLogicalExperts', numLogicalExperts, 1, MAX_SIZE);
  // Seen before anything is reserved for them: a small file could claim any number of experts.
  if (numLogicalExperts > numPhysicalExperts) {
    const held = new Set(phyToLog.subarray(0, numPhysicalExperts));
    let missing = 0;
    while (held.has(missing)) missing++;
    throw missingError(0, missing);
  }
  const counted = countReplicas({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog });
  const { replicaCount } = init;
  if (replicaCount !== undefined) checkCounts(replicaCount, counted);
  const { logToPhy } = init;
  // Padding beyond all slots is of no use, but was never refused where nobody knows how much there may be.
  const mostReplicas = sizes?.numPhysicalExperts ?? Number.POSITIVE_INFINITY;
  return logToPhy === undefined ? counted : withReplicaOrder(logToPhy, counted, mostReplicas);
}

/** Tables with the counts that were made on the way. */
type CountedTables = MappingTables & { readonly replicaCount: Int32Array };

/**
 * Numbers the replicas in slot order.
 *
 * @throws EplbRangeError `EPLB_MAPPING` for a slot that holds no such expert, or an expert without a slot
 */
function countReplicas(sizes: Omit<MappingTables, 'replicaRank'>): CountedTables {
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = sizes;
  const replicaRank = zeros('mapping', Int32Array, phyToLog.length);
  const replicaCount = zeros('mapping', Int32Array, numLayers * numLogicalExperts);
  for (let at = 0; at < phyToLog.length; at++) {
    const expert = phyToLog[at]!;
    if (expert === -1) continue;
    const layer = Math.floor(at / numPhysicalExperts);
    if (expert < 0 || expert >= numLogicalExperts) {
      const wanted = `an expert from 0 to ${numLogicalExperts - 1}, or -1 for an empty slot`;
      throw mappingError(layer, `slot ${at % numPhysicalExperts} holds ${expert}, which is not ${wanted}`);
    }
  }
  for (let layer = 0; layer < numLayers; layer++) {
    const slots = [layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts] as const;
    const experts = [layer * numLogicalExperts, (layer + 1) * numLogicalExperts] as const;
    const counts = replicaCount.subarray(...experts);
    numberReplicas(phyToLog.subarray(...slots), replicaRank.subarray(...slots), counts);
  }
  const missing = replicaCount.indexOf(0);
  if (missing >= 0) {
    throw missingError(Math.floor(missing / numLogicalExperts), missing % numLogicalExperts);
  }
  return { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank, replicaCount };
}

function checkTold(title: string, told: unknown, wanted: number): void {
  if (told === undefined || told === wanted) return;
  throw new EplbRangeError('EPLB_SHAPE', `mapping: ${title}: ${show(told)}, not ${wanted}`);
}

function highest(phyToLog: Int32Array): number {
  return phyToLog.reduce((most, expert) => Math.max(most, expert), 0);
}

function readPhyToLog(
  table: unknown,
  toldLayers: unknown,
  sizes: TableSizes | undefined,
): { phyToLog: Int32Array; numLayers: number } {
  if (isInt32Array(table)) {
    const numLayers = checkWhole('mapping: numLayers', toldLayers, 1);
    const length = typedArrayLength(table);
    if (sizes !== undefined && length !== numLayers * sizes.numPhysicalExperts) {
      const wanted = `${numLayers} x ${sizes.numPhysicalExperts}`;
      throw new EplbRangeError('EPLB_SHAPE', `mapping: phyToLog: has ${length} slots, not ${wanted}`);
    }
    if (length === 0 || length % numLayers !== 0) {
      throw new EplbRangeError(
        'EPLB_SHAPE',
        `mapping: ${length} slots are not a multiple of ${numLayers} layers`,
      );
    }
    return { phyToLog: copyTable(table, length), numLayers };
  }
  const rows = takeRows('phyToLog', table, sizes?.numLayers ?? toldLayers, sizes?.numPhysicalExperts);
  if (rows.length === 0 || rows[0]!.length === 0) {
    throw new EplbRangeError('EPLB_SHAPE', 'mapping: phyToLog: has no slots: [layers][physical] is wanted');
  }
  return { phyToLog: flattenRows('phyToLog', rows), numLayers: rows.length };
}

/** A copy. Not slice(), which lets a subclass make it, and keep it. */
function copyTable(table: Int32Array, length: number): Int32Array {
  const copy = zeros('mapping', Int32Array, length);
  copy.set(table);
  return copy;
}

/** A row of a nested table, whose length has been read. */
interface TakenRow {
  readonly entries: readonly unknown[];
  readonly length: number;
}

/**
 * The rows of a nested table, of which nothing but the lengths is read. Plain loops: forEach passes over
 * holes.
 *
 * @param numRows any when undefined
 * @param width that of the first row when left out
 */
function takeRows(title: string, table: unknown, numRows: unknown, width?: number): readonly TakenRow[] {
  if (!Array.isArray(table))
    throw new EplbTypeError('EPLB_KIND', `mapping: ${title}: ${show(table)} is not a table`);
  const { length: numTaken } = table;
  if (numRows !== undefined && numTaken !== numRows) {
    throw new EplbRangeError('EPLB_SHAPE', `mapping: ${title}: has ${numTaken} layers, not ${show(numRows)}`);
  }
  const rows: TakenRow[] = [];
  for (let layer = 0; layer < numTaken; layer++) {
    const where = `mapping: ${title}: layer ${layer}`;
    const entries: unknown = table[layer];
    if (!Array.isArray(entries))
      throw new EplbTypeError('EPLB_KIND', `${where}: ${show(entries)} is not an array`);
    const { length } = entries;
    const wanted = width ?? rows[0]?.length ?? length;
    if (length !== wanted) {
      throw new EplbRangeError('EPLB_SHAPE', `${where} has ${length} entries, not ${wanted}`);
    }
    rows.push({ entries, length });
  }
  return rows;
}

/** Copies rows of whole numbers to a flat table. */
function flattenRows(title: string, rows: readonly TakenRow[]): Int32Array {
  const width = rows[0]?.length ?? 0;
  const flat = zeros(`mapping: ${title}`, Int32Array, rows.length * width);
  for (const [layer, { entries }] of rows.entries()) {
    const where = `mapping: ${title}: layer ${layer}`;
    for (let i = 0; i < width; i++) {
      flat[layer * width + i] = checkWhole(`${where}, index ${i}`, entries[i], -1, MAX_SIZE, 'EPLB_MAPPING');
    }
  }
  return flat;
}

function checkCounts(given: unknown, tables: CountedTables): void {
  const { numLayers, numLogicalExperts, replicaCount } = tables;
  const flat = readCounts(given, numLayers, numLogicalExperts);
  const at = replicaCount.findIndex((replicas, i) => replicas !== flat[i]);
  if (at < 0) return;
  const [layer, expert] = [Math.floor(at / numLogicalExperts), at % numLogicalExperts];
  throw mappingError(
    layer,
    `replicaCount says ${flat[at]} for expert ${expert}, phyToLog holds it ${replicaCount[at]} times`,
  );
}

function readCounts(given: unknown, numLayers: number, numLogicalExperts: number): Int32Array {
  if (!isInt32Array(given)) {
    return flattenRows('replicaCount', takeRows('replicaCount', given, numLayers, numLogicalExperts));
  }
  const length = typedArrayLength(given);
  const wanted = numLayers * numLogicalExperts;
  if (length === wanted) return copyTable(given, length);
  throw new EplbRangeError('EPLB_SHAPE', `mapping: replicaCount: has ${length} entries, not ${wanted}`);
}

/**
 * Numbers the replicas as `logToPhy` orders them; it must name every slot of an expert once, and nothing
 * else.
 */
function withReplicaOrder(given: unknown, tables: CountedTables, mostReplicas: number): MappingTables {
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaCount } = tables;
  const listsOf = isInt32Array(given)
    ? flatLists(given, tables, mostReplicas)
    : nestedLists(given, tables, mostReplicas);
  const replicaRank = zeros('mapping', Int32Array, phyToLog.length).fill(-1);
  for (let layer = 0; layer < numLayers; layer++) {
    const slotsOf = listsOf(layer);
    for (let expert = 0; expert < numLogicalExperts; expert++) {
      const slots = slotsOf(expert);
      for (const [replica, slot] of slots.entries()) {
        const isSlot =
          typeof slot === 'number' && Number.isInteger(slot) && slot >= 0 && slot < numPhysicalExperts;
        const at = isSlot ? layer * numPhysicalExperts + slot : -1;
        if (phyToLog[at] !== expert)
          throw mappingError(
            layer,
            `logToPhy puts expert ${expert} in slot ${show(slot)}, phyToLog does not`,
          );
        if (replicaRank[at] !== -1)
          throw mappingError(layer, `logToPhy names slot ${show(slot)} twice for expert ${expert}`);
        replicaRank[at] = replica;
      }
      const wanted = replicaCount[layer * numLogicalExperts + expert];
      if (slots.length === wanted) continue;
      throw mappingError(
        layer,
        `logToPhy names ${slots.length} slots for expert ${expert}, phyToLog ${wanted}`,
      );
    }
  }
  return { ...tables, replicaRank: replicaRank.map((replica) => Math.max(replica, 0)) };
}

/**
 * How to look up the slots that `logToPhy` names for each expert of a layer, without the padding: each layer
 * and expert once.
 */
type ListsOf = (layer: number) => (expert: number) => readonly unknown[];

function flatLists(
  given: Int32Array,
  { numLayers, numLogicalExperts }: MappingTables,
  mostReplicas: number,
): ListsOf {
  const length = typedArrayLength(given);
  const width = length / (numLayers * numLogicalExperts);
  if (!Number.isInteger(width)) {
    const wanted = `a multiple of ${numLayers} x ${numLogicalExperts}`;
    throw new EplbRangeError('EPLB_SHAPE', `mapping: logToPhy: has ${length} entries, not ${wanted}`);
  }
  if (width > mostReplicas) {
    const message = `mapping: logToPhy: has ${width} slots an expert, not at most ${mostReplicas}`;
    throw new EplbRangeError('EPLB_SHAPE', message);
  }
  const table = copyTable(given, length);
  return (layer) => (expert) => {
    const first = (layer * numLogicalExperts + expert) * width;
    return Array.from(table.subarray(first, first + width)).filter((slot) => slot !== -1);
  };
}

function nestedLists(
  given: unknown,
  { numLayers, numLogicalExperts }: MappingTables,
  mostReplicas: number,
): ListsOf {
  const table = checkRows('logToPhy', given, numLayers, 'layers');
  return (layer) => {
    const title = `logToPhy: layer ${layer}`;
    const row = checkRows(title, table[layer], numLogicalExperts, 'experts');
    return (expert) => readList(`mapping: ${title}, expert ${expert}`, row[expert], mostReplicas);
  };
}

function readList(where: string, list: unknown, mostReplicas: number): readonly unknown[] {
  if (!Array.isArray(list)) throw new EplbTypeError('EPLB_KIND', `${where}: ${show(list)} is not an array`);
  const { length } = list;
  if (length > mostReplicas) {
    throw new EplbRangeError('EPLB_SHAPE', `${where}: has ${length} slots, not at most ${mostReplicas}`);
  }
  const slots: unknown[] = [];
  for (let i = 0; i < length; i++) {
    const slot: unknown = list[i];
    if (slot !== -1) slots.push(slot);
  }
  return slots;
}

/** An array that may be too short, which shows when what is missing is read, but not too long. */
function checkRows(title: string, rows: unknown, most: number, what: string): readonly unknown[] {
  if (!Array.isArray(rows))
    throw new EplbTypeError('EPLB_KIND', `mapping: ${title}: ${show(rows)} is not an array`);
  const { length } = rows;
  if (length <= most) return rows;
  throw new EplbRangeError('EPLB_SHAPE', `mapping: ${title}: has ${length} ${what}, not ${most}`);
}

function missingError(layer: number, expert: number): EplbRangeError {
  return mappingError(layer, `expert ${expert} is in no slot; every expert needs one`);
}

function mappingError(layer: number, message: string): EplbRangeError {
  return new EplbRangeError('EPLB_MAPPING', `mapping: layer ${layer}: ${message}`);
}
