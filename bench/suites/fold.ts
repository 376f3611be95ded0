import { ExpertLoadBalancer, type ExpertMapping, type Topology } from 'expert-load-balancer';
import { assertLoads } from '../check.ts';
import { foldLoads, meanOf, StepFeed } from '../feed.ts';
import { type Figure, sampled } from '../figure.ts';
import { measure, measurePart } from '../measure.ts';
import { scale } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { makeWorkload, sizeName, sizeNamed } from '../workloads.ts';

const FOLDED = ['58x256->288', '92x896->1024', '64x1024->2048'];
const STEPS = 10;

/**
 * Loads of slots turned into loads of experts: for an average, and for good when another mapping goes live.
 */
export const foldSuite: Suite = {
  name: 'fold',
  title: 'Folding loads of slots into loads of experts',
  async run(context) {
    const figures: Figure[] = [];
    for (const name of FOLDED) figures.push(...(await fold(sizeNamed(name), context)));
    return figures;
  },
};

async function fold(topology: Topology, { seed, limits }: SuiteContext): Promise<Figure[]> {
  const size = sizeName(topology);
  const balancer = new ExpertLoadBalancer({ ...topology, threads: 0, windowSize: STEPS });
  const feed = new StepFeed(balancer, 'physical', seed);
  // The mapping each step was recorded under, the last STEPS of them in the window.
  const mappings: ExpertMapping[] = [];
  const recordStep = () => {
    mappings.push(balancer.mapping);
    feed.fill(1);
  };
  const check = () => {
    const live = mappings.slice(-STEPS);
    const folded = feed.stepsInWindow().map((step, i) => foldLoads(step, live[i]!));
    assertLoads(balancer.getAverageLogicalLoad(), meanOf(folded), `fold/${size}`);
  };
  for (let step = 0; step < STEPS; step++) recordStep();
  const average = await measure(limits, () => balancer.getAverageLogicalLoad(), check);

  const before = balancer.mapping;
  const after = balancer.rebalanceSync(makeWorkload(topology, 'zipf', seed).loads);
  const commit = await measurePart(
    limits,
    // There is always a step to fold, however little a commit does when there is none.
    recordStep,
    () => balancer.commit(balancer.mapping === after ? before : after),
  );
  check();
  return [
    sampled(`fold/${size}/getAverageLogicalLoad`, 'us', scale(average, 1000)),
    sampled(`fold/${size}/commit after a step`, 'us', scale(commit, 1000)),
  ];
}
