import { counted, grouped, percent, seconds, twoDigits } from '../formats/number-text.ts';
import type { ReplayResult } from './result.ts';
import { savedShare } from './saved-share.ts';
import type { Advice, BatchSavings, SavedSpread } from './savings.ts';
import { LEAST_PLANS, savedSpread } from './spread.ts';

/**
 * A saving below this share of the time without balancing is called none: less than the model can resolve.
 */
export const WORTH_SHARE = 0.01;

/** What a batch is called in a sentence. */
export interface BatchText {
  /** Tokens that begin on a rank in a step; null where only loads are known. */
  readonly tokensPerRank: number | null;
}

/**
 * The advice from replays of one recording with one cost: the policy that saves most, if it saves at least 1
 * % of the time without balancing, and saves something in 95 of 100 draws of its plans. Otherwise the advice
 * is not to balance.
 *
 * @param batch the batch that was replayed; its multiples are named after it
 */
export function adviseReplays(replays: readonly ReplayResult[], batch: BatchText): Advice {
  const planning = replays.filter(({ configuration }) => configuration.policy !== 'static');
  if (planning.length === 0) {
    const time = seconds(replays[0]?.totals.unbalancedSeconds ?? 0);
    const sentence = `Nothing to advise: only no balancing was replayed, which takes ${time}.`;
    return { kind: 'none', replay: null, sentence };
  }
  const long = planning.filter((result) => !isTooShort(result));
  if (long.length === 0) {
    const [first] = planning as [ReplayResult, ...ReplayResult[]];
    const intervals = planning.map(({ configuration }) => configuration.trigger.interval);
    const sentence = tooShortSentence('Too short to say', intervals, first.numSteps);
    return { kind: 'too short', replay: first.name, sentence };
  }
  const best = long.reduce((a, b) => (savedShare(b.totals) > savedShare(a.totals) ? b : a));
  const spread = savedSpread(best);
  const { totals, name } = best;
  const share = savedShare(totals);
  const pays = share >= WORTH_SHARE && (spread === undefined || spread.low > 0);
  if (long.every((result) => result.totals.changedSlots === 0)) {
    const time = seconds(totals.unbalancedSeconds);
    const sentence = `Do not balance: no policy found a change worth making, and no balancing takes ${time}.`;
    return { kind: 'do not balance', replay: name, sentence };
  }
  const times = `${seconds(totals.modelledSeconds)} instead of ${seconds(totals.unbalancedSeconds)}`;
  const saves = savesText(share, spread, best.plans.length);
  const from = paysFromText(mostSaved(long), batch, share, pays);
  const sentence = pays
    ? `Balance with ${name}: it ${saves}, ${times}.${from}`
    : `Do not balance${atBatch(batch)}: the best, ${name}, ${saves}, ${times}.${from}`;
  return { kind: pays ? 'balance' : 'do not balance', replay: name, sentence };
}

/** Whether no plan took effect whole, nor any was found needless. */
export function isTooShort({ plans, configuration, numSteps }: ReplayResult): boolean {
  if (plans.length > 0) return plans.every(({ status }) => status === 'unfinished');
  // Without an interval nothing says that a plan should have come, and with another condition beside it that
  // one was looked at in time.
  const { interval, loadThreshold, drift, require = 'any' } = configuration.trigger;
  const waits = require === 'all' || (loadThreshold ?? drift) === undefined;
  return interval !== undefined && waits && numSteps <= interval;
}

/**
 * What is said of replays whose plans came too late, of all or of some.
 *
 * @param intervals of their plans; those without one are not named
 * @param numSteps that were replayed, where that is one number
 */
export function tooShortSentence(
  title: string,
  intervals: readonly (number | null | undefined)[],
  numSteps?: number,
): string {
  const known = [...new Set(intervals)].filter((interval) => typeof interval === 'number');
  const every = known.length === 0 ? '' : ` every ${known.sort((a, b) => a - b).join(' or ')} steps`;
  const steps = numSteps === undefined ? 'steps that were' : `${counted(numSteps, 'step')}`;
  return (
    `${title}: no plan${every} took effect whole within the ${steps} replayed. Record more steps, or plan more ` +
    'often (--interval).'
  );
}

/** What is saved, or lost, and how sure that is. */
export function savesText(
  share: number,
  spread: SavedSpread | undefined,
  numPlans: number,
  percentText: (share: number) => string = percent,
): string {
  const figure = (value: number) => percentText(share < 0 ? -value : value);
  const verb = share < 0 ? `takes ${figure(share)} longer` : `saves ${figure(share)}`;
  if (spread === undefined) {
    return `${verb} (of ${counted(numPlans, 'plan')}: ${LEAST_PLANS} are needed to say how sure that is)`;
  }
  const ends = share < 0 ? [spread.high, spread.low] : [spread.low, spread.high];
  const [near, far] = ends.map(figure);
  return `${verb} (${near} to ${far} in 90 of 100 draws of its ${grouped(spread.numPlans)} plans)`;
}

/**
 * What batches save with the policy that saves most of each. Placements that were never changed say nothing
 * of other batches.
 */
function mostSaved(replays: readonly ReplayResult[]): BatchSavings | undefined {
  const known = replays.flatMap(({ batches, totals }) =>
    batches === undefined || totals.changedSlots === 0 ? [] : [batches],
  );
  const [first, ...others] = known;
  if (first === undefined) return undefined;
  const sizes = first.sizes.map(({ times, savedShare: own }, i) => ({
    times,
    savedShare: others.reduce((most, { sizes: their }) => Math.max(most, their[i]!.savedShare), own),
  }));
  return { ...first, sizes };
}

/**
 * From which batch on balancing pays, in a sentence with a space before it; nothing where it was not
 * reckoned.
 *
 * @param share what is saved with the batch that was replayed
 * @param pays whether that is worth it
 */
export function paysFromText(
  batches: BatchSavings | undefined,
  batch: BatchText,
  share: number,
  pays: boolean,
): string {
  const { tokensPerRank } = batch;
  // The batch itself was replayed: what was reckoned of it on some steps must not say otherwise.
  const own = pays ? Math.max(share, WORTH_SHARE) : 0;
  const sizes = (batches?.sizes ?? [])
    .filter(({ times }) => tokensPerRank === null || tokensPerRank * times >= 1)
    .map((size) => (size.times === 1 ? { ...size, savedShare: own } : size));
  if (sizes.length === 0) return '';
  let from: number | undefined;
  for (let i = sizes.length - 1; i >= 0 && sizes[i]!.savedShare >= WORTH_SHARE; i--) from = sizes[i]!.times;
  const [least, most] = [sizes[0]!.times, sizes.at(-1)!.times];
  const range = `between ${batchText(least, batch)} and ${batchText(most, batch)}`;
  if (from === undefined) return pays ? '' : ` It pays with no batch ${range}.`;
  if (from === least) return ` It pays with every batch ${range}.`;
  return ` It pays from about ${batchText(from, batch)} on${from > 1 ? ', by enlarged counts' : ''}.`;
}

function atBatch({ tokensPerRank }: BatchText): string {
  return tokensPerRank === null ? '' : ` at ${tokensText(tokensPerRank)} a rank`;
}

function batchText(times: number, { tokensPerRank }: BatchText): string {
  if (tokensPerRank !== null) return `${tokensText(tokensPerRank * times)} a rank`;
  if (times === 1) return 'this batch';
  return times >= 1 ? `${grouped(times)} times this batch` : `1/${grouped(1 / times)} of this batch`;
}

function tokensText(tokens: number): string {
  return counted(tokens < 10 ? twoDigits(tokens) : Math.round(tokens), 'token');
}
