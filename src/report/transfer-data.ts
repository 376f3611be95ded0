/** What the page of a transfer plan draws. */
export interface TransferData {
  readonly numRanks: number;
  /** The first rank of each node. */
  readonly nodeStarts: readonly number[];
  readonly bytesPerExpert: number;
  /** The classes of links. */
  readonly links: readonly string[];
  /** In the order to move. */
  readonly layers: readonly TransferLayerData[];
}

/** What crosses links in one layer. */
export interface TransferLayerData {
  readonly layer: number;
  /** The least rounds that it needs. */
  readonly bound: number;
  /** Of each round, flat: source rank, target rank, expert, link class by its index, for each transfer. */
  readonly rounds: readonly (readonly number[])[];
}
