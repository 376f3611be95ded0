import { checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { allocate, zeros } from '../memory/allocate.ts';
import type { ExpertMappingInit } from './expert-mapping.ts';
import type { MappingTables } from './mapping-tables.ts';

/** Checks and copies tables from outside. @throws as the constructor of ExpertMapping */
export function readTables(init: ExpertMappingInit): MappingTables {
  if (typeof init !== 'object' || init === null) {
    throw new EplbTypeError('EPLB_KIND', `mapping: ${show(init)} is not an object of tables`);
  }
  const { phyToLog, numLayers } = readPhyToLog(init);
  const numPhysicalExperts = phyToLog.length / numLayers;
  const numLogicalExperts =
    init.numLogicalExperts ?? phyToLog.reduce((most, expert) => Math.max(most, expert), 0) + 1;
  checkWhole('mapping: numLogicalExperts', numLogicalExperts, 1, 2 ** 24);
  // Seen before anything is reserved for them: a small file could claim any number of experts.
  if (numLogicalExperts > numPhysicalExperts) {
    const held = new Set(phyToLog.subarray(0, numPhysicalExperts));
    let missing = 0;
    while (held.has(missing)) missing++;
    throw missingError(0, missing);
  }
  const counted = numberReplicas({ numLayers, numPhysicalExperts, numLogicalExperts, phyToLog });
  if (init.replicaCount !== undefined) checkCounts(init.replicaCount, counted);
  return init.logToPhy === undefined ? counted : withReplicaOrder(init.logToPhy, counted);
}

/** Tables with the counts that were made on the way. */
type CountedTables = MappingTables & { readonly replicaCount: Int32Array };

/**
 * Numbers the replicas in slot order.
 *
 * @throws EplbRangeError `EPLB_MAPPING` for a slot that holds no such expert, or an expert without a slot
 */
function numberReplicas(sizes: Omit<MappingTables, 'replicaRank'>): CountedTables {
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
    replicaRank[at] = replicaCount[layer * numLogicalExperts + expert]!++;
  }
  const missing = replicaCount.indexOf(0);
  if (missing >= 0) {
    throw missingError(Math.floor(missing / numLogicalExperts), missing % numLogicalExperts);
  }
  return { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaRank, replicaCount };
}

function readPhyToLog(init: ExpertMappingInit): { phyToLog: Int32Array; numLayers: number } {
  const table = init.phyToLog;
  if (table instanceof Int32Array) {
    const numLayers = checkWhole('mapping: numLayers', init.numLayers, 1);
    if (table.length === 0 || table.length % numLayers !== 0) {
      throw new EplbRangeError(
        'EPLB_SHAPE',
        `mapping: ${table.length} slots are not a multiple of ${numLayers} layers`,
      );
    }
    return { phyToLog: allocate('mapping', table.byteLength, () => table.slice()), numLayers };
  }
  if (!Array.isArray(table))
    throw new EplbTypeError('EPLB_KIND', `mapping: phyToLog: ${show(table)} is not a table`);
  const rows: readonly unknown[] = table;
  const width = Array.isArray(rows[0]) ? rows[0].length : 0;
  if (rows.length === 0 || width === 0) {
    throw new EplbRangeError('EPLB_SHAPE', 'mapping: phyToLog: has no slots: [layers][physical] is wanted');
  }
  if (init.numLayers !== undefined && init.numLayers !== rows.length) {
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `mapping: phyToLog: has ${rows.length} layers, not ${init.numLayers}`,
    );
  }
  return { phyToLog: flattenRows('phyToLog', rows, width), numLayers: rows.length };
}

/** Copies nested rows of whole numbers to a flat table. Plain loops: forEach passes over holes. */
function flattenRows(title: string, rows: unknown, width: number): Int32Array {
  if (!Array.isArray(rows))
    throw new EplbTypeError('EPLB_KIND', `mapping: ${title}: ${show(rows)} is not a table`);
  const flat = zeros(`mapping: ${title}`, Int32Array, rows.length * width);
  for (let layer = 0; layer < rows.length; layer++) {
    const row: unknown = rows[layer];
    const where = `mapping: ${title}: layer ${layer}`;
    if (!Array.isArray(row)) throw new EplbTypeError('EPLB_KIND', `${where}: ${show(row)} is not an array`);
    if (row.length !== width) {
      throw new EplbRangeError('EPLB_SHAPE', `${where} has ${row.length} entries, not ${width}`);
    }
    for (let i = 0; i < width; i++) {
      flat[layer * width + i] = checkWhole(`${where}, index ${i}`, row[i], -1, 2 ** 24, 'EPLB_MAPPING');
    }
  }
  return flat;
}

