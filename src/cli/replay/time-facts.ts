import { grouped, percent, places, seconds } from '../../formats/number-text.ts';
import type { CostSummary } from '../../index.ts';
import type { ReplayResult } from '../../replay/index.ts';
import { sentText } from '../../replay/traffic-text.ts';
import type { Fact } from '../fact-list.ts';

const BOUND_BY: Readonly<Record<CostSummary['boundBy'], string>> = {
  tokens: 'by tokens',
  'active experts': 'by active experts',
  neither: 'by neither tokens nor active experts',
};

/** What the time follows, and what the best conceivable placement would save. */
export function boundSentence(
  { shares, possibleSaving }: Pick<CostSummary, 'shares' | 'possibleSaving'>,
  boundBy: CostSummary['boundBy'] | null,
  secondsAtBalancePerStep: number,
): string {
  const best =
    `the best conceivable placement would save at most ${percent(possibleSaving)}: ` +
    `${seconds(secondsAtBalancePerStep)} a step`;
  if (boundBy === null) {
    return `not judged: of enlarged counts it is not known how many experts have tokens; ${best}`;
  }
  const parts =
    `${percent(shares.tokens)} of the slowest ranks' time goes to tokens, ${percent(shares.activeExperts)} to ` +
    'experts that take as long with fewer';
  return `the load is bound ${BOUND_BY[boundBy]} (${parts}), and ${best}`;
}

/** How many experts a rank reads the weights of. */
export function activeText({ meanActiveExperts, maxActiveExperts }: CostSummary): string {
  return `${places(meanActiveExperts, 1)} experts with tokens a rank in the mean, ${places(maxActiveExperts, 0)} at worst`;
}

/** What a replay takes without balancing, and why. */
export function replayTimeFacts({ time, numSteps, layers }: ReplayResult): Fact[] {
  if (time === undefined) return [];
  const { unbalanced, boundBy, isEnlarged } = time;
  const perStep = unbalanced.seconds / numSteps;
  return [
    [
      'time',
      `${seconds(perStep / layers.length)} a layer, ${seconds(perStep)} a step of ${grouped(layers.length)} layers ` +
        'without balancing',
    ],
    ...(isEnlarged ? [] : ([['active', activeText(unbalanced)]] as Fact[])),
    ['bound', boundSentence(unbalanced, boundBy, unbalanced.secondsAtBalance / numSteps)],
    // Of loads there is nothing else to count by.
    ...(time.sentFrom === 'routes' ? ([['sent', sentText(time)]] as Fact[]) : []),
  ];
}
