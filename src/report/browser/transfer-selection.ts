import type { TransferData, TransferLayerData } from '../transfer-data.ts';

/** A transfer, with the number of its round. */
export interface DrawnTransfer {
  /** Counted from 0. */
  readonly round: number;
  readonly source: number;
  readonly target: number;
  readonly expert: number;
  /** An index of the plan's links. */
  readonly link: number;
}

/** What is chosen on the page of a transfer plan: a layer or all, and a rank or all. */
export class TransferSelection {
  readonly data: TransferData;
  readonly #transfers: readonly (readonly DrawnTransfer[])[];
  /** The layer with most rounds, by its place; the first of several. */
  readonly #longest: number;
  readonly #listeners: (() => void)[] = [];
  #place: number | undefined;
  #rank: number | undefined;

  constructor(data: TransferData) {
    this.data = data;
    this.#transfers = data.layers.map(transfersOf);
    this.#longest = data.layers.reduce(
      (most, { rounds }, i) => (rounds.length > data.layers[most]!.rounds.length ? i : most),
      0,
    );
  }

  /** The chosen layer; undefined: all. */
  get layer(): TransferLayerData | undefined {
    return this.#place === undefined ? undefined : this.data.layers[this.#place];
  }

  /** The chosen rank; undefined: all. */
  get rank(): number | undefined {
    return this.#rank;
  }

  /** Of the chosen layer, or of all. */
  get transfers(): readonly DrawnTransfer[] {
    return this.#place === undefined ? this.#transfers.flat() : this.#transfers[this.#place]!;
  }

  /** The layer whose rounds are drawn: where all are chosen, the one with most rounds. */
  get drawnLayer(): TransferLayerData {
    return this.data.layers[this.#place ?? this.#longest]!;
  }

  get drawnTransfers(): readonly DrawnTransfer[] {
    return this.#transfers[this.#place ?? this.#longest]!;
  }

  /** The most transfers of any layer. */
  get mostTransfers(): number {
    return this.#transfers.reduce((most, { length }) => Math.max(most, length), 0);
  }

  /** @param place - in the order to move; undefined: all layers */
  chooseLayer(place: number | undefined): void {
    this.#place = place;
    for (const listener of this.#listeners) listener();
  }

  chooseRank(rank: number | undefined): void {
    this.#rank = rank;
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after every choice. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
}

function transfersOf({ rounds }: TransferLayerData): DrawnTransfer[] {
  return rounds.flatMap((flat, round) =>
    Array.from({ length: flat.length / 4 }, (_, i) => {
      const [source, target, expert, link] = flat.slice(4 * i, 4 * i + 4) as [number, number, number, number];
      return { round, source, target, expert, link };
    }),
  );
}
