import type { LayerKernel } from './layer-kernel.ts';
import type { JobLayout } from './layout.ts';
import type { KernelRequest } from './plan-job.ts';
import type { PlanTables } from './plan-tables.ts';

/** What a kernel left beside the tables, copied, for the one who asked for the plan. */
export function takeExtras(
  kernel: LayerKernel,
  request: KernelRequest,
  buffer: ArrayBufferLike,
  layout: JobLayout,
): Pick<PlanTables, 'stats' | 'memory'> {
  const stats = kernel.takeStats?.(request, buffer, layout);
  const { newMemory, memoryBytes } = layout;
  if (memoryBytes === 0) return stats === undefined ? {} : { stats };
  // Not slice(): see copies.ts.
  const memory = new Uint8Array(new Uint8Array(buffer, newMemory, memoryBytes));
  return stats === undefined ? { memory } : { stats, memory };
}
