import type { RankEvent } from './rank-events.ts';

/** What became of ranks before a step, what that lost, and how long it took to be back. */
export interface RankChangeResult {
  /** The number in the recording of the step that it came before. */
  readonly step: number;
  readonly events: readonly RankEvent[];
  /** Steps until the next change, or the end. */
  readonly numSteps: number;
  /** Ranks that live from then on. */
  readonly numLiveRanks: number;
  /** Experts of layers whose last copy was lost. */
  readonly lostExperts: number;
  /** Their share of the load, by the loads of the window; of all steps so far where nothing is planned. */
  readonly lostLoadShare: number;
  /** Slots whose weights were loaded from the host at once: one for each lost expert. */
  readonly hostLoads: number;
  /** Slots that were filled from other ranks at once: only where nothing is planned, and ranks come back. */
  readonly moves: number;
  /** Of both. */
  readonly bytes: number;
  /** What they took: it is in the time of moves. */
  readonly repairSeconds: number;
  /** What the first mapping's repair took: it is in the time without balancing. */
  readonly unbalancedRepairSeconds: number;
  /** The steps before it, at most 32, back to the change before; null when there were none. */
  readonly before: ChangeSteps | null;
  /** The first steps after it, at most 8. */
  readonly atOnce: ChangeSteps;
  /** The last steps before the next change or the end, at most 32. */
  readonly settled: ChangeSteps;
  /**
   * Steps until 8 in a row have at least 99 % of the balancedness before, in their mean: 0 when the first 8
   * have. Null when none had before the next change or the end, or there were no steps before.
   */
  readonly stepsUntilBack: number | null;
  /**
   * What these steps took, with repair and moves, beyond what they would have taken as well balanced as the
   * steps before on the ranks that live; negative when they were better balanced. Of all steps where it is
   * not back; null when there were no steps before.
   */
  readonly secondsLost: number | null;
}

/** Some steps in a row. */
export interface ChangeSteps {
  readonly numSteps: number;
  /** Mean over steps of their balancedness, each a ratio of sums over layers. */
  readonly balancedness: number;
  /** Mean of a step, without moving weights. */
  readonly stepSeconds: number;
}

/** What the worst single failure on a level would lose, before anything is repaired. */
export interface FailureLoss {
  /** `rank`, `node`, or a level of the topology's `failureDomains`. */
  readonly level: string;
  /** Which one: that whose failure loses the most load. */
  readonly domain: number;
  /** Experts of layers without a copy elsewhere, as a share of all. */
  readonly expertsShare: number;
  /** Their share of the load. */
  readonly loadShare: number;
  /** Share of the load that has copies in two domains or more, and the most that could in these slots. */
  readonly survivingLoadShare: number;
  readonly mostSurvivingLoadShare: number;
}
