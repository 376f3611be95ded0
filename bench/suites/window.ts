import { ExpertLoadBalancer } from 'expert-load-balancer';
import { assertLoads } from '../check.ts';
import { StepFeed } from '../feed.ts';
import { beside, derived, type Figure, sampled } from '../figure.ts';
import { measure, measurePart } from '../measure.ts';
import { scale } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE } from '../workloads.ts';

const WINDOWS = [10, 100, 1000];

/** Ending a step and reading the average, with windows of several sizes, all full. */
export const windowSuite: Suite = {
  name: 'window',
  title: 'Ending a step and averaging, 58x256->288, by size of the window',
  async run(context) {
    const figures: Figure[] = [];
    for (const windowSize of WINDOWS) figures.push(...(await withWindow(windowSize, context)));
    for (const method of ['advanceWindow', 'getAverageLoad']) {
      const [small, large] = [WINDOWS[0], WINDOWS.at(-1)].map((window) => {
        return figures.find(({ id }) => id === `window/${method}/${window}`)!;
      });
      const ratio = large!.value / small!.value;
      figures.push(derived(`window/${method}/${WINDOWS.at(-1)} over ${WINDOWS[0]}`, 'x', ratio));
    }
    return figures;
  },
};

async function withWindow(windowSize: number, { seed, limits }: SuiteContext): Promise<Figure[]> {
  const balancer = new ExpertLoadBalancer({ ...MAIN_SIZE, threads: 0, windowSize });
  const feed = new StepFeed(balancer, 'physical', seed);
  feed.fill(windowSize);
  const advance = await measurePart(
    limits,
    () => feed.record(),
    () => balancer.advanceWindow(),
  );
  const id = (method: string) => `window/${method}/${windowSize}`;
  const average = await measure(
    limits,
    () => balancer.getAverageLoad(),
    (result) => assertLoads(result, feed.average(), id('getAverageLoad')),
  );
  return [
    // Now and then the ring begins a new turn, which costs more: the largest sample shows it.
    sampled(id('advanceWindow'), 'us', scale(advance, 1000), [beside('max', advance.max * 1000, 'us')]),
    sampled(id('getAverageLoad'), 'us', scale(average, 1000)),
  ];
}
