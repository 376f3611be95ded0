import assert from 'node:assert/strict';
import { ExpertLoadBalancer, type Topology } from 'expert-load-balancer';
import { runChild } from '../child.ts';
import { StepFeed } from '../feed.ts';
import { beside, type Figure, sampled } from '../figure.ts';
import { median, summarize } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, sizeName, sizeNamed } from '../workloads.ts';

/** The most memory a process ever had resident, over that of a bare Node. */
export const memorySuite: Suite = {
  name: 'memory',
  title: 'Peak resident memory over bare Node, in processes of their own (MB of 10^6 bytes)',
  async run(context) {
    const bare = peaks(context, 'bare-memory.mjs', null);
    const cases: [Topology, number][] = [
      [MAIN_SIZE, 100],
      [MAIN_SIZE, 1000],
    ];
    if (!context.isQuick) cases.push([sizeNamed('92x896->1024'), 1000]);
    return cases.flatMap(([topology, windowSize]) =>
      filledWindow(topology, windowSize, median(bare), context),
    );
  },
};

/** A balancer whose window was filled by recordLoad; and one that was then rebalanced by a pool of one. */
function filledWindow(
  topology: Topology,
  windowSize: number,
  bareMb: number,
  context: SuiteContext,
): Figure[] {
  // The same step all the time: the mapping is then that of a window of one, made here.
  const balancer = new ExpertLoadBalancer({ ...topology, threads: 0, windowSize: 1 });
  const feed = new StepFeed(balancer, 'physical', context.seed);
  feed.fill(1);
  const loads = Float32Array.from(feed.average());
  const digest = balancer.rebalanceSync().digest();
  return [false, true].map((plans) => {
    const samples = peaks(context, 'fill-window.mjs', { topology, windowSize, plans }, loads, (answer) => {
      assert.ok(answer.isRight, 'the average of the window');
      if (plans) assert.equal(answer.digest, digest, 'the mapping planned from the window');
    });
    const id =
      `memory/${sizeName(topology)}/window ` +
      `${windowSize}/${plans ? 'filled, planned in a pool of one' : 'filled'}`;
    const over = summarize(samples.map((mb) => mb - bareMb));
    return sampled(id, 'MB', over, [beside('bare node', bareMb, 'MB')]);
  });
}

interface PeakAnswer {
  readonly peakKb: number;
  readonly isRight?: boolean;
  readonly digest?: string;
}

function peaks(
  { pick }: SuiteContext,
  script: string,
  job: unknown,
  loads?: Float32Array,
  check: (answer: PeakAnswer) => void = () => {},
): number[] {
  return Array.from({ length: pick(3, 1) }, () => {
    const answer = runChild<PeakAnswer>(script, job, loads);
    check(answer);
    return (answer.peakKb * 1024) / 1e6;
  });
}
