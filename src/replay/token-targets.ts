import { NO_EXPERT } from '../formats/tensor/decode.ts';
import type { Dispatch } from '../index.ts';
import type { TokenDestinations } from './layer-copies.ts';

/**
 * The ranks that a token may go to. It takes each copy of an expert with its share, whatever it takes of its
 * other experts.
 */
export class TokenTargets {
  /** Of the token that was looked at last: its first `numRanks` are ranks that it may go to. */
  readonly ranks: Int32Array;
  numRanks = 0;
  /** `[ranks]`: how many of its experts it takes there, in the mean; and the chance that it takes none. */
  readonly experts: Float64Array;
  readonly missed: Float64Array;
  readonly #dispatch: Dispatch;

  constructor(numRanks: number, dispatch: Dispatch) {
    this.ranks = new Int32Array(numRanks);
    this.experts = new Float64Array(numRanks);
    this.missed = new Float64Array(numRanks).fill(1);
    this.#dispatch = dispatch;
  }

  /** Looks at the token on `source` whose `topK` experts are `ids` from `begin` on. */
  find(layer: TokenDestinations, source: number, ids: Uint16Array, begin: number, topK: number): void {
    const { copies, first } = layer;
    const { missed, experts, ranks: found } = this;
    this.#forget();
    for (let k = begin; k < begin + topK; k++) {
      const expert = ids[k]!;
      if (expert === NO_EXPERT) continue;
      let from = first[expert]!;
      let to = first[expert + 1]!;
      const isAny = this.#dispatch === 'even' || to - from === 1;
      if (!isAny) {
        from = 0;
        to = copies.find(expert, source);
      }
      const { ranks, shares } = isAny ? layer : copies;
      for (let i = from; i < to; i++) {
        const rank = ranks[i]!;
        const before = missed[rank]!;
        if (before === 1) found[this.numRanks++] = rank;
        missed[rank] = before * (1 - shares[i]!);
        experts[rank]! += shares[i]!;
      }
    }
  }

  #forget(): void {
    for (let i = 0; i < this.numRanks; i++) {
      const rank = this.ranks[i]!;
      this.missed[rank] = 1;
      this.experts[rank] = 0;
    }
    this.numRanks = 0;
  }
}
