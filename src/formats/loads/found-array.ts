import type { StoredTensor } from '../tensor/stored.ts';

/** An array of a file, before it is known to hold loads or routes. */
export interface FoundArray {
  readonly tensor: StoredTensor;
  /** What the messages call it: `recording: "a.npy"`. */
  readonly name: string;
  /** Name of the format. */
  readonly format: string;
  /** True when the file itself says that these are loads, with a row for every layer of the model. */
  readonly namedLoads: boolean;
  /** True when the file says that these are loads by a name that tells no more. */
  readonly isCalledLoads?: boolean;
  readonly notes: readonly string[];
  /** Size of the file. */
  readonly numBytes: number;
}
