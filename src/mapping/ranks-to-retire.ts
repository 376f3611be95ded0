import { checkWhole, listOf, slotsPerRankOf } from '../core/checks.ts';
import { checkOptions } from '../core/known-keys.ts';
import { checkDeadRanks } from '../core/rank-options.ts';
import { MAX_SIZE } from '../core/topology.ts';
import { checkMapping, type ExpertMapping, tablesOf } from './expert-mapping.ts';

/** Which ranks {@link ranksToRetire} chooses from. */
export interface RetireOptions {
  /** Ranks of the mapping: its slots are a multiple. */
  readonly numRanks: number;
  /** Ranks that are to stay, from 1 to those that live. */
  readonly shrinkTo: number;
  /** Ranks that are gone already: they do not stay, and what they have is lost. Default: none. */
  readonly deadRanks?: readonly number[];
  /**
   * `[ranks]`: how many experts each has room for. Those that stay have room for all experts, where any so
   * many have. Default: the slots of the mapping.
   */
  readonly slotsPerRank?: readonly number[];
}

/** Choices that are all looked at; of more, single exchanges are tried until none is better. */
const MOST_CHOICES = 20_000;
/** Each pass lowers what is lost; few are ever needed. */
const MOST_PASSES = 100;

/**
 * Chooses the ranks to retire so that the fewest experts, over all layers, are left without a copy on a rank
 * that stays: at least these have to move. Of equally good choices, the ranks with the highest numbers
 * retire. The choice is the best one if there are at most 20,000 choices. Otherwise it cannot be improved by
 * exchanging one rank that retires for one that stays.
 *
 * @returns the ranks, in ascending order, without those that are dead
 * @throws EplbTypeError, EplbRangeError for wrong arguments
 * @example
 * ```ts
 * const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0, 1, 3]]);
 * ranksToRetire(mapping, { numRanks: 3, shrinkTo: 2 }); // [0]: rank 1 has expert 0 too, and rank 2 expert 1
 * ```
 */
export function ranksToRetire(mapping: ExpertMapping, options: RetireOptions): number[] {
  checkMapping('mapping', mapping);
  const given = checkOptions('options', options, ['numRanks', 'shrinkTo', 'deadRanks', 'slotsPerRank']);
  const numRanks = checkWhole('numRanks', given.numRanks, 1, MAX_SIZE);
  const { numPhysicalExperts } = tablesOf(mapping);
  const stride = slotsPerRankOf(numPhysicalExperts, numRanks);
  const deadRanks = checkDeadRanks(given.deadRanks, { numRanks }) ?? [];
  const live = Array.from({ length: numRanks }, (_, rank) => rank).filter(
    (rank) => !deadRanks.includes(rank),
  );
  const shrinkTo = checkWhole('shrinkTo', given.shrinkTo, 1, live.length);
  const slots =
    given.slotsPerRank === undefined
      ? new Array<number>(numRanks).fill(stride)
      : listOf('slotsPerRank', given.slotsPerRank, numRanks, 'numbers', (title, value) =>
          checkWhole(title, value, 0, MAX_SIZE),
        );
  const losses = new LossCounter(mapping, slots);
  for (const rank of deadRanks) losses.retire(rank);
  const count = live.length - shrinkTo;
  const chosen =
    numChoices(live.length, count) <= MOST_CHOICES
      ? bestOfAll(losses, live, count)
      : improved(losses, live, count);
  return chosen.sort((a, b) => a - b);
}

/** Experts of all layers that are on the same ranks. */
interface Holders {
  readonly numExperts: number;
  /** Ranks of theirs that stay. */
  numStaying: number;
}

/** Counts what ranks that retire take with them, as one after the other retires or stays. */
class LossCounter {
  /** [ranks] */
  readonly #holders: Holders[][];
  readonly #slots: readonly number[];
  readonly #numExperts: number;
  /** What one slot too few counts for: more than all experts of all layers. */
  readonly #pricePerSlot: number;
  #numOrphans = 0;
  #numSlots: number;

