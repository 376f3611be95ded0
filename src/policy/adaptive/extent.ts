import { numOpenSlots } from '../../core/open-slots.ts';
import { relativeSpeeds } from '../../core/rank-speeds.ts';
import type { Topology } from '../../core/topology.ts';
import { type AdaptiveEffort, type AdaptiveRequest, NO_LIMIT } from './request.ts';

// How far a search for a layer goes.

const FEW_SLOTS = 16;
const KICKS_OF_FEW_SLOTS = 20;

/** Whether there are so few slots that they are searched as good as exhaustively. */
export function hasFewSlots(topology: Topology): boolean {
  return numOpenSlots(topology) <= FEW_SLOTS;
}

/**
 * Where ranks differ in speed and have few slots each, descents get stuck far from the best. Of three slots a
 * rank, 40 experts on 16 ranks, they end 6 % above the bound of a linear program in the mean, and up to 21 %;
 * with 50 kicks .54 and 1.3 %, with 334, as here, .38 and .75 % in thirty problems. More slots need fewer:
 * 320 experts on 128 ranks end .65 and 1.2 % above it with 100, and each takes longer.
 */
const FEW_SLOTS_OF_A_RANK = 8;
const KICKS_OF_UNEVEN_RANKS = 10;
const FEWEST_SLOTS_OF_A_RANK = 4;
const KICKS_OF_FEWEST_SLOTS = 100;
const SLOTS_TIMES_KICKS = 16_000;
const SLOTS_TIMES_KICKS_OF_MORE = 2000;

/** Kicks in a row that have to lead nowhere. */
export function numKicksOf({ numKicks }: AdaptiveRequest, topology: Topology): number {
  if (hasFewSlots(topology)) return Math.max(numKicks, KICKS_OF_FEW_SLOTS);
  const { numRanks, deadRanks = [] } = topology;
  if (relativeSpeeds(topology) === undefined) return numKicks;
  const numSlots = numOpenSlots(topology);
  const slotsOfARank = numSlots / (numRanks - deadRanks.length);
  if (slotsOfARank < FEWEST_SLOTS_OF_A_RANK)
    return Math.max(numKicks, KICKS_OF_FEWEST_SLOTS, Math.ceil(SLOTS_TIMES_KICKS / numSlots));
  if (slotsOfARank < FEW_SLOTS_OF_A_RANK)
    return Math.max(numKicks, KICKS_OF_UNEVEN_RANKS, Math.ceil(SLOTS_TIMES_KICKS_OF_MORE / numSlots));
  return numKicks;
}

/** How far a search goes. */
interface Extent {
  /** Ranks looked at from one start, for each rank there is. */
  readonly visitsPerRank: number;
  /**
   * Ranks in a row without a step that end a descent, for each rank there is; but LEAST_IDLE in any case.
   */
  readonly idlePerRank: number;
  /** Descents from a start, each by a new tangent. */
  readonly maxPasses: number;
  /** The least that a step has to gain, as a share of the mean rank load. */
  readonly leastGain: number;
}

/** Of first plans, and of those whose moves are free; and of plans from a placement that was planned. */
export type ExtentName = 'first' | 'next';

const UNLIMITED = { visitsPerRank: Number.POSITIVE_INFINITY, idlePerRank: Number.POSITIVE_INFINITY };
const LEAST_IDLE = 8;

/** What efforts come to: see docs/notes/adaptive.md for what each gains, and takes. */
const EXTENTS: Readonly<Record<AdaptiveEffort, Readonly<Record<ExtentName, Extent>>>> = {
  quick: {
    first: { visitsPerRank: 2, idlePerRank: 0.25, maxPasses: 1, leastGain: 3e-5 },
    next: { visitsPerRank: 1, idlePerRank: 0.125, maxPasses: 1, leastGain: 3e-5 },
  },
  usual: {
    first: { visitsPerRank: 4, idlePerRank: 0.5, maxPasses: 2, leastGain: 1e-5 },
    next: { visitsPerRank: 2, idlePerRank: 0.25, maxPasses: 2, leastGain: 3e-5 },
  },
  thorough: {
    first: { ...UNLIMITED, maxPasses: 4, leastGain: 1e-6 },
    next: { ...UNLIMITED, maxPasses: 4, leastGain: 1e-6 },
  },
};

/**
 * Where links count: visits of each rank, of so many slots in a layer; and the patience of a walk. See
 * docs/notes/locality.md.
 */
const VISITS_OF_LINKS = 4;
const SLOTS_OF_VISITS = 288;
const MOST_VISITS = 16;
const WALK_OF_LINKS = 1500;
/** A shorter one finds too little. */
const LEAST_WALK = 8;
const SLOTS_OF_WALK = 80;
/** Shorter ones are not made twice. */
const LEAST_WALK_BACK = 200;

/** How far a search of a layer goes: see kernels/adaptive/terms.ts. */
interface SearchExtent {
  readonly maxVisits: number;
  readonly maxIdle: number;
  readonly maxPasses: number;
  readonly leastGain: number;
  readonly walkPatience: number;
}

export function searchExtent(effort: AdaptiveEffort, name: ExtentName, { numRanks }: Topology): SearchExtent {
  const { visitsPerRank, idlePerRank, maxPasses, leastGain } = EXTENTS[effort][name];
  return {
    maxVisits: Math.min(NO_LIMIT, Math.ceil(visitsPerRank * numRanks)),
    maxIdle: Math.min(NO_LIMIT, Math.max(LEAST_IDLE, Math.ceil(idlePerRank * numRanks))),
    maxPasses,
    leastGain,
    walkPatience: 0,
  };
}

/**
 * The same where links count: ranks are visited more often, but for layers of many slots, whose visits take
 * longer; all of them, as the costliest are not those where links save most; and a walk follows where moves
 * are free, as long as takes a few milliseconds a layer.
 */
export function linkedExtent(effort: AdaptiveEffort, name: ExtentName, topology: Topology): SearchExtent {
  const numSlots = numOpenSlots(topology);
  const visits = Math.min((VISITS_OF_LINKS * SLOTS_OF_VISITS) / numSlots, MOST_VISITS);
  const patience = patienceOf(numSlots);
  const walks = name === 'first' && effort !== 'quick' && patience >= LEAST_WALK;
  const usual = searchExtent(effort, name, topology);
  return {
    ...usual,
    maxVisits: Math.max(usual.maxVisits, Math.ceil(visits * topology.numRanks)),
    maxIdle: NO_LIMIT,
    walkPatience: walks ? Math.floor(patience) : 0,
  };
}

function patienceOf(numSlots: number): number {
  const share = SLOTS_OF_WALK / numSlots;
  return Math.min(WALK_OF_LINKS * share ** 3 * Math.sqrt(share), WALK_OF_LINKS);
}

/**
 * Whether a placement that was made for the samples is walked back from to the live one, where that is far
 * from it.
 */
export function walksBack(effort: AdaptiveEffort, topology: Topology): boolean {
  return effort !== 'quick' && patienceOf(numOpenSlots(topology)) >= LEAST_WALK_BACK;
}
