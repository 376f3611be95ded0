import type { Topology } from 'expert-load-balancer';
import { beside, derived, type Figure, sampled } from '../figure.ts';
import { firstMappings } from '../first-mapping.ts';
import { type LoadSource, makeProblem, timeInline, timePooled } from '../plan-problem.ts';
import { median } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, SIZES } from '../workloads.ts';

/**
 * `plan()` from the call to the resolved promise, beside the same work inline: both keep slots of the live
 * mapping.
 */
export const pooledSuite: Suite = {
  name: 'pooled',
  title: 'Default policy through the pool, from the call to the resolved promise',
  async run(context) {
    const figures: Figure[] = [];
    for (const topology of context.isQuick ? [MAIN_SIZE] : SIZES) {
      figures.push(...(await planSize(topology, context)));
    }
    return figures;
  },
};

async function planSize(topology: Topology, { seed, limits, pick }: SuiteContext): Promise<Figure[]> {
  const problem = makeProblem(topology, seed);
  const { workload, digest } = problem;
  const id = `pooled/${workload.size}`;
  const inline = await timeInline(problem, limits);
  const pooled = async (name: string, threads: number, source?: LoadSource) => {
    const stats = await timePooled(problem, threads, limits, source);
    const cold = firstMappings(workload, digest, pick(3, 1), threads).planMs;
    return sampled(`${id}/${name}`, 'ms', stats, [
      beside('cold, threads started', median(cold), 'ms'),
      beside('this / inline', stats.median / inline.median, 'x'),
    ]);
  };
  const one = await pooled('1 thread', 1);
  const figures = [
    sampled(`${id}/inline`, 'ms', inline),
    one,
    derived(`${id}/1 thread over inline`, 'ms', one.value - inline.median),
    await pooled('2 threads', 2),
  ];
  if (topology !== MAIN_SIZE) return figures;
  for (const source of ['on shared memory', 'from the window'] as const) {
    const stats = await timePooled(problem, 1, limits, source);
    const ratio = beside('this / inline', stats.median / inline.median, 'x');
    figures.push(sampled(`${id}/1 thread, loads ${source}`, 'ms', stats, [ratio]));
  }
  return figures;
}
