/**
 * The tables of a mapping as outside data: nested arrays, or flat row-major Int32Arrays with the sizes beside
 * them.
 */
export interface ExpertMappingInit {
  /** [layers][physical]: the expert of each slot; -1 for an empty one. */
  readonly phyToLog: readonly (readonly number[])[] | Int32Array;
  /**
   * [layers][logical][up to maxReplicas]: the slots of each expert, padded with -1. Its order of replicas is
   * kept.
   */
  readonly logToPhy?: readonly (readonly (readonly number[])[])[] | Int32Array;
  /** [layers][logical]: how many slots hold each expert. */
  readonly replicaCount?: readonly (readonly number[])[] | Int32Array;
  /** Needed when `phyToLog` is flat. */
  readonly numLayers?: number;
  /** Experts per layer. When left out: one more than the greatest id in `phyToLog`. */
  readonly numLogicalExperts?: number;
}
