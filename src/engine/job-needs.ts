import type { Topology } from '../core/topology.ts';
import { windowImbalanceBytes } from '../loads/window-imbalance.ts';
import type { KernelSizes } from '../memory/kernel-exports.ts';
import type { LayerKernel } from './layer-kernel.ts';
import type { JobNeeds } from './layout.ts';
import type { KernelRequest } from './plan-job.ts';

/** What a job of a kernel takes; of a policy without one, when there is none. */
export function jobNeeds(
  topology: Topology,
  request: KernelRequest | undefined,
  kernel: LayerKernel | undefined,
  sizes: KernelSizes,
  numWorkers = 1,
): JobNeeds {
  const least = layerScratchBytes(topology, sizes);
  if (request === undefined || kernel === undefined) {
    return {
      numWorkers,
      layersPerClaim: 1,
      scratchBytes: least,
      dataBytes: 0,
      memoryBytes: 0,
      maxSamples: 0,
    };
  }
  return {
    numWorkers,
    layersPerClaim: kernel.layersPerClaim,
    scratchBytes: Math.max(least, kernel.scratchBytes(request, topology, sizes)),
    dataBytes: kernel.dataBytes(request, topology),
    memoryBytes: kernel.memoryBytes?.(request, topology) ?? 0,
    maxSamples: request.maxSamples ?? 0,
  };
}

/** Scratch that every job takes: what is folded, looked at and counted in it. */
function layerScratchBytes(topology: Topology, sizes: KernelSizes): number {
  const { numLogicalExperts } = topology;
  return Math.max(
    sizes.averageLoadsScratchBytes(numLogicalExperts),
    windowImbalanceBytes(topology, sizes),
    4 * numLogicalExperts,
  );
}
