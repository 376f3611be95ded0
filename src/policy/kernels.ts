import { EplbError } from '../core/errors.ts';
import type { LayerKernel } from '../engine/layer-kernel.ts';
import type { KernelRequest } from '../engine/plan-job.ts';
import { ADAPTIVE_KERNEL } from './adaptive/kernel.ts';
import { DEFAULT_KERNEL } from './default-kernel.ts';
import { LOCALITY_KERNEL } from './locality-kernel.ts';

/** The kernels of all policies: a policy that has one adds its row here. */
const KERNELS: readonly LayerKernel[] = [DEFAULT_KERNEL, LOCALITY_KERNEL, ADAPTIVE_KERNEL];

/** The kernel that a request names. @throws EplbError `EPLB_INTERNAL` when there is none */
export function kernelOf({ kernel: id }: KernelRequest): LayerKernel {
  const kernel = KERNELS.find((candidate) => candidate.id === id);
  if (kernel === undefined) throw new EplbError('EPLB_INTERNAL', `no kernel is called ${id}`);
  return kernel;
}
