import { ExpertLoadBalancer } from 'expert-load-balancer';
import { assertLoads } from '../check.ts';
import { StepFeed } from '../feed.ts';
import { derived, type Figure, sampled } from '../figure.ts';
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
    figures.push(...(await withWindow(100, context, 'fractional')));
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

async function withWindow(
  windowSize: number,
  { seed, limits }: SuiteContext,
  loads: 'whole' | 'fractional' = 'whole',
): Promise<Figure[]> {
  const balancer = new ExpertLoadBalancer({ ...MAIN_SIZE, threads: 0, windowSize });
  const feed = new StepFeed(balancer, 'physical', seed, loads);
  feed.fill(windowSize);
  const advance = await measurePart(
    limits,
    () => feed.record(),
    () => balancer.advanceWindow(),
  );
  const suffix = loads === 'whole' ? '' : `/${loads} loads`;
  const id = (method: string) => `window/${method}/${windowSize}${suffix}`;
  const average = await measure(
    limits,
    () => balancer.getAverageLoad(),
    (result) => assertLoads(result, feed.average(), id('getAverageLoad')),
  );
  return [
    sampled(id('advanceWindow'), 'us', scale(advance, 1000)),
    sampled(id('getAverageLoad'), 'us', scale(average, 1000)),
  ];
}
