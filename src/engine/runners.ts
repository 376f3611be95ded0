// What runs jobs in other threads: loaded together, when it is first needed.
export { runCopyJob } from './copy-job.ts';
export { KernelRunner } from './kernel-runner.ts';
export { PolicyRunner } from './policy-runner.ts';
