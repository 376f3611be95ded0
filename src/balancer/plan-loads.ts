import { isShared } from '../core/typed-arrays.ts';
import type { JobLayout } from '../engine/layout.ts';
import type { PlanJob } from '../engine/plan-job.ts';
import { type LoadSamples, oneSample, type WrittenSamples, writeSamples } from '../loads/load-samples.ts';
import type { LoadWindow } from '../loads/load-window.ts';
import type { PlanRequest } from './plan-request.ts';

/**
 * Brings the loads to plan for to where a job reads them.
 *
 * @param plansFromSamples whether the policy's kernel does, and not from one mean load
 */
export function writeJobLoads(
  buffer: ArrayBufferLike,
  job: JobLayout,
  plansFromSamples: boolean,
  { weight: given, isWritten, samples, imbalanceThreshold, previous }: PlanRequest,
  window: LoadWindow,
): PlanJob['loads'] {
  if (plansFromSamples) {
    // What the look at the threshold reads.
    if (imbalanceThreshold !== undefined) window.writeSums(job.physicalSums, job.logicalSums);
    const chosen = samples ?? (given && oneSample(given));
    return { from: 'samples', ...writeJobSamples(buffer, job, chosen, window) };
  }
  if (isWritten) return { from: 'weights' };
  // The window's sums are of the live mapping's slots, and the workers would read them by the mapping before.
  const weight = given ?? (previous === undefined ? undefined : window.averageLogical());
  if (weight === undefined) {
    window.writeSums(job.physicalSums, job.logicalSums);
    return { from: 'window', numSamples: window.numSamples };
  }
  if (isShared(weight.data)) return { from: 'matrix', data: weight.data };
  new Float32Array(buffer, job.weights, weight.data.length).set(weight.data);
  return { from: 'weights' };
}

function writeJobSamples(
  buffer: ArrayBufferLike,
  { topology, samples: at, maxSamples }: JobLayout,
  given: LoadSamples | undefined,
  window: LoadWindow,
): WrittenSamples {
  const isGiven = given !== undefined && given.numSamples > 0;
  if (!isGiven && window.sampleMemory !== undefined && window.numSamples > 0)
    return window.sampleMemory.writeTo(at);
  const out = new Float32Array(buffer, at, maxSamples * topology.numLayers * topology.numLogicalExperts);
  return writeSamples(isGiven ? given : oneSample(window.averageLogical()), maxSamples, out);
}
