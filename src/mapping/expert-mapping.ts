import { show, slotsPerRankOf } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { copyInts } from '../memory/copies.ts';
import type { ExpertMappingInit } from './mapping-init.ts';
import { type MappingTables, ReplicaIndex } from './mapping-tables.ts';
import { MoveCounter } from './move-counter.ts';
import { readTables, type TableSizes } from './read-tables.ts';
import { decodeTable, digestTable, encodeTable } from './snapshot.ts';

/**
 * A mapping as plain data: what {@link ExpertMapping.toJSON} gives and {@link ExpertMapping.fromJSON} takes.
 */
export interface ExpertMappingJson {
  readonly numLogicalExperts: number;
  readonly phyToLog: number[][];
  readonly logToPhy: number[][][];
  readonly replicaCount: number[][];
}

const NAMES = ['phyToLog', 'logToPhy', 'replicaCount', 'numLayers', 'numLogicalExperts'];

/** The tables of a mapping themselves, not a copy: to be read, never written. */
export let tablesOf: (mapping: ExpertMapping) => MappingTables;

/** The replicas of each expert, [layers x logical], not a copy: to be read, never written. */
export let replicaCountOf: (mapping: ExpertMapping) => Int32Array;

/** Whether a value is a mapping made by this copy of the library, and no mere look-alike. */
let isMapping: (value: object) => value is ExpertMapping;

/**
 * Which logical expert each physical slot holds, and in which slots each expert is, for all layers. A mapping
 * cannot be changed. The table properties return a new copy on every read, so keep what you read, and use
 * {@link getLogicalExpert} to look up single slots.
 *
 * A mapping is valid when every expert has a replica, every slot holds an expert or -1 (empty), and the
 * tables agree. Data from outside is checked for this.
 * @example
 * ```ts
 * const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0]]);
 * mapping.getPhysicalExperts(0, 0); // [0, 3]
 * mapping.getLogicalExpert(0, 2); // 2
 * ```
 */
export class ExpertMapping {
  readonly #tables: MappingTables;
  readonly #index: ReplicaIndex;

  static {
    tablesOf = (mapping) => mapping.#tables;
    replicaCountOf = (mapping) => mapping.#index.replicaCount;
    isMapping = (value): value is ExpertMapping => #tables in value;
  }

  /**
   * Checks and copies tables from outside.
   *
   * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_SHAPE` or `EPLB_MAPPING`, naming
   *   layer, slot and expert
   */
  constructor(init: ExpertMappingInit) {
    if (trusted.has(init)) this.#tables = init as MappingTables;
    else this.#tables = readTables(checkOptions('mapping', init, NAMES));
    this.#index = new ReplicaIndex(this.#tables);
    Object.freeze(this);
  }

  /**
   * Makes the mapping whose slots hold these experts.
   *
   * @param phyToLog [layers][physical], -1 for an empty slot
   * @param numLogicalExperts by default one more than the greatest id
   */
  static fromPhysicalToLogical(
    phyToLog: readonly (readonly number[])[],
    numLogicalExperts?: number,
  ): ExpertMapping {
    return new ExpertMapping(
      numLogicalExperts === undefined ? { phyToLog } : { phyToLog, numLogicalExperts },
    );
  }

  /**
   * Reads the result of {@link toJSON}, or any object with its `phyToLog`. The other tables are checked if
   * they are present.
   */
  static fromJSON(json: unknown): ExpertMapping {
    return mappingOfTables(readTables(checkInit(json)));
  }

  /** Reads what {@link toBytes} wrote. @throws EplbRangeError `EPLB_FORMAT` or `EPLB_MAPPING` */
  static fromBytes(bytes: Uint8Array): ExpertMapping {
    return mappingOfTables(readTables(decodeTable(bytes)));
  }

  get numLayers(): number {
    return this.#tables.numLayers;
  }

  /** Slots per layer. */
  get numPhysicalExperts(): number {
    return this.#tables.numPhysicalExperts;
  }

  get numLogicalExperts(): number {
    return this.#tables.numLogicalExperts;
  }

  /** The largest number of replicas of an expert in any layer: the width of {@link logToPhy}. */
  get maxReplicas(): number {
    return this.#index.maxReplicas;
  }

  /** [layers x physical], row-major: the expert of each slot, -1 when empty. A copy. */
  get phyToLog(): Int32Array {
    const { buffer, byteOffset, length } = this.#tables.phyToLog;
    return copyInts(buffer, byteOffset, length);
  }

  /** [layers x logical], row-major: number of replicas of each expert. A copy. */
  get replicaCount(): Int32Array {
    const { buffer, byteOffset, length } = this.#index.replicaCount;
    return copyInts(buffer, byteOffset, length);
  }

  /**
   * [layers x logical x maxReplicas], row-major: the slots of each expert in order of replica, padded with
   * -1. A copy.
   *
   * @throws EplbRangeError `EPLB_MEMORY` if one expert has so many replicas that there is not enough memory
   *   for the table
   */
  get logToPhy(): Int32Array {
    return this.#index.logToPhy();
  }

  /** The slots that hold an expert, in order of replica; [] if layer or expert is out of range. */
  getPhysicalExperts(layer: number, logical: number): number[] {
    const { numLayers, numLogicalExperts } = this.#tables;
    if (!isIndex(layer, numLayers) || !isIndex(logical, numLogicalExperts)) return [];
    return this.#index.slotsOf(layer, logical);
  }

