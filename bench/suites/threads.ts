import { beside, derived, sampled } from '../figure.ts';
import { makeProblem, timeInline, timePooled } from '../plan-problem.ts';
import type { Suite } from '../suite.ts';
import { sizeNamed } from '../workloads.ts';

/**
 * Many layers, so that a plan takes one thread well over 20 ms: then starting and joining threads hardly
 * counts.
 */
const LAYERS = 512;

/** What a second thread brings. The main thread only waits meanwhile. */
export const threadsSuite: Suite = {
  name: 'threads',
  title: `Thread scaling, ${LAYERS} layers of 1024->2048, through the pool`,
  async run({ seed, limits, pick }) {
    const problem = makeProblem({ ...sizeNamed('64x1024->2048'), numLayers: pick(LAYERS, 64) }, seed);
    const longer = { ...limits, time: 3 * limits.time };
    const inline = await timeInline(problem, longer);
    const one = await timePooled(problem, 1, longer);
    const two = await timePooled(problem, 2, longer);
    const id = `threads/${problem.workload.size}`;
    return [
      sampled(`${id}/inline`, 'ms', inline),
      sampled(`${id}/1 thread`, 'ms', one, [beside('this / inline', one.median / inline.median, 'x')]),
      sampled(`${id}/2 threads`, 'ms', two, [beside('this / inline', two.median / inline.median, 'x')]),
      derived(`${id}/2 threads over 1`, 'x', one.median / two.median),
    ];
  },
};