function checkCounts(given: NonNullable<ExpertMappingInit['replicaCount']>, tables: CountedTables): void {
  const { numLogicalExperts, replicaCount } = tables;
  const flat = given instanceof Int32Array ? given : flattenRows('replicaCount', given, numLogicalExperts);
  if (flat.length !== replicaCount.length) {
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `mapping: replicaCount: has ${flat.length} entries, not ${replicaCount.length}`,
    );
  }
  const at = replicaCount.findIndex((replicas, i) => replicas !== flat[i]);
  if (at < 0) return;
  const [layer, expert] = [Math.floor(at / numLogicalExperts), at % numLogicalExperts];
  throw mappingError(
    layer,
    `replicaCount says ${flat[at]} for expert ${expert}, phyToLog holds it ${replicaCount[at]} times`,
  );
}

/** Numbers the replicas as `logToPhy` orders them; it must name every slot of an expert once, and nothing else. */
function withReplicaOrder(
  given: NonNullable<ExpertMappingInit['logToPhy']>,
  tables: CountedTables,
): MappingTables {
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog, replicaCount } = tables;
  const slotsOf = given instanceof Int32Array ? flatSlots(given, tables) : nestedSlots(given, tables);
  const replicaRank = zeros('mapping', Int32Array, phyToLog.length).fill(-1);
  for (let layer = 0; layer < numLayers; layer++) {
    for (let expert = 0; expert < numLogicalExperts; expert++) {
      const slots = slotsOf(layer, expert);
      for (const [replica, slot] of slots.entries()) {
        const at = layer * numPhysicalExperts + slot;
        const isIn =
          Number.isInteger(slot) && slot >= 0 && slot < numPhysicalExperts && phyToLog[at] === expert;
        if (!isIn)
          throw mappingError(layer, `logToPhy puts expert ${expert} in slot ${slot}, phyToLog does not`);
        if (replicaRank[at] !== -1)
          throw mappingError(layer, `logToPhy names slot ${slot} twice for expert ${expert}`);
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

/** How to look up the slots that `logToPhy` names for an expert, without the padding. */
type SlotsOf = (layer: number, expert: number) => number[];

function flatSlots(given: Int32Array, { numLayers, numLogicalExperts }: MappingTables): SlotsOf {
  const width = given.length / (numLayers * numLogicalExperts);
  if (!Number.isInteger(width)) {
    const wanted = `a multiple of ${numLayers} x ${numLogicalExperts}`;
    throw new EplbRangeError('EPLB_SHAPE', `mapping: logToPhy: has ${given.length} entries, not ${wanted}`);
  }
  return (layer, expert) => {
    const first = (layer * numLogicalExperts + expert) * width;
    return Array.from(given.subarray(first, first + width)).filter((slot) => slot !== -1);
  };
}

function nestedSlots(given: unknown, { numLayers, numLogicalExperts }: MappingTables): SlotsOf {
  const table = checkRows('logToPhy', given, numLayers, 'layers');
  return (layer, expert) => {
    const title = `logToPhy: layer ${layer}`;
    const row = checkRows(title, table[layer], numLogicalExperts, 'experts');
    const slots = row[expert];
    if (Array.isArray(slots)) return slots.filter((slot) => slot !== -1);
    throw new EplbTypeError(
      'EPLB_KIND',
      `mapping: ${title}, expert ${expert}: ${show(slots)} is not an array`,
    );
  };
}

/** An array that may be too short, which shows when what is missing is read, but not too long. */
function checkRows(title: string, rows: unknown, most: number, what: string): readonly unknown[] {
  if (!Array.isArray(rows))
    throw new EplbTypeError('EPLB_KIND', `mapping: ${title}: ${show(rows)} is not an array`);
  if (rows.length <= most) return rows;
  throw new EplbRangeError('EPLB_SHAPE', `mapping: ${title}: has ${rows.length} ${what}, not ${most}`);
}

function missingError(layer: number, expert: number): EplbRangeError {
  return mappingError(layer, `expert ${expert} is in no slot; every expert needs one`);
}

function mappingError(layer: number, message: string): EplbRangeError {
  return new EplbRangeError('EPLB_MAPPING', `mapping: layer ${layer}: ${message}`);
}
