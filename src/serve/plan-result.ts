import { differencesOfRanks } from '../core/rank-speeds.ts';
import type { Topology } from '../core/topology.ts';
import { layerBalances, summarizeBalance } from '../loads/balancedness.ts';
import type { LoadMatrix } from '../loads/load-matrix.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { PlanForecast } from '../policy/decision.ts';
import { type MappingRecord, mappingOfRecord, mappingRecord } from './mapping-record.ts';

/** What became of a plan that was asked for, before it is written down as an answer. */
export interface GroupPlan {
  readonly status: 'planned' | 'kept';
  /** Why the mapping stays: a policy's reason, 'paused', or 'dry run'. */
  readonly reason?: string;
  /** The epoch that was live when it was planned. */
  readonly epoch: number;
  /** What the ranks are to hold: what they hold already when it is kept. */
  readonly mapping: ExpertMapping;
  /** `ExpertMapping.toBytes()` of it, and the SHA-256 of that. */
  readonly bytes: Uint8Array;
  readonly digest: string;
  readonly previousDigest: string;
  readonly moves: number;
  readonly forecast?: ForecastJson;
  /** Of the loads that were planned for, before and after. */
  readonly balancedness?: { readonly before: number; readonly after: number };
  /** What a plan would have been: in dry-run mode. */
  readonly dryRun?: { readonly digest: string; readonly moves: number; readonly forecast?: ForecastJson };
}

/** A forecast as plain data. */
export interface ForecastJson {
  readonly gainPerLayer: readonly number[];
  readonly secondsPerLayer: readonly number[];
  readonly moves: number;
  readonly bytes: number;
  readonly steps: number;
  readonly secondsGained: number;
  readonly secondsSpent: number;
}

export function forecastJson({ gainPerLayer, secondsPerLayer, ...numbers }: PlanForecast): ForecastJson {
  return { ...numbers, gainPerLayer: [...gainPerLayer], secondsPerLayer: [...secondsPerLayer] };
}

/** What a mapping makes of loads: sum of mean rank loads / sum of largest rank loads. */
export function balancednessOf(loads: LoadMatrix, mapping: ExpertMapping, topology: Topology): number {
  const layers = layerBalances(loads, mapping, topology.numRanks, differencesOfRanks(topology));
  return summarizeBalance(layers).balancednessRatioOfSums;
}

/** A result as plain data, for the state's file. */
export interface PlanRecord extends Omit<GroupPlan, 'mapping' | 'bytes'> {
  readonly table: MappingRecord;
}

export function recordOf({ mapping, bytes: _, ...rest }: GroupPlan): PlanRecord {
  return { ...rest, table: mappingRecord(mapping) };
}

export function resultOf({ table, ...rest }: PlanRecord): GroupPlan {
  const mapping = mappingOfRecord(table);
  return { ...rest, mapping, bytes: mapping.toBytes() };
}

/** A result with its tables as nested arrays: the answer in JSON. */
export function planAnswer(result: GroupPlan, more: object): object {
  const { mapping, bytes: _, ...rest } = result;
  const { phyToLog, logToPhy, replicaCount } = mapping.toJSON();
  return {
    ...rest,
    ...more,
    physicalToLogical: phyToLog,
    logicalToPhysical: logToPhy,
    logicalReplicaCount: replicaCount,
  };
}
