// What other files of dist/ need of the library beyond its exports, from the very modules that the library has: the worker, to
// run a policy's module (see plan-worker.ts), and the simulator, for its part of the thread's kernel memory.
export { kernelMemoryStatistics, leaseKernelMemory } from '../src/memory/kernel-memory.ts';
export { runCustomPolicy } from '../src/policy/custom.ts';
