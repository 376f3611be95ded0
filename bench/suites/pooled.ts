import type { Topology } from 'expert-load-balancer';
import { beside, controlled, derived, type Figure, sampled } from '../figure.ts';
import { firstMappings } from '../first-mapping.ts';
import { timeHops } from '../hop.ts';
import { type LoadSource, makeProblem, type PlanProblem, timeInline, timePooled } from '../plan-problem.ts';
import { median, summarize } from '../stats.ts';
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

async function planSize(topology: Topology, context: SuiteContext): Promise<Figure[]> {
  const { seed, limits, pick } = context;
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
    topology === MAIN_SIZE
      ? await overInline(`${id}/1 thread over inline`, problem, context)
      : derived(`${id}/1 thread over inline`, 'ms', one.value - inline.median),
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

/** What the pool adds to a plan, beside what a bare one adds to as much work. */
async function overInline(id: string, problem: PlanProblem, { pick }: SuiteContext): Promise<Figure> {
  const hops = await timeHops(problem, pick(25, 2));
  const [plan, piscina, port] = [summarize(hops.plan), summarize(hops.piscina), summarize(hops.port)];
  const figure = sampled(id, 'ms', plan, [
    beside('a bare port', port.median, 'ms'),
    beside('least of a bare pool', piscina.min, 'ms'),
  ]);
  return controlled(figure, 'a bare pool', piscina.median);
}
