import type { Topology } from '../core/topology.ts';
import type { ThreadJob } from '../engine/layer-kernel.ts';
import { isCancelled, jobWords } from '../engine/layout.ts';
import type { KernelSizes } from '../memory/kernel-exports.ts';

/**
 * Keeps the experts of a planned layer in their slots where they stay on their rank, when there is a mapping
 * before.
 *
 * @param i where the layer is in the job's tables
 */
export function preserveSlots(
  { kernels, buffer, layout, job, slots, ranks, scratch }: ThreadJob,
  layer: number,
  i: number,
): void {
  // A search that was cancelled has left no tables.
  if (!job.hasPrevious || isCancelled(jobWords(buffer, layout))) return;
  const { numLogicalExperts, numPhysicalExperts, numRanks } = layout.topology;
  const rowBytes = 4 * numPhysicalExperts;
  kernels.preserveSlots(
    layout.previous + layer * rowBytes,
    slots + i * rowBytes,
    ranks + i * rowBytes,
    numPhysicalExperts,
    numRanks,
    numLogicalExperts,
    scratch,
  );
}

/** Scratch of {@link preserveSlots}. */
export function preserveScratchBytes(topology: Topology, sizes: KernelSizes): number {
  const { numPhysicalExperts, numRanks, numLogicalExperts } = topology;
  return sizes.preserveSlotsScratchBytes(numPhysicalExperts, numRanks, numLogicalExperts);
}
