import type { LayerNeeds } from './needs.ts';
import type { TransferSetting } from './options.ts';

/** Senders and rounds of a layer's needs, where ranks pass on what they have received. */
export interface RelayedRounds {
  readonly sources: Int32Array;
  readonly rounds: Int32Array;
  readonly numRounds: number;
}

/**
 * The fewest rounds that relays could take, as far as is known: each rank has to receive what it needs, and
 * to send once what it alone has; where a rank does one thing at a time, both; and ranks with an expert at
 * most double in a round.
 */
export function relayBound(needs: LayerNeeds, { numRanks, oneAtATime }: TransferSetting): number {
  const receives = new Int32Array(numRanks);
  const sends = oneAtATime ? receives : new Int32Array(numRanks);
  const wanted = new Map<number, number>();
  for (let i = 0; i < needs.count; i++) {
    const expert = needs.experts[i]!;
    wanted.set(expert, (wanted.get(expert) ?? 0) + 1);
    receives[needs.targets[i]!]!++;
  }
  let bound = 0;
  for (const [expert, more] of wanted) {
    const holders = holdersOf(needs, expert);
    if (holders.length === 1) sends[holders[0]!]!++;
    const all = holders.length + more;
    let rounds = 0;
    for (let have = holders.length; have < all; have *= 2) rounds++;
    bound = Math.max(bound, rounds);
  }
  for (let rank = 0; rank < numRanks; rank++) bound = Math.max(bound, receives[rank]!, sends[rank]!);
  return bound;
}

/**
 * Rounds with relays, one after the other: in each, receivers that still need most come first, each takes the
 * expert that is scarcest (most receivers wait for each rank that has it), and those whose senders are taken
 * have them exchanged along augmenting paths, so that as many receive as can.
 *
 * @param fewerThan how many rounds there are without relays
 * @returns undefined when it takes as many
 */
export function relayRounds(
  needs: LayerNeeds,
  setting: TransferSetting,
  fewerThan: number,
): RelayedRounds | undefined {
  const state = new RelayState(needs, setting);
  const sources = new Int32Array(needs.count);
  const rounds = new Int32Array(needs.count);
  for (let round = 0; round < fewerThan; round++) {
    if (state.remaining === 0) return { sources, rounds, numRounds: round };
    // The last round left would be one too many.
    if (round === fewerThan - 1) return undefined;
    for (const [need, source] of state.nextRound()) {
      sources[need] = source;
      rounds[need] = round;
    }
  }
  return undefined;
}

class RelayState {
  remaining: number;
  readonly #needs: LayerNeeds;
  readonly #setting: TransferSetting;
  /** By expert: the ranks that have it, and how many still wait for it. */
  readonly #holders = new Map<number, number[]>();
  readonly #waiting = new Map<number, number>();
  /** By rank: what it still needs. */
  readonly #open: number[][];
  /** Of the round at hand: by sender the receiver, and by receiver what it receives. */
  readonly #takenBy: Int32Array;
  readonly #receives: Int32Array;

  constructor(needs: LayerNeeds, setting: TransferSetting) {
    const { numRanks } = setting;
    this.#needs = needs;
    this.#setting = setting;
    this.remaining = needs.count;
    this.#open = Array.from({ length: numRanks }, () => []);
    this.#takenBy = new Int32Array(numRanks);
    this.#receives = new Int32Array(numRanks);
    for (let need = 0; need < needs.count; need++) {
      const expert = needs.experts[need]!;
      this.#open[needs.targets[need]!]!.push(need);
      this.#waiting.set(expert, (this.#waiting.get(expert) ?? 0) + 1);
      if (!this.#holders.has(expert)) this.#holders.set(expert, holdersOf(needs, expert));
    }
  }

  /** The needs that are met in the next round, each with its sender. */
  nextRound(): [need: number, source: number][] {
    this.#takenBy.fill(-1);
    this.#receives.fill(-1);
    const receivers = this.#open.flatMap((open, rank) => (open.length > 0 ? [rank] : []));
    receivers.sort((a, b) => this.#open[b]!.length - this.#open[a]!.length);
    for (const rank of receivers) {
      const scarcity = (need: number) => this.#scarcity(this.#needs.experts[need]!);
      this.#open[rank]!.sort((a, b) => scarcity(b) - scarcity(a) || a - b);
      if (this.#setting.oneAtATime) this.#takeIdle(rank);
      else this.#take(rank, new Set());
    }
    return this.#finish();
  }

  #scarcity(expert: number): number {
    return this.#waiting.get(expert)! / this.#holders.get(expert)!.length;
  }

  /** Finds a sender for a rank, if need be by giving others another one. */
  #take(rank: number, tried: Set<number>): boolean {
    for (const onlyFree of [true, false]) {
      for (const need of this.#open[rank]!) {
        for (const source of this.#byCost(need)) {
          const holder = this.#takenBy[source]!;
          if (onlyFree ? holder >= 0 : tried.has(source)) continue;
          if (!onlyFree) {
            tried.add(source);
            if (holder >= 0 && !this.#take(holder, tried)) continue;
          }
          this.#takenBy[source] = rank;
          this.#receives[rank] = need;
          return true;
        }
      }
    }
    return false;
  }

  /** Where a rank does one thing at a time, the first sender that has nothing else to do. */
  #takeIdle(rank: number): void {
    if (this.#takenBy[rank]! >= 0) return;
    for (const need of this.#open[rank]!) {
      for (const source of this.#byCost(need)) {
        if (this.#takenBy[source]! >= 0 || this.#receives[source]! >= 0) continue;
        this.#takenBy[source] = rank;
        this.#receives[rank] = need;
        return;
      }
    }
  }

  #byCost(need: number): number[] {
    const { links } = this.#setting;
    const holders = this.#holders.get(this.#needs.experts[need]!)!;
    if (links.isEven) return holders;
    const target = this.#needs.targets[need]!;
    return holders.toSorted((a, b) => links.costOf(a, target) - links.costOf(b, target));
  }

  #finish(): [need: number, source: number][] {
    const met: [number, number][] = [];
    for (const [source, rank] of this.#takenBy.entries()) {
      if (rank < 0 || this.#receives[rank]! < 0) continue;
      met.push([this.#receives[rank]!, source]);
    }
    for (const [need] of met) {
      const [expert, rank] = [this.#needs.experts[need]!, this.#needs.targets[need]!];
      this.#open[rank]!.splice(this.#open[rank]!.indexOf(need), 1);
      this.#holders.get(expert)!.push(rank);
      this.#waiting.set(expert, this.#waiting.get(expert)! - 1);
    }
    this.remaining -= met.length;
    return met;
  }
}

function holdersOf(needs: LayerNeeds, expert: number): number[] {
  const ranks: number[] = [];
  for (let at = needs.firstHolder(expert); at >= 0; at = needs.nextHolder(at)) ranks.push(needs.rankOf[at]!);
  return ranks;
}
