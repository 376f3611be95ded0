import { differencesOfRanks, rankSpeedsOf } from '../core/rank-speeds.ts';
import type { Topology } from '../core/topology.ts';
import type { CostModel } from '../cost/cost-model.ts';
import { layerCosts, summarizeCost } from '../cost/layer-costs.ts';
import { balancedness, layerBalances, summarizeBalance } from '../loads/balancedness.ts';
import type { LoadMatrix } from '../loads/load-matrix.ts';
import { type ExpertMapping, replicaCountOf, tablesOf } from '../mapping/expert-mapping.ts';

/** What the mean step of the window comes to under the live mapping. */
export interface WindowFigures {
  readonly balancednessRatioOfSums: number;
  readonly worstLayer: number;
  readonly worstRank: number;
  /** Mean of the layers. */
  readonly activeExperts: number;
  /** What a step takes longer than at perfect balance; undefined without a cost model. */
  readonly imbalanceSeconds: number | undefined;
  /** `[ranks]`: a rank's load over all layers / its speed, over the mean of the live ranks. */
  readonly rankLoadRatios: Float64Array;
}

/** What is live: a mapping, and the ranks that hold it. */
export interface LiveRanks {
  readonly mapping: ExpertMapping;
  readonly topology: Topology;
}

/** The figures of a window's mean step under what is live; undefined where no rank lives. */
export function windowFigures(
  loads: LoadMatrix,
  { mapping, topology }: LiveRanks,
  cost: CostModel | undefined,
): WindowFigures | undefined {
  const numLive = topology.numRanks - (topology.deadRanks?.length ?? 0);
  if (numLive === 0) return undefined;
  const layers = layerBalances(loads, mapping, topology.numRanks, differencesOfRanks(topology));
  const ratios = layers.map(balancedness);
  const times = rankTimes(loads, { mapping, topology });
  const meanTime = times.reduce((sum, time) => sum + time, 0) / numLive;
  const numActive = loads.data.reduce((count, load) => count + (load > 0 ? 1 : 0), 0);
  return {
    balancednessRatioOfSums: summarizeBalance(layers).balancednessRatioOfSums,
    worstLayer: ratios.indexOf(Math.min(...ratios)),
    worstRank: times.indexOf(Math.max(...times)),
    activeExperts: numActive / loads.numLayers,
    imbalanceSeconds: cost && imbalanceSeconds(loads, mapping, topology, cost),
    rankLoadRatios: times.map((time) => (meanTime === 0 ? 1 : time / meanTime)),
  };
}

/** What a step of these loads [layers x experts] takes longer than at perfect balance. */
export function imbalanceSeconds(
  loads: LoadMatrix,
  mapping: ExpertMapping,
  topology: Topology,
  cost: CostModel,
): number {
  const { numRanks, numNodes, nodeOfRank, linkClasses, deadRanks } = topology;
  if (deadRanks?.length === numRanks) return 0;
  const { seconds, secondsAtBalance } = summarizeCost(
    layerCosts(loads, mapping, numRanks, cost, {
      numNodes,
      ...(nodeOfRank && { nodeOfRank }),
      ...(linkClasses && { linkClasses }),
      ...differencesOfRanks(topology),
    }),
  );
  return Math.max(0, seconds - secondsAtBalance);
}

/** `[ranks]`: what each takes over all layers; a dead one takes nothing. */
function rankTimes(loads: LoadMatrix, { mapping, topology }: LiveRanks): Float64Array {
  const { numRanks } = topology;
  const { phyToLog, numPhysicalExperts, numLogicalExperts } = tablesOf(mapping);
  const counts = replicaCountOf(mapping);
  const slotsPerRank = numPhysicalExperts / numRanks;
  const sums = new Float64Array(numRanks);
  for (let i = 0; i < phyToLog.length; i++) {
    if (phyToLog[i]! < 0) continue;
    const at = Math.floor(i / numPhysicalExperts) * numLogicalExperts + phyToLog[i]!;
    sums[Math.floor((i % numPhysicalExperts) / slotsPerRank)]! += loads.data[at]! / counts[at]!;
  }
  const speeds = rankSpeedsOf(topology);
  return speeds === undefined
    ? sums
    : sums.map((sum, rank) => (speeds[rank] === 0 ? 0 : sum / speeds[rank]!));
}
