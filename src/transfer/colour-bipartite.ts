/**
 * Puts the transfers of a layer into rounds, in each of which a rank sends at most one and receives at most
 * one. It takes as many rounds as the busiest sender or receiver has transfers, which no other does better
 * (D. Konig, 1916): the edges of a bipartite graph are coloured one after the other, and where no colour is
 * free at both ends, two colours change places along the path that begins at one of them.
 */
export class BipartiteColouring {
  /** The round of each transfer. */
  readonly rounds: Int32Array;
  readonly #numRanks: number;
  /** [ranks x rounds]: the transfer that a rank sends, and that it receives, in a round; -1 for none. */
  #sends = new Int32Array(0);
  #receives = new Int32Array(0);
  /** [ranks x words]: a bit for each round in which the rank does not send, and does not receive, yet. */
  #freeToSend = new Int32Array(0);
  #freeToReceive = new Int32Array(0);
  #numRounds = 0;
  #numWords = 0;
  readonly #path: Int32Array;

  constructor(numRanks: number, mostTransfers: number) {
    this.#numRanks = numRanks;
    this.rounds = new Int32Array(mostTransfers);
    this.#path = new Int32Array(mostTransfers);
  }

  /**
   * @param sources of each transfer, the rank that sends it
   * @param targets the rank that receives it
   * @param numRounds the most transfers of any rank in one direction
   */
  colour(sources: Int32Array, targets: Int32Array, count: number, numRounds: number): void {
    this.#begin(numRounds);
    const [sends, receives] = [this.#sends, this.#receives];
    for (let transfer = 0; transfer < count; transfer++) {
      const [source, target] = [sources[transfer]!, targets[transfer]!];
      let round = this.#commonRound(source, target);
      if (round < 0) {
        round = firstFree(this.#freeToSend, source * this.#numWords);
        const other = firstFree(this.#freeToReceive, target * this.#numWords);
        this.#exchange(sources, targets, target, round, other);
      }
      this.rounds[transfer] = round;
      sends[source * numRounds + round] = transfer;
      receives[target * numRounds + round] = transfer;
      clear(this.#freeToSend, source * this.#numWords, round);
      clear(this.#freeToReceive, target * this.#numWords, round);
    }
  }

  #begin(numRounds: number): void {
    const entries = this.#numRanks * numRounds;
    this.#numRounds = numRounds;
    this.#numWords = (numRounds + 31) >> 5;
    if (this.#sends.length < entries) {
      this.#sends = new Int32Array(entries);
      this.#receives = new Int32Array(entries);
      this.#freeToSend = new Int32Array(this.#numRanks * this.#numWords);
      this.#freeToReceive = new Int32Array(this.#numRanks * this.#numWords);
    }
    this.#sends.fill(-1, 0, entries);
    this.#receives.fill(-1, 0, entries);
    // Bits beyond the rounds are never asked for: each end has fewer transfers than rounds so far.
    this.#freeToSend.fill(-1);
    this.#freeToReceive.fill(-1);
  }

  /** The first round in which both ends are free, -1 for none. */
  #commonRound(source: number, target: number): number {
    const numWords = this.#numWords;
    for (let word = 0; word < numWords; word++) {
      const both =
        this.#freeToSend[source * numWords + word]! & this.#freeToReceive[target * numWords + word]!;
      if (both === 0) continue;
      const round = word * 32 + lowestBit(both);
      return round < this.#numRounds ? round : -1;
    }
    return -1;
  }

  /** Exchanges two rounds along the path that begins at a receiver with its transfer in the first of them. */
  #exchange(sources: Int32Array, targets: Int32Array, receiver: number, round: number, other: number): void {
    const numRounds = this.#numRounds;
    const [sends, receives, path] = [this.#sends, this.#receives, this.#path];
    let length = 0;
    // The sender of the new transfer is never reached: it is free in `round`, by which senders are reached.
    for (let target = receiver; ; ) {
      const first = receives[target * numRounds + round]!;
      if (first < 0) {
        // The path ends with a receiver, in the other round.
        set(this.#freeToReceive, target * this.#numWords, other);
        clear(this.#freeToReceive, target * this.#numWords, round);
        break;
      }
      path[length++] = first;
      const source = sources[first]!;
      const second = sends[source * numRounds + other]!;
      if (second < 0) {
        set(this.#freeToSend, source * this.#numWords, round);
        clear(this.#freeToSend, source * this.#numWords, other);
        break;
      }
      path[length++] = second;
      target = targets[second]!;
    }
    set(this.#freeToReceive, receiver * this.#numWords, round);
    clear(this.#freeToReceive, receiver * this.#numWords, other);
    for (let i = 0; i < length; i++) {
      const [transfer, from] = [path[i]!, i % 2 === 0 ? round : other];
      sends[sources[transfer]! * numRounds + from] = -1;
      receives[targets[transfer]! * numRounds + from] = -1;
    }
    for (let i = 0; i < length; i++) {
      const [transfer, to] = [path[i]!, i % 2 === 0 ? other : round];
      this.rounds[transfer] = to;
      sends[sources[transfer]! * numRounds + to] = transfer;
      receives[targets[transfer]! * numRounds + to] = transfer;
    }
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

function firstFree(free: Int32Array, start: number): number {
  let word = 0;
  while (free[start + word] === 0) word++;
  return word * 32 + lowestBit(free[start + word]!);
}

function set(bits: Int32Array, start: number, bit: number): void {
  bits[start + (bit >> 5)]! |= 1 << (bit & 31);
}

function clear(bits: Int32Array, start: number, bit: number): void {
  bits[start + (bit >> 5)]! &= ~(1 << (bit & 31));
}
