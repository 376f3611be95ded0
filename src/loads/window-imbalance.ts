import { ranksPaces } from '../core/rank-speeds.ts';
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
  return paceBytes(topology) + sizes.windowImbalanceScratchBytes(topology.numLogicalExperts);
}

/**
 * The greatest imbalance of any layer over a window: its largest / smallest rank load, or time where ranks
 * differ in speed. See windowImbalance in kernels/shared/rank-loads.ts.
 */
export function windowImbalance(
  { kernels, buffer }: Pick<KernelRegion, 'kernels' | 'buffer'>,
  topology: Topology,
  { physicalSums, logicalSums, table, scratch }: WindowTables,
): number {
  const { numLayers, numPhysicalExperts, numLogicalExperts, numRanks } = topology;
  const paces = ranksPaces(topology);
  if (paces !== undefined) new Float64Array(buffer, scratch, numRanks).set(paces);
  return kernels.windowImbalance(
    physicalSums,
    logicalSums,
    table,
    numLayers,
    numPhysicalExperts,
    numLogicalExperts,
    numRanks,
    paces === undefined ? 0 : scratch,
    scratch + paceBytes(topology),
  );
}

function paceBytes({ numRanks, rankSpeed }: Topology): number {
  return rankSpeed === undefined ? 0 : alignUp(8 * numRanks, 64);
}
