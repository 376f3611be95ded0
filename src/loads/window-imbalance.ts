import { ranksPaces } from '../core/rank-speeds.ts';
import { sharedLoads } from '../core/rules.ts';
import type { Topology } from '../core/topology.ts';
import { alignUp } from '../memory/carver.ts';
import type { KernelSizes, Pointer } from '../memory/kernel-exports.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';

/** Where a window's sums, the mapping's table and working space are. */
interface WindowTables {
  /** f64[layers x physical] and f64[layers x logical]: sums of samples of this mapping, and of all others. */
  readonly physicalSums: Pointer;
  readonly logicalSums: Pointer;
  /** i32[layers x physical] */
  readonly table: Pointer;
  /** {@link windowImbalanceBytes} */
  readonly scratch: Pointer;
}

/** Working space of {@link windowImbalance}. */
export function windowImbalanceBytes(topology: Topology, sizes: KernelSizes): number {
  return (
    paceBytes(topology) +
    sharedBytes(topology) +
    sizes.windowImbalanceScratchBytes(topology.numLogicalExperts)
  );
}

/**
 * The greatest imbalance of any layer over a window: its largest / smallest rank load, or time where ranks
 * differ in speed, a shared expert's tokens among them. See windowImbalance in kernels/shared/rank-loads.ts.
 */
export function windowImbalance(
  { kernels, buffer }: Pick<KernelRegion, 'kernels' | 'buffer'>,
  topology: Topology,
  { physicalSums, logicalSums, table, scratch }: WindowTables,
): number {
  const { numLayers, numPhysicalExperts, numLogicalExperts, numRanks } = topology;
  const paces = ranksPaces(topology);
  if (paces !== undefined) new Float64Array(buffer, scratch, numRanks).set(paces);
  const shared = sharedLoads(topology);
  const sharedAt = scratch + paceBytes(topology);
  if (shared !== undefined) new Float64Array(buffer, sharedAt, numRanks).set(shared);
  return kernels.windowImbalance(
    physicalSums,
    logicalSums,
    table,
    numLayers,
    numPhysicalExperts,
    numLogicalExperts,
    numRanks,
    paces === undefined ? 0 : scratch,
    shared === undefined ? 0 : sharedAt,
    sharedAt + sharedBytes(topology),
  );
}

function sharedBytes({ numRanks, rules }: Topology): number {
  return rules?.sharedExpert === undefined ? 0 : alignUp(8 * numRanks, 64);
}

function paceBytes({ numRanks, rankSpeed }: Topology): number {
  return rankSpeed === undefined ? 0 : alignUp(8 * numRanks, 64);
}
