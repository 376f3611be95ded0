import { DefaultEplbPolicy } from 'expert-load-balancer';
import { assertPlacement, digestOf } from '../check.ts';
import { beside, type Figure, sampled } from '../figure.ts';
import { firstMappings } from '../first-mapping.ts';
import { measure } from '../measure.ts';
import { planReference } from '../reference.ts';
import { median } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { type LoadKind, makeWorkload, RECORDED_SIZE, SIZES, type Workload } from '../workloads.ts';

/** The policy called in this thread, beside the plain reference in the same process. */
export const inlineSuite: Suite = {
  name: 'inline',
  title: 'Default policy, all layers, in the calling thread',
  async run(context) {
    const kinds: LoadKind[] = context.isQuick ? ['zipf'] : ['zipf', 'log-normal'];
    const figures: Figure[] = [];
    for (const size of SIZES) {
      for (const kind of kinds) figures.push(await planOnce(makeWorkload(size, kind, context.seed), context));
    }
    figures.push(await planOnce(makeWorkload(RECORDED_SIZE, 'recorded', context.seed), context));
    return figures;
  },
};

async function planOnce(workload: Workload, context: SuiteContext): Promise<Figure> {
  const { size, kind, topology, loads } = workload;
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const { limits } = context;
  const expected = planReference(loads, topology);
  const reference = await measure(
    { ...limits, time: limits.time / 2, warmupTime: limits.warmupTime / 2 },
    () => planReference(loads, topology),
    () => {},
  );
  const policy = new DefaultEplbPolicy();
  const id = `inline/${size}/${kind}`;
  const stats = await measure(
    limits,
    () => policy.rebalanceExperts(loads, numPhysicalExperts, numGroups, numNodes, numRanks),
    (mapping) => assertPlacement(mapping, expected, id),
  );
  const cold = firstMappings(workload, digestOf(expected, topology), context.pick(3, 1));
  return sampled(id, 'ms', stats, [
    beside('cold', median(cold.planMs), 'ms'),
    beside('reference', reference.median, 'ms'),
    beside('reference / this', reference.median / stats.median, 'x'),
  ]);
}
