/** What to do, by a replay or several of one recording. */
export interface Advice {
  /** `too short`: no plan took effect whole, so that nothing can be said. */
  readonly kind: 'balance' | 'do not balance' | 'too short' | 'none';
  /** The name of the replay whose policy it names; null when none was replayed that plans. */
  readonly replay: string | null;
  readonly sentence: string;
}

/** What a policy saves, and how far that would be off with other plans of the same kind. */
export interface SavedSpread {
  /** Of the time without balancing: 5 % of the draws save less. */
  readonly low: number;
  /** 5 % of the draws save more. */
  readonly high: number;
  readonly numPlans: number;
}

/**
 * What batches of other sizes would save with the same placements: reckoned on some layers of some steps,
 * whose counts are thinned by a seeded draw, or enlarged. Moves and plans cost what they do, once in as many
 * steps.
 */
export interface BatchSavings {
  /** Steps, and layers of each, that were looked at. */
  readonly numSteps: number;
  readonly numLayers: number;
  /** By ascending size. */
  readonly sizes: readonly BatchSaving[];
}

/** One size of batch. */
export interface BatchSaving {
  /** Times the batch that was replayed: a power of two. */
  readonly times: number;
  /** Seconds saved, as a share of the time without balancing. */
  readonly savedShare: number;
}
