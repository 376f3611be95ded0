import { numOpenSlots } from '../../core/open-slots.ts';
import type { Topology } from '../../core/topology.ts';
import type { PlanMode } from './change.ts';
import type { AdaptiveRequest } from './request.ts';
import type { SampleFacts } from './search.ts';

/** No move is ever worth as much. An infinite price x 0 moves would not even be a number. */
export const MOST_PRICE = Number.MAX_VALUE;
/**
 * Of a move, where nothing says what one costs, by the mode of the plan: as a share of the mean load of a
 * slot. A first plan moves most, and the least of it gains little. What is left to gain where loads are
 * planned for again is small, and much of it chance. See docs/notes/adaptive.md.
 */
const SHARE_OF_SLOT: Readonly<Record<Exclude<PlanMode, 'keep'>, number>> = {
  first: 3.75e-4,
  anew: 4.5e-4,
  again: 7.5e-4,
};
/** Of a move where links count: as a share of what the pairs of a mean slot cost to have apart. */
const SHARE_OF_LINKS = 0.16;
/** How much of what chance alone seems to gain by a move the move has to gain besides. */
const SHARE_OF_CHANCE: typeof SHARE_OF_SLOT = { first: 0, anew: 0.4, again: 0.5 };
/** But at most as a share of the mean load of a slot: of few ranks each has much of what chance makes. */
const MOST_FOR_CHANCE = 4e-3;
/** How much of what loads that pass add to the noise counts as chance. */
const SHARE_OF_TURNOVER = 0.5;

/** Of what chance seems to gain by a move, what is left out of forecasts: see docs/notes/adaptive.md. */
const DOUBT_OF_NOISE = 0.1;
const DOUBT_OF_TURNOVER = 0.5;

/** Loads that show no sign of changing are expected to stay for so many times as long as they are known. */
const MOST_STAY = 8;

/**
 * Steps that a layer's placement is expected to stay good for: until its loads have moved on as far as they
 * are from equal ones. Half of that, as it gains less and less on the way.
 */
export function stayingStepsOf(topology: Topology, facts: SampleFacts, knownSteps: number): number {
  const equal = topology.numRanks / topology.numLogicalExperts;
  const signal = facts.expected.reduce((sum, load) => sum + (load - equal) ** 2, 0);
  const most = MOST_STAY * knownSteps;
  const steps = facts.forgetting > 0 ? signal / (2 * facts.forgetting) : most;
  return Math.min(most, Math.max(facts.numTelling, steps));
}

/**
 * What a move of a layer seems to gain by chance alone, as a share of the mean rank load. Loads that pass are
 * chance as well: which of them come next nobody knows.
 */
export function chanceOf(topology: Topology, facts: SampleFacts): number {
  return chanceBy(facts.noise + SHARE_OF_TURNOVER * facts.turnover, topology, facts);
}

/**
 * How much of what a move of a layer seems to gain is not to be expected of it, as a share of the mean rank
 * load. Of loads that pass a plan has seen few, and fits those.
 */
export function doubtOf(topology: Topology, facts: SampleFacts): number {
  const byNoise = chanceBy(facts.noise, topology, facts);
  return DOUBT_OF_NOISE * byNoise + DOUBT_OF_TURNOVER * chanceBy(facts.turnover, topology, facts);
}

/**
 * How far off the load of an expert is known to be, as the rank of one of its copies sees it.
 *
 * @param stepVariance of a step, over all experts
 */
function chanceBy(stepVariance: number, topology: Topology, facts: SampleFacts): number {
  const { numLogicalExperts, numRanks } = topology;
  const numSlots = numOpenSlots(topology);
  const variance = stepVariance / Math.max(facts.numTelling, 1);
  const ofTokens =
    (Math.sqrt((2 * variance) / numLogicalExperts) / numRanks) * (numLogicalExperts / numSlots);
  return ofTokens * Math.min(1, facts.elasticity);
}

/** How many times as much the rank that receives most is taken to receive as the mean rank. */
const BUSIEST = 2;

/**
 * How many moves take as long as one: all ranks receive at once where a cost model tells what moves take. The
 * five figures of before count one move after the other.
 */
export function movesAtOnce(request: AdaptiveRequest, { numRanks }: Topology): number {
  return request.slotCosts === undefined ? 1 : Math.max(1, numRanks / BUSIEST);
}

/** What the price of a layer's moves follows from. */
export interface LayerOutlook {
  /** See {@link chanceOf}. */
  readonly chance: number;
  /** Of a sample. */
  readonly meanRankLoad: number;
  readonly stayingSteps: number;
}

/**
 * What a move of a layer has to gain, as a share of the mean rank load: what it costs, spread over the steps
 * that the placement is expected to stay good for, and some of what chance makes of not knowing the loads.
 */
export function priceOf(
  request: AdaptiveRequest,
  topology: Topology,
  mode: PlanMode,
  { chance, meanRankLoad, stayingSteps }: LayerOutlook,
): number {
  if (request.fixedPrice >= 0) return request.fixedPrice;
  const kind = mode === 'keep' ? 'again' : mode;
  const slotLoad = topology.numRanks / numOpenSlots(topology);
  const ofChance = Math.min(SHARE_OF_CHANCE[kind] * chance, MOST_FOR_CHANCE * slotLoad);
  if (!request.hasCost) {
    // Where links count, a first plan is walked back from: see way-back.ts.
    if (mode === 'first' && request.linkPrice > 0) return 0;
    const ofLinks = (SHARE_OF_LINKS * request.linkPrice) / numOpenSlots(topology);
    return SHARE_OF_SLOT[kind] * slotLoad + ofLinks + ofChance;
  }
  const { shareSteps, loadSteps } = request.moveCost;
  // Without load nothing can be gained: no move is worth it.
  if (loadSteps > 0 && !(meanRankLoad > 0)) return MOST_PRICE;
  const atOnce = movesAtOnce(request, topology);
  const spent = shareSteps + (loadSteps > 0 ? loadSteps / meanRankLoad : 0);
  const cost = spent / atOnce / Math.max(stayingSteps, 1);
  return Math.min(cost + ofChance, MOST_PRICE);
}
