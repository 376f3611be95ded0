import type { LinkClass } from './cost-json.ts';
import type { CostModel } from './cost-model.ts';

/** Transfers of single experts, as flat lists. */
export interface TransferLists {
  readonly count: number;
  readonly sources: ArrayLike<number>;
  readonly targets: ArrayLike<number>;
  /** The round of each. */
  readonly rounds: ArrayLike<number>;
  /** The class of each one's link, an index of the timer's classes. */
  readonly links: ArrayLike<number>;
}

/** What a layer's transfers take by the link model. */
export interface TransferSeconds {
  /** One round after the other: each takes what its slowest transfer takes. */
  readonly rounds: number;
  /** Several rounds at once: that takes what its busiest rank takes. */
  readonly batch: number;
  /** At least, however they are issued: begun once, and each rank busy with its own bytes alone. */
  readonly least: number;
}

/**
 * The link model of weights on their way: every round, or batch, takes `moves.secondsPerRound` to begin and
 * to end, and its bytes at `moves.bandwidthShare` of their link, in a batch also at the link's `batchShare`.
 */
export class TransferTimer {
  readonly #secondsPerRound: number;
  /** By class: seconds of an expert in a round, and in a batch. */
  readonly #inRound: Float64Array;
  readonly #inBatch: Float64Array;
  readonly #numRanks: number;
  readonly #isHalf: boolean;

  /** @throws EplbRangeError `EPLB_RANGE` for a class that the model does not have */
  constructor(
    cost: CostModel,
    classes: readonly LinkClass[],
    bytesPerExpert: number,
    { numRanks, duplex }: { readonly numRanks: number; readonly duplex: 'full' | 'half' },
  ) {
    this.#secondsPerRound = cost.moveSeconds(0, classes[0], 1);
    this.#inRound = Float64Array.from(classes, (name) => cost.moveSeconds(bytesPerExpert, name, 0));
    this.#inBatch = this.#inRound.map((seconds, i) => seconds / cost.link(classes[i]!).batchShare);
    this.#numRanks = numRanks;
    this.#isHalf = duplex === 'half';
  }

  /** @param roundsPerBatch how many rounds a batch may have: any number where it is infinite */
  secondsOf(transfers: TransferLists, numRounds: number, roundsPerBatch: number): TransferSeconds {
    if (numRounds === 0) return { rounds: 0, batch: 0, least: 0 };
    return {
      rounds: numRounds * this.#secondsPerRound + this.#roundBytes(transfers, numRounds),
      batch: this.#batchSeconds(transfers, numRounds, roundsPerBatch),
      least: this.#secondsPerRound + this.#busiest(transfers, this.#inRound, 0, numRounds),
    };
  }

  #roundBytes({ count, rounds, links }: TransferLists, numRounds: number): number {
    const slowest = new Float64Array(numRounds);
    for (let i = 0; i < count; i++) {
      const seconds = this.#inRound[links[i]!]!;
      if (seconds > slowest[rounds[i]!]!) slowest[rounds[i]!] = seconds;
    }
    let sum = 0;
    for (let round = 0; round < numRounds; round++) sum += slowest[round]!;
    return sum;
  }

  #batchSeconds(transfers: TransferLists, numRounds: number, roundsPerBatch: number): number {
    let sum = 0;
    for (let first = 0; first < numRounds; first += roundsPerBatch) {
      sum += this.#secondsPerRound + this.#busiest(transfers, this.#inBatch, first, first + roundsPerBatch);
    }
    return sum;
  }

  /** Seconds of the rank that is busy longest in the rounds from `first` to before `end`. */
  #busiest(transfers: TransferLists, secondsOf: Float64Array, first: number, end: number): number {
    const { count, sources, targets, rounds, links } = transfers;
    const numRanks = this.#numRanks;
    // Of sending; behind it of receiving, which at half duplex is the same.
    const busy = new Float64Array(2 * numRanks);
    const receiving = this.#isHalf ? 0 : numRanks;
    let most = 0;
    for (let i = 0; i < count; i++) {
      if (rounds[i]! < first || rounds[i]! >= end) continue;
      const seconds = secondsOf[links[i]!]!;
      const [source, target] = [sources[i]!, receiving + targets[i]!];
      busy[source]! += seconds;
      busy[target]! += seconds;
      most = Math.max(most, busy[source]!, busy[target]!);
    }
    return most;
  }
}