  /** @param slots [ranks] */
  constructor(mapping: ExpertMapping, slots: readonly number[]) {
    const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = tablesOf(mapping);
    const numRanks = slots.length;
    const stride = numPhysicalExperts / numRanks;
    const counts = new Map<string, { ranks: number[]; numExperts: number }>();
    for (let layer = 0; layer < numLayers; layer++) {
      const ranks = Array.from({ length: numLogicalExperts }, (): number[] => []);
      for (let slot = 0; slot < numPhysicalExperts; slot++) {
        const expert = phyToLog[layer * numPhysicalExperts + slot]!;
        const rank = Math.floor(slot / stride);
        if (expert >= 0 && ranks[expert]!.at(-1) !== rank) ranks[expert]!.push(rank);
      }
      for (const own of ranks) {
        const key = own.join();
        const known = counts.get(key);
        if (known === undefined) counts.set(key, { ranks: own, numExperts: 1 });
        else known.numExperts++;
      }
    }
    this.#slots = slots;
    this.#numExperts = numLogicalExperts;
    this.#pricePerSlot = numLayers * numLogicalExperts + 1;
    this.#numSlots = slots.reduce((sum, count) => sum + count, 0);
    this.#holders = Array.from({ length: numRanks }, () => []);
    for (const { ranks, numExperts } of counts.values()) {
      const holders = { numExperts, numStaying: ranks.length };
      for (const rank of ranks) this.#holders[rank]!.push(holders);
    }
  }

  /** Experts that no rank which stays has; before them, slots that are too few for all experts. */
  get loss(): number {
    return this.#numOrphans + this.#priceOf(this.#numSlots);
  }

  retire(rank: number): void {
    this.#numSlots -= this.#slots[rank]!;
    for (const holders of this.#holders[rank]!) {
      holders.numStaying--;
      if (holders.numStaying === 0) this.#numOrphans += holders.numExperts;
    }
  }

  stay(rank: number): void {
    this.#numSlots += this.#slots[rank]!;
    for (const holders of this.#holders[rank]!) {
      if (holders.numStaying === 0) this.#numOrphans -= holders.numExperts;
      holders.numStaying++;
    }
  }

  /** The loss if one more of the ranks that stay retired. */
  lossWithout(rank: number): number {
    let sum = this.#numOrphans + this.#priceOf(this.#numSlots - this.#slots[rank]!);
    for (const { numStaying, numExperts } of this.#holders[rank]!) if (numStaying === 1) sum += numExperts;
    return sum;
  }

  #priceOf(numSlots: number): number {
    return Math.max(0, this.#numExperts - numSlots) * this.#pricePerSlot;
  }
}

/** Ways to choose so many of the ranks; no more than one above MOST_CHOICES is told. */
function numChoices(numRanks: number, count: number): number {
  let choices = 1;
  for (let i = 1; i <= Math.min(count, numRanks - count) && choices <= MOST_CHOICES; i++)
    choices = (choices * (numRanks - i + 1)) / i;
  return Math.round(choices);
}

/** Tries all choices, those of the highest ranks first. @param ranks to choose from, rising */
function bestOfAll(losses: LossCounter, ranks: readonly number[], count: number): number[] {
  const chosen: number[] = [];
  let best: number[] = [];
  let least = Number.POSITIVE_INFINITY;
  const chooseBelow = (end: number) => {
    // Whoever retires besides can only add to what is lost.
    if (losses.loss >= least) return;
    if (chosen.length === count) {
      least = losses.loss;
      best = [...chosen];
      return;
    }
    for (let i = end - 1; i >= count - chosen.length - 1; i--) {
      const rank = ranks[i]!;
      chosen.push(rank);
      losses.retire(rank);
      chooseBelow(i);
      losses.stay(rank);
      chosen.pop();
    }
  };
  chooseBelow(ranks.length);
  return best;
}

/** One after the other retires that takes the least with it; then single exchanges. */
function improved(losses: LossCounter, ranks: readonly number[], count: number): number[] {
  const chosen = new Set<number>();
  const retireBest = (before?: number) => {
    let best = before;
    let least = before === undefined ? Number.POSITIVE_INFINITY : losses.lossWithout(before);
    for (const rank of ranks.toReversed()) {
      if (chosen.has(rank)) continue;
      const loss = losses.lossWithout(rank);
      if (loss >= least) continue;
      best = rank;
      least = loss;
    }
    chosen.add(best!);
    losses.retire(best!);
  };
  for (let n = 0; n < count; n++) retireBest();
  let before = Number.POSITIVE_INFINITY;
  for (let pass = 0; pass < MOST_PASSES && losses.loss < before; pass++) {
    before = losses.loss;
    for (const rank of ranks) {
      if (!chosen.delete(rank)) continue;
      losses.stay(rank);
      retireBest(rank);
    }
  }
  return [...chosen];
}
