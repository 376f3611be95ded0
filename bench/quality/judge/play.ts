import { ExpertMapping, layerBalances } from 'expert-load-balancer';
import type { Row } from '../recordings.ts';
import type { PlannerMaker } from './planners.ts';

/** One plan, scored on the steps until the next one. */
export interface PlayedPlan {
  readonly mapping: ExpertMapping;
  /** Slots whose expert was not on that rank before. */
  readonly moves: number;
  /** Of rank loads, over the steps and layers. */
  readonly sumOfMeans: number;
  readonly sumOfMaxima: number;
  /** See Planned. */
  readonly foreseenGain: number;
  /** The same as it came: against the mapping that was live before, on the same steps. */
  readonly realisedGain: number;
}

/**
 * Plays a recording: the first mapping is expert i in slot i, the first plan is made when the window is full.
 */
export async function play(row: Row, makePlanner: PlannerMaker): Promise<PlayedPlan[]> {
  const { steps, numRanks, window, every } = row;
  const { loads } = steps;
  const planner = makePlanner(row);
  const plans: PlayedPlan[] = [];
  let live = firstMapping(row);
  for (const step of loads.slice(0, window)) planner.record(step);
  for (let now = window; now < loads.length; now += every) {
    const next = loads.slice(now, now + every);
    const { mapping, foreseenGain } = await planner.plan(live, next);
    const after = loadsUnder(mapping, row, next);
    // What is kept gains nothing, and need not be scored twice.
    const realisedGain = mapping === live ? 0 : loadsUnder(live, row, next).excess - after.excess;
    const moves = mapping.movesFrom(live, numRanks);
    const { sumOfMeans, sumOfMaxima } = after;
    plans.push({ mapping, moves, sumOfMeans, sumOfMaxima, foreseenGain, realisedGain });
    live = mapping;
    for (const step of next) planner.record(step);
  }
  await planner.close();
  return plans;
}

/** Sum of mean rank loads / sum of maximum rank loads: 1 is best. */
export function balancednessOf(plans: readonly PlayedPlan[]): number {
  const sum = (of: (plan: PlayedPlan) => number) => plans.reduce((total, plan) => total + of(plan), 0);
  return sum((plan) => plan.sumOfMeans) / sum((plan) => plan.sumOfMaxima);
}

/** The same for one mapping that stays. */
export function balancednessUnder(mapping: ExpertMapping, row: Row, steps: readonly Float32Array[]): number {
  const { sumOfMeans, sumOfMaxima } = loadsUnder(mapping, row, steps);
  return sumOfMeans / sumOfMaxima;
}

function firstMapping({ steps: { numLayers, numExperts }, numSlots }: Row): ExpertMapping {
  const row = Array.from({ length: numSlots }, (_, slot) => slot % numExperts);
  return ExpertMapping.fromPhysicalToLogical(
    Array.from({ length: numLayers }, () => row),
    numExperts,
  );
}

/**
 * What a mapping makes of steps: `excess` is the slowest rank's load in the mean step / the mean, by layers.
 */
function loadsUnder(mapping: ExpertMapping, { steps, numRanks }: Row, next: readonly Float32Array[]) {
  const { numLayers, numExperts } = steps;
  const sums = { sumOfMeans: 0, sumOfMaxima: 0, excess: 0 };
  for (const data of next) {
    const layers = layerBalances({ data, numLayers, numExperts }, mapping, numRanks);
    for (const { meanRankLoad, maxRankLoad } of layers) {
      sums.sumOfMeans += meanRankLoad;
      sums.sumOfMaxima += maxRankLoad;
      if (meanRankLoad > 0) sums.excess += maxRankLoad / meanRankLoad / next.length;
    }
  }
  return sums;
}
