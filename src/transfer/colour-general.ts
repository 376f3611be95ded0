/** Of every stuck transfer, others are sent out of its way this often, for each transfer of the layer. */
const EXCHANGES_PER_TRANSFER = 4;
const LEAST_EXCHANGES = 200;
/** Sets of three ranks are looked at one by one up to so many ranks. */
const MOST_RANKS_OF_TRIPLES = 64;

/**
 * Puts the transfers of a layer into rounds in which a rank takes part in at most one transfer: it sends or
 * it receives. That is a colouring of the edges of a multigraph. It begins with as many rounds as the bound
 * says; where a transfer fits into none, two rounds are exchanged along a path (A. B. Kempe), then a transfer
 * in its way is put elsewhere, the one that was moved least; and when that leads nowhere, there is a round
 * more.
 */
export class GeneralColouring {
  /** The round of each transfer. */
  readonly rounds: Int32Array;
  numRounds = 0;
  readonly #numRanks: number;
  /** [ranks x stride]: the transfer of a rank in each round, -1 for none. */
  #at = new Int32Array(0);
  #stride = 0;
  readonly #path: Int32Array;
  /** How often each transfer was sent out of the way. */
  readonly #moved: Int32Array;
  #sources: Int32Array = new Int32Array(0);
  #targets: Int32Array = new Int32Array(0);

  constructor(numRanks: number, mostTransfers: number) {
    this.#numRanks = numRanks;
    this.rounds = new Int32Array(mostTransfers);
    this.#path = new Int32Array(mostTransfers);
    this.#moved = new Int32Array(mostTransfers);
  }

  /**
   * @param sources of each transfer, the rank that sends it
   * @param targets the rank that receives it: another one
   * @returns the fewest rounds that there could be, as far as is known
   */
  colour(sources: Int32Array, targets: Int32Array, count: number): number {
    const { bound, busiest } = halfDuplexBound(sources, targets, count, this.#numRanks);
    this.#sources = sources;
    this.#targets = targets;
    this.numRounds = bound;
    // In so many rounds each transfer fits at once, whatever the others do.
    this.#stride = Math.max(bound, 2 * busiest);
    const entries = this.#numRanks * this.#stride;
    if (this.#at.length < entries) this.#at = new Int32Array(entries);
    this.#at.fill(-1, 0, entries);
    this.#moved.fill(0, 0, count);
    for (let transfer = 0; transfer < count; transfer++) {
      let waiting = transfer;
      const most = LEAST_EXCHANGES + EXCHANGES_PER_TRANSFER * count;
      for (let tries = 0; !this.#place(waiting); tries++) {
        if (tries === most) this.numRounds++;
        else waiting = this.#placeInstead(waiting);
      }
    }
    return bound;
  }

  #entry(rank: number, round: number): number {
    return this.#at[rank * this.#stride + round]!;
  }

  #put(transfer: number, round: number): void {
    this.rounds[transfer] = round;
    this.#at[this.#sources[transfer]! * this.#stride + round] = transfer;
    this.#at[this.#targets[transfer]! * this.#stride + round] = transfer;
  }

