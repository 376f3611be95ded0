import { windowImbalance } from '../loads/window-imbalance.ts';
import type { KernelExports } from '../memory/kernel-exports.ts';
import type { BoundKernel, LayerKernel, ThreadJob } from './layer-kernel.ts';
import { isCancelled, isLeaving, type JobLayout, JobWord, jobWords } from './layout.ts';
import type { PlanJob } from './plan-job.ts';
import type { PlanTables } from './plan-tables.ts';

/**
 * Claims layers of a job, a few at a time, and plans them, until none is left, or this worker is to leave,
 * or the job is cancelled: a layer that is being searched then is dropped. Any number of threads may run this
 * at once on the same memory, each with its own `worker` number, which chooses its scratch.
 *
 * @param kernel the one that the job's request names
 * @param out the tables that all threads of the job fill together
 * @returns whether the job's last layer was planned here: then the tables are complete
 */
export function planLayers(
  kernels: KernelExports,
  kernel: LayerKernel,
  buffer: ArrayBufferLike,
  layout: JobLayout,
  job: PlanJob,
  worker: number,
  out: PlanTables,
): boolean {
  const { numLayers } = layout.topology;
  const { layersPerClaim } = kernel;
  const words = jobWords(buffer, layout);
  const threadJob = threadJobOf(kernels, buffer, layout, job, worker);
  let bound: BoundKernel | undefined;
  while (!isCancelled(words) && !isLeaving(words, worker)) {
    const first = Atomics.add(words, JobWord.NEXT_LAYER, layersPerClaim);
    if (first >= numLayers) return false;
    const count = Math.min(layersPerClaim, numLayers - first);
    bound ??= kernel.bind(threadJob);
    bound.plan(first, count);
    // The tables of a search that was cancelled are not there.
    if (isCancelled(words)) return false;
    writeOut(threadJob, first, count, out);
    if (isCancelled(words)) return false;
    if (Atomics.add(words, JobWord.LAYERS_DONE, count) + count < numLayers) continue;
    bound.finish?.(out);
    return true;
  }
  return false;
}

/**
 * Whether a job is not worth planning, because the loads do not differ more than it tells. Every thread of a
 * job finds the same, each for itself.
 */
export function isEven(
  kernels: KernelExports,
  buffer: ArrayBufferLike,
  layout: JobLayout,
  { imbalanceThreshold }: Pick<PlanJob, 'imbalanceThreshold'>,
  worker: number,
): boolean {
  if (imbalanceThreshold === undefined) return false;
  const { topology, physicalSums, logicalSums, previous: table } = layout;
  const scratch = layout.scratch + worker * layout.scratchBytes;
  const tables = { physicalSums, logicalSums, table, scratch };
  return windowImbalance({ kernels, buffer }, topology, tables) <= imbalanceThreshold;
}

function threadJobOf(
  kernels: KernelExports,
  buffer: ArrayBufferLike,
  layout: JobLayout,
  job: PlanJob,
  worker: number,
): ThreadJob {
  // What the kernels write stays in the first cache until it is copied.
  const slots = layout.tables + worker * layout.tableBytes;
  return {
    kernels,
    buffer,
    layout,
    job,
    request: job.request,
    scratch: layout.scratch + worker * layout.scratchBytes,
    slots,
    ranks: slots + layout.tableBytes / 2,
  };
}

/** Copies the tables of planned layers to those of the job. */
function writeOut(threadJob: ThreadJob, first: number, count: number, out: PlanTables): void {
  const { kernels, buffer, layout, scratch, slots, ranks } = threadJob;
  const { numPhysicalExperts, numLogicalExperts } = layout.topology;
  const { phyToLog, replicaRank, replicaCount } = out;
  const length = count * numPhysicalExperts;
  phyToLog.set(new Int32Array(buffer, slots, length), first * numPhysicalExperts);
  replicaRank.set(new Int32Array(buffer, ranks, length), first * numPhysicalExperts);
  if (replicaCount === undefined) return;
  const counts = new Int32Array(buffer, scratch, numLogicalExperts);
  for (let i = 0; i < count; i++) {
    kernels.countReplicas(slots + 4 * i * numPhysicalExperts, numPhysicalExperts, numLogicalExperts, scratch);
    replicaCount.set(counts, (first + i) * numLogicalExperts);
  }
}
