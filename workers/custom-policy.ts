// What the planning worker needs to run a policy's module, from the very modules that the library has (see
// plan-worker.ts). The tests of the kernel memory look at it through here.
export { kernelMemoryStatistics, leaseKernelMemory } from '../src/memory/kernel-memory.ts';
export { runCustomPolicy } from '../src/policy/custom.ts';
