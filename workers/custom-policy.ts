// What the planning worker needs to run a policy's module, from the very modules that the library has (see
// plan-worker.ts). The tests of the kernel memory look at it through here.

// The library is here whole. A policy's module loads all of it anyway, and a part that only some of its files
// need would be one more file to read for everyone who imports it.
export * from '../src/index.ts';
export { kernelMemoryStatistics, leaseKernelMemory } from '../src/memory/kernel-memory.ts';
export { loadPolicy, runCustomPolicy } from '../src/policy/custom.ts';
