// What a user decides of a placement, whatever the loads are.

/** Experts that have to have copies on certain ranks. */
export interface PinnedExperts {
  readonly experts: readonly number[];
  /** Each of these ranks holds a copy of each of these experts. A pin to a dead rank rests. */
  readonly ranks: readonly number[];
  /** Layers that it is for. Default: all. */
  readonly layers?: readonly number[];
  /** Whether there are no other copies. Default false: further ones may be anywhere. */
  readonly only?: boolean;
}

/** Experts that have one copy and no more. */
export interface SingleExperts {
  /** Default: all. */
  readonly experts?: readonly number[];
  /** Layers that it is for. Default: all. */
  readonly layers?: readonly number[];
}

/**
 * A shared expert that an engine computes with the routed ones. It is in no table: each of its ranks has a
 * copy, which serves tokens of its own.
 */
export interface SharedExpert {
  /**
   * Its tokens / those of all routed experts of the layer, over all ranks: for each shared expert 1 / top-k.
   * Its ranks share them evenly. Or `[ranks]`: the part of each, 0 where it is not.
   */
  readonly load: number | readonly number[];
  /** Ranks that have a copy. Default: all. */
  readonly ranks?: readonly number[];
  /**
   * Slots that a copy takes out of its rank's, in every layer. Default 1. 0: the engine has it beside the
   * slots that the tables count.
   */
  readonly slots?: number;
  /** Whether `slotsPerRank` is without these slots already, as in a checked topology. Default false. */
  readonly isTaken?: boolean;
}

/** Rules of the user's own: every plan keeps them. */
export interface PlacementRules {
  readonly pinned?: readonly PinnedExperts[];
  readonly neverReplicated?: readonly SingleExperts[];
  readonly sharedExpert?: SharedExpert;
}

/** The most copies of an expert that no rule limits. */
export const NO_LIMIT = 2 ** 31 - 1;
