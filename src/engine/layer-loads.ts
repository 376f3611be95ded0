import { loadError } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import type { KernelExports, Pointer } from '../memory/kernel-exports.ts';
import type { ThreadJob } from './layer-kernel.ts';
import type { JobLayout } from './layout.ts';

/**
 * Brings a layer's loads into the job's weights where they are not.
 *
 * @returns where they are: f32[logical]
 * @throws EplbTypeError, EplbRangeError `EPLB_LOAD`, `EPLB_SHAPE` for a host's matrix that changed since it
 * was looked at
 */
export function readLoads({ kernels, buffer, layout, job, scratch }: ThreadJob, layer: number): Pointer {
  const { numLayers, numLogicalExperts } = layout.topology;
  const first = layer * numLogicalExperts;
  const row = layout.weights + first * 4;
  const { loads } = job;
  if (loads.from === 'window') foldLayer(kernels, layout, layer, loads.numSamples, scratch);
  if (loads.from !== 'matrix') return row;
  const values = new Float32Array(buffer, row, numLogicalExperts);
  checkLength('weight.data', loads.data, numLayers * numLogicalExperts);
  values.set(loads.data.subarray(first, first + numLogicalExperts));
  const bad = kernels.firstInvalid(row, numLogicalExperts);
  if (bad < numLogicalExperts) throw loadError('weight', layer, bad, values[bad]);
  return row;
}

/** Turns the window's sums of all layers into the weights: for a policy that has no kernel. */
export function foldWindow(kernels: KernelExports, layout: JobLayout, numSamples: number): void {
  for (let layer = 0; layer < layout.topology.numLayers; layer++) {
    foldLayer(kernels, layout, layer, numSamples, layout.scratch);
  }
}

function foldLayer(
  kernels: KernelExports,
  layout: JobLayout,
  layer: number,
  numSamples: number,
  scratch: Pointer,
): void {
  const { topology, weights, physicalSums, logicalSums, previous } = layout;
  const { numLogicalExperts, numPhysicalExperts } = topology;
  kernels.averageLoads(
    physicalSums + layer * numPhysicalExperts * 8,
    previous + layer * numPhysicalExperts * 4,
    numPhysicalExperts,
    logicalSums + layer * numLogicalExperts * 8,
    numLogicalExperts,
    numSamples,
    weights + layer * numLogicalExperts * 4,
    scratch,
  );
}

/**
 * The memory of what a plan reads in place may have shrunk since it was looked at.
 * @throws EplbRangeError `EPLB_SHAPE`
 */
export function checkLength(title: string, { length }: Float32Array, wanted: number): void {
  if (length !== wanted)
    throw new EplbRangeError('EPLB_SHAPE', `${title}: has ${length} values, not ${wanted}`);
}
