import assert from 'node:assert/strict';
import { runChild } from './child.ts';
import type { Workload } from './workloads.ts';

/** Times of first mappings, each in a process of its own, in milliseconds. */
interface FirstMappings {
  /** From the import to the mapping: the compilation of the kernels in it, and the start of the threads. */
  readonly planMs: readonly number[];
  /** The import too. */
  readonly totalMs: readonly number[];
}

/**
 * Has some processes make their first mapping.
 *
 * @param digest what the mapping has to be
 * @param threads of a balancer; the policy alone makes the mapping when left out
 */
export function firstMappings(
  { topology, loads }: Workload,
  digest: string,
  processes: number,
  threads?: number,
): FirstMappings {
  const planMs: number[] = [];
  const totalMs: number[] = [];
  for (let i = 0; i < processes; i++) {
    const job = { topology, threads };
    const answer = runChild<Answer>('first-mapping.mjs', job, loads.data);
    assert.equal(answer.digest, digest, 'the first mapping of a process');
    planMs.push(answer.planMs);
    totalMs.push(answer.totalMs);
  }
  return { planMs, totalMs };
}

interface Answer {
  readonly planMs: number;
  readonly totalMs: number;
  readonly digest: string;
}
