import type { FormatFacts } from '../format.ts';

/**
 * A placement as a file holds it: which expert is in which slot, and what else the file has. Its numbers
 * are whole and its rows of one length; whether every expert has a slot, and whether an engine would take it,
 * is not known yet.
 */
export interface Placement {
  /** Name of the format it was read as, such as `sglang`. */
  readonly format: string;
  readonly numLayers: number;
  /** Slots per layer. */
  readonly numPhysicalExperts: number;
  /** Experts per layer: as the file has them, or one more than the greatest id in it. */
  readonly numLogicalExperts: number;
  /** [layers x physical], row-major, rank-major in a row: the expert of each slot, -1 for an empty one. */
  readonly slots: Int32Array;
  /** Ranks, where the file has them; slots divided by them are a rank's. */
  readonly numRanks?: number;
  /**
   * The model's numbers of the layers, ascending, where the file has them (see
   * `LoadRecording.layerNumbers`).
   */
  readonly layerNumbers?: readonly number[];
  /**
   * `[layers x logical x width]`: the slots of each expert, padded with -1, where the file has that table.
   */
  readonly logToPhy?: Int32Array;
  /** [layers x logical], where the file has that table. */
  readonly replicaCount?: Int32Array;
  /** What the loader that the file is for finds wrong with its keys; left out when there is nothing. */
  readonly keyProblems?: readonly KeyProblem[];
  /** What was assumed or left out while reading, one sentence each: for people. */
  readonly notes: readonly string[];
}

/** A key of a file that its engine's loader misses, or does not take. */
export interface KeyProblem {
  readonly text: string;
  /** False for what only some releases of the engine ask for. */
  readonly isSure: boolean;
}

/** What a reader may need beside the file. */
export interface PlacementReadOptions {
  /** Rows at the beginning of an SGLang table that are those of dense layers: they are left out. */
  readonly denseRows?: number | undefined;
}

/** What a writer may need beside the placement. */
export interface PlacementWriteOptions {
  /** Ranks; vllm-ascend and omni-infer files have them. The placement's own when left out. */
  readonly numRanks?: number | undefined;
  /** The model's number of the first MoE layer: TensorRT-LLM and SGLang count the dense layers before it. */
  readonly firstLayer?: number | undefined;
}

/** A placement as the bytes of a file. */
export interface WrittenPlacement {
  readonly bytes: Uint8Array;
  /** What had to be assumed or dropped, one sentence each: for people. */
  readonly notes: readonly string[];
}

/** What a file holds once its container is open: what formats are recognised by. */
export type Content =
  | { readonly container: 'npy'; readonly array: NumberArray; readonly notes?: readonly string[] }
  | { readonly container: 'npz'; readonly arrays: ReadonlyMap<string, NumberArray> }
  /** What keys say is only ever asked of an object's own: `__proto__` in a file is a key like any other. */
  | {
      readonly container: 'json' | 'yaml' | 'pt';
      readonly value: unknown;
      /** What is to be said of the container, for people. */
      readonly notes?: readonly string[];
    };

/** Numbers with a shape, row-major. */
export interface NumberArray {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

/** A format of placements. */
export interface PlacementFormat extends FormatFacts {
  readonly holds: 'placements';
  /** Whether some content can be of this format. */
  recognise(content: Content): boolean;
  /**
   * @param name - the file, for messages
   * @throws EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE, EPLB_MAPPING or EPLB_OPTION
   */
  read(content: Content, name: string, options: PlacementReadOptions): Placement;
  /**
   * @throws EplbError EPLB_OPTION when it needs an option, EplbRangeError EPLB_MAPPING when it
   *   cannot say it
   */
  write(placement: Placement, options: PlacementWriteOptions): WrittenPlacement | Promise<WrittenPlacement>;
}
