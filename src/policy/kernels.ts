import { EplbError } from '../core/errors.ts';
import type { LayerKernel } from '../engine/layer-kernel.ts';
import type { KernelRequest } from '../engine/plan-job.ts';
import { adaptiveKernel } from './adaptive/kernel.ts';
import { DEFAULT_KERNEL } from './default-kernel.ts';

/** The kernels of all policies, by id: a policy that has one adds its row here. */
const KERNELS: Readonly<Record<string, () => LayerKernel>> = {
  default: () => DEFAULT_KERNEL,
  adaptive: adaptiveKernel,
};

/** The kernel that a request names. @throws EplbError `EPLB_INTERNAL` when there is none */
export function kernelOf({ kernel: id }: KernelRequest): LayerKernel {
  const kernel = Object.hasOwn(KERNELS, id) ? KERNELS[id] : undefined;
  if (kernel === undefined) throw new EplbError('EPLB_INTERNAL', `no kernel is called ${id}`);
  return kernel();
}