  /** The expert in a slot; -1 if the slot is empty, or if layer or slot is out of range. */
  getLogicalExpert(layer: number, physical: number): number {
    const { numLayers, numPhysicalExperts, phyToLog } = this.#tables;
    if (!isIndex(layer, numLayers) || !isIndex(physical, numPhysicalExperts)) return -1;
    return phyToLog[layer * numPhysicalExperts + physical]!;
  }

  /** Plain nested arrays: for JSON.stringify and structured clones. */
  toJSON(): ExpertMappingJson {
    const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = this.#tables;
    const rows = Array.from({ length: numLayers }, (_, layer) => layer);
    return {
      numLogicalExperts,
      phyToLog: rows.map((layer) => rowOf(phyToLog, layer, numPhysicalExperts)),
      logToPhy: rows.map((layer) =>
        Array.from({ length: numLogicalExperts }, (_, expert) => this.getPhysicalExperts(layer, expert)),
      ),
      replicaCount: rows.map((layer) => rowOf(this.#index.replicaCount, layer, numLogicalExperts)),
    };
  }

  /**
   * The mapping as bytes: magic, version, sizes, then {@link phyToLog}. The order of replicas is not
   * included.
   */
  toBytes(): Uint8Array {
    return encodeTable(this.#tables);
  }

  /** SHA-256, in hex, of {@link toBytes}: equal mappings have equal digests. */
  digest(): string {
    return digestTable(this.#tables);
  }

  /** Whether both put the same expert into every slot. */
  equals(other: ExpertMapping): boolean {
    if (this === other) return true;
    const a = this.#tables;
    const b = checkMapping('other', other).#tables;
    if (a.numLayers !== b.numLayers || a.numLogicalExperts !== b.numLogicalExperts) return false;
    if (a.numPhysicalExperts !== b.numPhysicalExperts) return false;
    return a.phyToLog.every((expert, i) => expert === b.phyToLog[i]);
  }

  /**
   * How many slots need weights from another rank: slots whose expert was not on that rank in `previous`.
   *
   * @throws EplbRangeError `EPLB_SHAPE` for a mapping of another shape, `EPLB_TOPOLOGY` if slots are not a
   *   multiple of ranks
   */
  movesFrom(previous: ExpertMapping, numRanks: number): number {
    return this.movesPerLayerFrom(previous, numRanks).reduce((sum, moves) => sum + moves, 0);
  }

  /** {@link movesFrom} for each layer: Int32Array[layers]. */
  movesPerLayerFrom(previous: ExpertMapping, numRanks: number): Int32Array {
    const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = this.#tables;
    const before = checkMapping('previous', previous).#tables;
    if (before.numLayers !== numLayers || before.numPhysicalExperts !== numPhysicalExperts) {
      const shape = `${before.numLayers} x ${before.numPhysicalExperts}`;
      throw new EplbRangeError(
        'EPLB_SHAPE',
        `previous: is ${shape}, not ${numLayers} x ${numPhysicalExperts}`,
      );
    }
    slotsPerRankOf(numPhysicalExperts, numRanks);
    const mostExperts = Math.max(numLogicalExperts, before.numLogicalExperts);
    const counter = new MoveCounter({ numLogicalExperts: mostExperts, numRanks, numNodes: 1 });
    const moves = new Int32Array(numLayers);
    for (let layer = 0; layer < numLayers; layer++) {
      const [first, end] = [layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts];
      const counted = counter.count(before.phyToLog.subarray(first, end), phyToLog.subarray(first, end));
      moves[layer] = counted.moves;
    }
    return moves;
  }
}

/** Returns `value` when it is a mapping. @throws EplbTypeError `EPLB_KIND` */
export function checkMapping(title: string, value: unknown): ExpertMapping {
  if (value instanceof ExpertMapping) return value;
  throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not an ExpertMapping`);
}

/**
 * Reads a mapping from outside, as a mapping or as plain data, that has to be of these sizes. Another one is
 * refused by its lengths: no entry of its tables is read, and no room made for them.
 *
 * @throws as the constructor
 */
export function readMapping(value: unknown, sizes: TableSizes): ExpertMapping {
  const init = checkInit(value);
  if (!isMapping(init)) return mappingOfTables(readTables(init, sizes));
  // Of the tables themselves: a subclass could tell other sizes.
  const shape = shapeOf(tablesOf(init));
  if (shape === shapeOf(sizes)) return init;
  const message = `mapping: is of ${shape} (layers x logical x physical), not ${shapeOf(sizes)}`;
  throw new EplbRangeError('EPLB_SHAPE', message);
}

function checkInit(value: unknown): ExpertMappingInit {
  if (typeof value === 'object' && value !== null && 'phyToLog' in value) return value as ExpertMappingInit;
  throw new EplbTypeError('EPLB_KIND', `mapping: ${show(value)} is not an object with phyToLog`);
}

function shapeOf({ numLayers, numLogicalExperts, numPhysicalExperts }: TableSizes): string {
  return `${numLayers} x ${numLogicalExperts} x ${numPhysicalExperts}`;
}

/** Tables handed over by the library itself, known to be valid. */
const trusted = new WeakSet<object>();

/** A mapping over tables known to be valid, which it owns from then on: nobody may write them any more. */
export function mappingOfTables(tables: MappingTables): ExpertMapping {
  trusted.add(tables);
  return new ExpertMapping(tables);
}

function isIndex(value: number, end: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < end;
}

function rowOf(table: Int32Array, row: number, width: number): number[] {
  return Array.from(table.subarray(row * width, (row + 1) * width));
}
