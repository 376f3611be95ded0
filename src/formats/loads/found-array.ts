import type { StoredTensor } from '../tensor/stored.ts';

/** An array of a file, before it is known to hold loads or routes. */
export interface FoundArray {
  readonly tensor: StoredTensor;
  /** What the messages call it: `recording: "a.npy"`. */
  readonly name: string;
  /** Name of the format. */
  readonly format: string;
  /** True when the file itself says that these are loads. */
  readonly namedLoads: boolean;
  readonly notes: readonly string[];
  /** Size of the file. */
  readonly numBytes: number;
}