  #takeOut(transfer: number): void {
    const round = this.rounds[transfer]!;
    this.#at[this.#sources[transfer]! * this.#stride + round] = -1;
    this.#at[this.#targets[transfer]! * this.#stride + round] = -1;
  }

  /** Puts a transfer into a round, if need be by an exchange of two rounds along a path. */
  #place(transfer: number): boolean {
    const [one, other] = [this.#sources[transfer]!, this.#targets[transfer]!];
    for (let round = 0; round < this.numRounds; round++) {
      if (this.#entry(one, round) < 0 && this.#entry(other, round) < 0) {
        this.#put(transfer, round);
        return true;
      }
    }
    for (let round = 0; round < this.numRounds; round++) {
      if (this.#entry(one, round) >= 0) continue;
      for (let free = 0; free < this.numRounds; free++) {
        if (this.#entry(other, free) >= 0 || !this.#exchange(other, one, round, free)) continue;
        this.#put(transfer, round);
        return true;
      }
    }
    return false;
  }

  /** Exchanges two rounds along the path from a rank, unless it ends at `avoid`. */
  #exchange(from: number, avoid: number, round: number, other: number): boolean {
    let length = 0;
    let rank = from;
    for (let next = round; this.#entry(rank, next) >= 0; next = next === round ? other : round) {
      const transfer = this.#entry(rank, next);
      this.#path[length++] = transfer;
      rank = this.#sources[transfer]! === rank ? this.#targets[transfer]! : this.#sources[transfer]!;
    }
    if (rank === avoid) return false;
    for (let i = 0; i < length; i++) this.#takeOut(this.#path[i]!);
    for (let i = 0; i < length; i++) this.#put(this.#path[i]!, i % 2 === 0 ? other : round);
    return true;
  }

  /** Puts a transfer where another one is, at one of its ends alone. @returns the other one */
  #placeInstead(transfer: number): number {
    const [one, other] = [this.#sources[transfer]!, this.#targets[transfer]!];
    let least = -1;
    for (let round = 0; round < this.numRounds; round++) {
      const [first, second] = [this.#entry(one, round), this.#entry(other, round)];
      const inTheWay = first < 0 ? second : second < 0 ? first : -1;
      if (inTheWay >= 0 && (least < 0 || this.#moved[inTheWay]! < this.#moved[least]!)) least = inTheWay;
    }
    const round = this.rounds[least]!;
    this.#takeOut(least);
    this.#put(transfer, round);
    this.#moved[least]!++;
    return least;
  }
}

/** The fewest rounds in which each rank takes part in at most one transfer, as far as is known. */
interface HalfDuplexBound {
  /** Transfers of the rank that has most. */
  readonly busiest: number;
  /**
   * The greatest of that, and for sets of ranks, those that transfers connect or any three, the transfers
   * within the set over those that fit into a round (J. Edmonds, 1965).
   */
  readonly bound: number;
}

function halfDuplexBound(
  sources: Int32Array,
  targets: Int32Array,
  count: number,
  numRanks: number,
): HalfDuplexBound {
  const degree = new Int32Array(numRanks);
  const sets = new ConnectedSets(numRanks);
  for (let i = 0; i < count; i++) {
    degree[sources[i]!]!++;
    degree[targets[i]!]!++;
    sets.join(sources[i]!, targets[i]!);
  }
  let busiest = 0;
  const [sizes, transfers] = [new Int32Array(numRanks), new Int32Array(numRanks)];
  for (let rank = 0; rank < numRanks; rank++) {
    busiest = Math.max(busiest, degree[rank]!);
    sizes[sets.find(rank)]!++;
  }
  for (let i = 0; i < count; i++) transfers[sets.find(sources[i]!)]!++;
  let bound = busiest;
  for (let set = 0; set < numRanks; set++) {
    if (transfers[set]! > 0) bound = Math.max(bound, Math.ceil(transfers[set]! / (sizes[set]! >> 1)));
  }
  if (numRanks <= MOST_RANKS_OF_TRIPLES) bound = mostInTriple(sources, targets, count, degree, bound);
  return { busiest, bound };
}

/** Sets of ranks that transfers connect. */
class ConnectedSets {
  readonly #parents: Int32Array;

  constructor(numRanks: number) {
    this.#parents = Int32Array.from({ length: numRanks }, (_, rank) => rank);
  }

  /** A rank that stands for the set of this one. */
  find(rank: number): number {
    const parents = this.#parents;
    let at = rank;
    while (parents[at] !== at) {
      parents[at] = parents[parents[at]!]!;
      at = parents[at]!;
    }
    return at;
  }

  join(one: number, other: number): void {
    this.#parents[this.find(one)] = this.find(other);
  }
}

/** The most transfers among any three ranks, where that is more than `least`: each needs its own round. */
function mostInTriple(
  sources: Int32Array,
  targets: Int32Array,
  count: number,
  degree: Int32Array,
  least: number,
): number {
  const numRanks = degree.length;
  const between = new Int32Array(numRanks * numRanks);
  for (let i = 0; i < count; i++) {
    between[sources[i]! * numRanks + targets[i]!]!++;
    between[targets[i]! * numRanks + sources[i]!]!++;
  }
  const able: number[] = [];
  for (let rank = 0; rank < numRanks; rank++) if (degree[rank]! > 0) able.push(rank);
  let most = least;
  for (const [i, a] of able.entries()) {
    for (let j = i + 1; j < able.length; j++) {
      const b = able[j]!;
      const ab = between[a * numRanks + b]!;
      if (ab === 0) continue;
      for (const c of able) {
        if (c === a || c === b) continue;
        const sum = ab + between[a * numRanks + c]! + between[b * numRanks + c]!;
        if (sum > most) most = sum;
      }
    }
  }
  return most;
}
