import { ExpertLoadBalancer } from 'expert-load-balancer';
import { digestOf } from '../check.ts';
import { runChild } from '../child.ts';
import { beside, type Figure, sampled } from '../figure.ts';
import { firstMappings } from '../first-mapping.ts';
import { planReference } from '../reference.ts';
import { median, summarize } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, makeWorkload } from '../workloads.ts';

/** A process's way to its first mapping, each sample a process of its own. */
export const startupSuite: Suite = {
  name: 'startup',
  title: 'Start-up, 58x256->288, in processes of their own',
  async run(context) {
    return [
      importAlone(context),
      firstMapping('inline', 0, context),
      firstMapping('pool of one', 1, context),
    ];
  },
};

/** From the start of the process to the end of its script, less that of a bare Node started just before. */
function importAlone({ pick }: SuiteContext): Figure {
  const bare: number[] = [];
  const importing: number[] = [];
  const inProcess: number[] = [];
  for (let i = 0; i < pick(25, 3); i++) {
    bare.push(runChild<{ endMs: number }>('bare.mjs').endMs);
    const { endMs, importMs } = runChild<{ endMs: number; importMs: number }>('import-only.mjs');
    importing.push(endMs);
    inProcess.push(importMs);
  }
  const differences = summarize(importing.map((ms, i) => ms - bare[i]!));
  return sampled('startup/import alone over bare node', 'ms', differences, [
    beside('bare node', median(bare), 'ms'),
    beside('the import in its process', median(inProcess), 'ms'),
  ]);
}

/** From just before the import to the mapping in hand, inside the process. */
function firstMapping(name: string, threads: number, { seed, pick }: SuiteContext): Figure {
  const workload = makeWorkload(MAIN_SIZE, 'zipf', seed);
  const { mapping } = new ExpertLoadBalancer({ ...MAIN_SIZE, threads: 0, windowSize: 1 });
  const digest = digestOf(planReference(workload.loads, MAIN_SIZE, mapping.phyToLog), MAIN_SIZE);
  const { planMs, totalMs } = firstMappings(workload, digest, pick(15, 2), threads);
  return sampled(`startup/import to first mapping/${name}`, 'ms', summarize(totalMs), [
    beside('of it after the import', median(planMs), 'ms'),
  ]);
}
