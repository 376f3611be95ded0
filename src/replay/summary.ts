import { numOpenSlots } from '../core/open-slots.ts';
import type { Topology } from '../index.ts';
import type { ReplayCost } from './configuration.ts';
import { secondsPerUnit } from './cost-model.ts';
import type { MoveTally } from './move-tally.ts';
import type { LayerResult, PlanResult, ReplayResult, ReplayTotals } from './result.ts';
import { type BalanceTally, ratioOrOne } from './tally.ts';

interface PlanTotals {
  readonly numPlans: number;
  readonly planningSeconds: number;
  readonly plans: readonly PlanResult[];
  /** Of all steps at perfect balance; undefined where the mean rank loads say it. */
  readonly unitsAtBalance: number | undefined;
  /** What repairing the first mapping took. */
  readonly unbalancedRepairSeconds: number;
}

/** Turns a replay's sums into the overall part of its result. */
export function summarize(
  topology: Topology,
  cost: ReplayCost,
  live: BalanceTally,
  first: BalanceTally,
  moves: MoveTally,
  { numPlans, planningSeconds, plans, unitsAtBalance, unbalancedRepairSeconds }: PlanTotals,
): Pick<ReplayResult, 'balance' | 'unbalanced' | 'totals' | 'layers' | 'plans'> {
  const { numLayers, numLogicalExperts, numRanks } = topology;
  const factor = secondsPerUnit(cost, live.numSteps, numLayers);
  const stepSeconds = factor * sum(live.sumOfUnits);
  const moveSeconds = sum(moves.seconds);
  const unbalancedSeconds = factor * sum(first.sumOfUnits) + unbalancedRepairSeconds;
  // The competition's formula has no term for planning.
  const countedPlanning = cost.time.kind === 'peak-to-average' ? 0 : planningSeconds;
  const modelledSeconds = stepSeconds + moveSeconds + countedPlanning;
  const redundantSlotsPerRank = (numOpenSlots(topology) - numLogicalExperts) / numRanks;
  const totals: ReplayTotals = {
    moves: sum(moves.moves),
    changedSlots: sum(moves.changedSlots),
    bytes: sum(moves.bytes),
    bytesBetweenNodes: moves.bytesBetweenNodes,
    numPlans,
    numAppliedPlans: plans.filter(({ status }) => status === 'applied').length,
    planningSeconds,
    stepSeconds,
    moveSeconds,
    modelledSeconds,
    unbalancedSeconds,
    secondsSaved: unbalancedSeconds - modelledSeconds,
    idealSeconds:
      factor *
      (unitsAtBalance ?? (cost.time.kind === 'load' ? sum(live.sumOfMeans) : live.numSteps * numLayers)),
    redundantBytesPerRank: redundantSlotsPerRank * numLayers * cost.bytesPerExpert,
  };
  const layers = Array.from({ length: numLayers }, (_, layer): LayerResult => {
    const steps = Math.max(1, live.numSteps);
    return {
      layer,
      balancednessRatioOfSums: ratioOrOne(live.sumOfMeans[layer]!, live.sumOfMaxima[layer]!),
      balancednessMeanOfRatios: live.sumOfBalancedness[layer]! / steps,
      peakToAverageRatioOfSums: ratioOrOne(live.sumOfMaxima[layer]!, live.sumOfMeans[layer]!),
      peakToAverageMeanOfRatios: live.sumOfPeaks[layer]! / steps,
      peakToAverageMax: live.greatestPeak[layer]!,
      unbalancedBalancednessRatioOfSums: ratioOrOne(first.sumOfMeans[layer]!, first.sumOfMaxima[layer]!),
      moves: moves.moves[layer]!,
      changedSlots: moves.changedSlots[layer]!,
      bytes: moves.bytes[layer]!,
      stepSeconds: factor * live.sumOfUnits[layer]!,
      moveSeconds: moves.seconds[layer]!,
    };
  });
  return { balance: live.figures(), unbalanced: first.figures(), totals, layers, plans };
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}
