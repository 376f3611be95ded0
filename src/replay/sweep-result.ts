import type { FailureLoss } from './rank-change-result.ts';
import type { BatchSavings, SavedSpread } from './savings.ts';

/** The outcome of a sweep over a grid of configurations. */
export interface SweepResult {
  /** The values of each axis, as given. */
  readonly axes: {
    readonly policies: readonly string[];
    readonly replicas: readonly number[];
    readonly ranks: readonly number[];
    /** Empty when no interval was given. */
    readonly intervals: readonly number[];
  };
  /** One entry a point of the grid, in the order of the axes, policies last. */
  readonly points: readonly SweepPoint[];
  /**
   * Names of the points that no other beats in modelled seconds without more
   * `redundantBytes`, by ascending bytes: the Pareto front.
   */
  readonly front: readonly string[];
  /** The same among points of one number of ranks each: more ranks are faster, but not free. */
  readonly frontsByRanks: readonly { readonly numRanks: number; readonly names: readonly string[] }[];
  /** One sentence, with the numbers behind it. */
  readonly advice: string;
  /** The name of the point that the advice is for; null when the advice is not to balance. */
  readonly advisedPoint: string | null;
  /**
   * What survives any failure of the level that was asked for, with the least memory: of a node, or a rank
   * where there is one node, when none was. Left out with fewer than two points that were replayed.
   */
  readonly survivalAdvice?: string;
  /** `partial` when it was interrupted: {@link points} holds what was done. */
  readonly status: 'complete' | 'partial';
}

/** One configuration of the grid. */
export type SweepPoint = SweepPointDone | SweepPointFailed;

/** What a point differs in from the others. */
export interface SweepPointKey {
  /** `adaptive, 288 slots, 32 ranks, every 64 steps` */
  readonly name: string;
  readonly policy: string;
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
  /** Null when no interval was given, and for `static`. */
  readonly interval: number | null;
}

/** A point that was replayed. */
export interface SweepPointDone extends SweepPointKey {
  readonly status: 'done';
  readonly modelledSeconds: number;
  /** How far what it saves would be off; left out with too few plans, and for `static`. */
  readonly savedSpread?: SavedSpread;
  /** The recording ends before any plan has taken effect. */
  readonly isTooShort?: true;
  /** What other batches would save. */
  readonly batches?: BatchSavings;
  /** Tokens that begin on a rank in a step, where they are known. */
  readonly tokensPerRank?: number;
  /** What the worst single failure would lose of its last mapping. */
  readonly failureLosses?: readonly FailureLoss[];
  /** No balancing, the same number of slots and ranks. */
  readonly unbalancedSeconds: number;
  readonly secondsSaved: number;
  readonly moveSeconds: number;
  readonly planningSeconds: number;
  readonly balancednessRatioOfSums: number;
  readonly balancednessMeanOfRatios: number;
  readonly peakToAverageMeanOfRatios: number;
  readonly numPlans: number;
  readonly moves: number;
  readonly bytes: number;
  /** Of all ranks together: what redundant experts cost in memory. */
  readonly redundantBytes: number;
  readonly redundantBytesPerRank: number;
}

/** A point that could not be replayed, such as 288 slots on 7 ranks, with the reason. */
export interface SweepPointFailed extends SweepPointKey {
  readonly status: 'failed';
  readonly code: string;
  readonly message: string;
}
