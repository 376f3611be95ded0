import { checkWhole, slotsPerRankOf } from '../core/checks.ts';
import { checkOptions } from '../core/known-keys.ts';
import { MAX_SIZE } from '../core/topology.ts';
import { checkMapping, type ExpertMapping, tablesOf } from './expert-mapping.ts';

/** Which ranks {@link ranksToRetire} chooses from. */
export interface RetireOptions {
  /** Ranks of the mapping: its slots are a multiple. */
  readonly numRanks: number;
  /** Ranks that are to stay, from 1 to `numRanks`. */
  readonly shrinkTo: number;
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
 * @returns the ranks, in ascending order
 * @throws EplbTypeError, EplbRangeError for wrong arguments
 * @example
 * ```ts
 * const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0, 1, 3]]);
 * ranksToRetire(mapping, { numRanks: 3, shrinkTo: 2 }); // [0]: rank 1 has expert 0 too, and rank 2 expert 1
 * ```
 */
export function ranksToRetire(mapping: ExpertMapping, options: RetireOptions): number[] {
  checkMapping('mapping', mapping);
  const given = checkOptions('options', options, ['numRanks', 'shrinkTo']);
  const numRanks = checkWhole('numRanks', given.numRanks, 1, MAX_SIZE);
  const { numPhysicalExperts } = tablesOf(mapping);
  slotsPerRankOf(numPhysicalExperts, numRanks);
  const shrinkTo = checkWhole('shrinkTo', given.shrinkTo, 1, numRanks);
  const orphans = new OrphanCounter(mapping, numRanks);
  const count = numRanks - shrinkTo;
  const chosen =
    numChoices(numRanks, count) <= MOST_CHOICES ? bestOfAll(orphans, count) : improved(orphans, count);
  return chosen.sort((a, b) => a - b);
}

/** Experts of all layers that are on the same ranks. */
interface Holders {
  readonly numExperts: number;
  /** Ranks of theirs that stay. */
  numStaying: number;
}

/** Counts the experts that ranks which retire take with them, as one after the other retires or stays. */
class OrphanCounter {
  readonly numRanks: number;
  /** [ranks] */
  readonly #holders: Holders[][];
  #numOrphans = 0;

  constructor(mapping: ExpertMapping, numRanks: number) {
    const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = tablesOf(mapping);
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
    this.numRanks = numRanks;
    this.#holders = Array.from({ length: numRanks }, () => []);
    for (const { ranks, numExperts } of counts.values()) {
      const holders = { numExperts, numStaying: ranks.length };
      for (const rank of ranks) this.#holders[rank]!.push(holders);
    }
  }

  get numOrphans(): number {
    return this.#numOrphans;
  }

  retire(rank: number): void {
    for (const holders of this.#holders[rank]!) {
      holders.numStaying--;
      if (holders.numStaying === 0) this.#numOrphans += holders.numExperts;
    }
  }

  stay(rank: number): void {
    for (const holders of this.#holders[rank]!) {
      if (holders.numStaying === 0) this.#numOrphans -= holders.numExperts;
      holders.numStaying++;
    }
  }

  /** Experts that only this one of the ranks that stay has. */
  numOnlyOn(rank: number): number {
    let sum = 0;
    for (const { numStaying, numExperts } of this.#holders[rank]!) if (numStaying === 1) sum += numExperts;
    return sum;
  }
}

/** Ways to choose so many of the ranks; no more than one above MOST_CHOICES is told. */
function numChoices(numRanks: number, count: number): number {
  let choices = 1;
  for (let i = 1; i <= Math.min(count, numRanks - count) && choices <= MOST_CHOICES; i++)
    choices = (choices * (numRanks - i + 1)) / i;
  return Math.round(choices);
}

/** Tries all choices, those of the highest ranks first. */
function bestOfAll(orphans: OrphanCounter, count: number): number[] {
  const chosen: number[] = [];
  let best: number[] = [];
  let least = Number.POSITIVE_INFINITY;
  const chooseBelow = (end: number) => {
    // Whoever retires besides can only add to what is lost.
    if (orphans.numOrphans >= least) return;
    if (chosen.length === count) {
      least = orphans.numOrphans;
      best = [...chosen];
      return;
    }
    for (let rank = end - 1; rank >= count - chosen.length - 1; rank--) {
      chosen.push(rank);
      orphans.retire(rank);
      chooseBelow(rank);
      orphans.stay(rank);
      chosen.pop();
    }
  };
  chooseBelow(orphans.numRanks);
  return best;
}

/** One after the other retires that takes the least with it; then single exchanges. */
function improved(orphans: OrphanCounter, count: number): number[] {
  const isChosen = new Uint8Array(orphans.numRanks);
  const retireBest = (before = -1) => {
    let best = before;
    let least = before < 0 ? Number.POSITIVE_INFINITY : orphans.numOnlyOn(before);
    for (let rank = orphans.numRanks - 1; rank >= 0; rank--) {
      if (isChosen[rank] === 1) continue;
      const lost = orphans.numOnlyOn(rank);
      if (lost >= least) continue;
      best = rank;
      least = lost;
    }
    isChosen[best] = 1;
    orphans.retire(best);
  };
  for (let n = 0; n < count; n++) retireBest();
  let before = Number.POSITIVE_INFINITY;
  for (let pass = 0; pass < MOST_PASSES && orphans.numOrphans < before; pass++) {
    before = orphans.numOrphans;
    for (let rank = 0; rank < orphans.numRanks; rank++) {
      if (isChosen[rank] === 0) continue;
      isChosen[rank] = 0;
      orphans.stay(rank);
      retireBest(rank);
    }
  }
  return Array.from(isChosen.keys()).filter((rank) => isChosen[rank] === 1);
}
