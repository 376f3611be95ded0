import {
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  DefaultEplbPolicy,
  ExpertMapping,
  type LoadMatrix,
  type LoadSamples,
  layerBalances,
} from 'expert-load-balancer';
import type { Row } from './recordings.ts';

/**
 * Plans from the steps so far, of which each planner takes its last ones; the next steps are for the plan
 * that knows them.
 */
type Planner = (
  past: readonly Float32Array[],
  next: readonly Float32Array[],
  live: ExpertMapping,
  row: Row,
) => ExpertMapping;

export interface Score {
  /** Sum of mean rank loads / sum of maximum rank loads, over the steps after each plan, and all layers. */
  readonly balancedness: number;
  /** Slots of a layer that got an expert from another rank, in the mean plan. */
  readonly movesPerLayer: number;
  readonly msPerPlan: number;
}

/**
 * Plans anew every few steps and scores each placement on the steps that follow. The first placement is
 * expert i in slot i.
 */
export function score(row: Row, plan: Planner): Score {
  const { steps, numSlots, numRanks, window, every } = row;
  const { loads, numLayers, numExperts } = steps;
  const start = Array.from({ length: numSlots }, (_, slot) => slot % numExperts);
  let live = ExpertMapping.fromPhysicalToLogical(Array.from({ length: numLayers }, () => start));
  const sums = { mean: 0, max: 0, moves: 0, plans: 0, ms: 0 };
  for (let now = window; now < loads.length; now += every) {
    const next = loads.slice(now, now + every);
    const begin = performance.now();
    const mapping = plan(loads.slice(0, now), next, live, row);
    sums.ms += performance.now() - begin;
    sums.moves += mapping.movesFrom(live, numRanks);
    sums.plans++;
    live = mapping;
    for (const data of next) {
      for (const layer of layerBalances({ data, numLayers, numExperts }, mapping, numRanks)) {
        sums.mean += layer.meanRankLoad;
        sums.max += layer.maxRankLoad;
      }
    }
  }
  return {
    balancedness: sums.mean / sums.max,
    movesPerLayer: sums.moves / sums.plans / numLayers,
    msPerPlan: sums.ms / sums.plans,
  };
}

export const byDefault: Planner = (past, _next, _live, row) => placeSum(past.slice(-row.window), row);

/** The default policy, given as many steps as the adaptive policy remembers. */
export const byDefaultThatRemembers: Planner = (past, _next, _live, row) =>
  placeSum(lastSteps(past, row, new AdaptiveEplbPolicy()), row);

/** The default policy, given the loads to come. */
export const byOracle: Planner = (_past, next, _live, row) => placeSum(next, row);

export const byNobody: Planner = (_past, _next, live) => live;

export function byAdaptive(options: AdaptiveEplbPolicyOptions): Planner {
  const policy = new AdaptiveEplbPolicy(options);
  return (past, _next, previous, row) => {
    const samples = samplesOf(lastSteps(past, row, policy), row);
    return policy.planExperts(samples, row.numSlots, 1, 1, row.numRanks, { previous }).mapping;
  };
}

/** What a balancer with the row's window gives the policy. */
function lastSteps(
  past: readonly Float32Array[],
  { window }: Row,
  { rememberedSteps }: AdaptiveEplbPolicy,
): readonly Float32Array[] {
  return past.slice(-Math.max(window, rememberedSteps));
}

export function samplesOf(
  steps: readonly Float32Array[],
  { steps: { numLayers, numExperts } }: Row,
): LoadSamples {
  const data = new Float32Array(steps.length * numLayers * numExperts);
  for (const [i, step] of steps.entries()) data.set(step, i * step.length);
  return { data, numSamples: steps.length, numLayers, numExperts };
}

export function sumOf(steps: readonly Float32Array[], { steps: { numLayers, numExperts } }: Row): LoadMatrix {
  const data = new Float32Array(numLayers * numExperts);
  for (const step of steps) for (let i = 0; i < data.length; i++) data[i]! += step[i]!;
  return { data, numLayers, numExperts };
}

function placeSum(steps: readonly Float32Array[], row: Row): ExpertMapping {
  return new DefaultEplbPolicy().rebalanceExperts(sumOf(steps, row), row.numSlots, 1, 1, row.numRanks);
}
