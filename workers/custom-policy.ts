// The part of the worker that shares its modules with the library: see plan-worker.ts.
export { runCustomPolicy } from '../src/policy/custom.ts';
