import assert from 'node:assert/strict';
import { runChild } from '../child.ts';
import { beside, controlled, type Figure, sampled } from '../figure.ts';
import { median, summarize } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, sizeName } from '../workloads.ts';

/** A cost that loads of ranks say, and one that needs the tokens of each slot. */
const OF_TOKENS = 'competition';
const OF_SLOTS = 'h200:deepseek-v3:bf16';

/** What a replayed step takes beside planning, and that memory does not grow with the steps. */
export const replaySuite: Suite = {
  name: 'replay',
  title:
    'A replayed step outside of planning, and peak memory by the number of steps, in processes of their own',
  async run(context) {
    const size = sizeName(MAIN_SIZE);
    const cases = [
      // No plan, so nothing is recorded and one placement is scored; a window of every fourth step; one of
      // all steps.
      { label: 'static', policy: 'static', interval: 256, windowSize: 64, cost: OF_TOKENS },
      { label: 'every 256, window 64', policy: 'default', interval: 256, windowSize: 64, cost: OF_TOKENS },
      { label: 'every 64, window 64', policy: 'default', interval: 64, windowSize: 64, cost: OF_TOKENS },
      // What a replay costs that is told nothing: it times every slot by the curve of a device.
      { label: 'static, cost of slots', policy: 'static', interval: 256, windowSize: 64, cost: OF_SLOTS },
    ];
    const times = cases.map(({ label, ...job }) => {
      const answers = replays(context, { ...job, numSteps: context.pick(2000, 500) });
      const lowest = Math.min(...answers.map(({ p10 }) => p10));
      const medians = summarize(answers.map(({ median }) => median));
      const figure = sampled(`replay/${size}/${label}/a step`, 'us', medians, [
        beside('10th percentile', lowest, 'us'),
      ]);
      return controlled(figure, 'a loop that adds the loads up', median(answers.map(({ bare }) => bare)));
    });
    return [...times, ...memory(context, size)];
  },
};

/** The same replay of few and of many steps. */
function memory(context: SuiteContext, size: string): Figure[] {
  return [500, 5000].map((numSteps) => {
    const answers = replays(context, {
      policy: 'default',
      interval: 64,
      windowSize: 64,
      cost: OF_TOKENS,
      numSteps,
    });
    const peaks = summarize(answers.map(({ peakKb }) => (peakKb * 1024) / 1e6));
    return sampled(`replay/${size}/${numSteps} steps/peak`, 'MB', peaks);
  });
}

interface Answer {
  readonly peakKb: number;
  readonly median: number;
  readonly p10: number;
  /** Microseconds of the median step of a loop without the library. */
  readonly bare: number;
  readonly numSteps: number;
  readonly numPlans: number;
  readonly balancedness: number;
  readonly unbalanced: number;
}

function replays(
  { pick }: SuiteContext,
  job: { policy: string; interval: number; windowSize: number; cost: string; numSteps: number },
): Answer[] {
  return Array.from({ length: pick(5, 1) }, () => {
    const answer = runChild<Answer>('replay-steps.mjs', { ...job, topology: MAIN_SIZE });
    assert.equal(answer.numSteps, job.numSteps);
    assert.equal(answer.numPlans > 0, job.policy !== 'static' && job.numSteps > job.interval);
    if (job.policy === 'static') assert.equal(answer.balancedness, answer.unbalanced);
    else if (answer.numPlans > 1) assert.ok(answer.balancedness > answer.unbalanced, 'plans that help');
    return answer;
  });
}
