import type { ExpertLoadBalancer } from '../balancer/expert-load-balancer.ts';
import { differencesOfRanks } from '../core/rank-speeds.ts';
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

/** The figures of a balancer's window; undefined while it is empty. */
export function windowFigures(
  balancer: ExpertLoadBalancer,
  cost: CostModel | undefined,
): WindowFigures | undefined {
  if (balancer.numSamples === 0) return undefined;
  const loads = balancer.getAverageLogicalLoad();
  const { mapping, topology } = balancer;
  const layers = layerBalances(loads, mapping, topology.numRanks, differencesOfRanks(topology));
  const ratios = layers.map(balancedness);
  const times = rankTimes(loads, balancer);
  const numLive = topology.numRanks - (topology.deadRanks?.length ?? 0);
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
  const { numRanks, numNodes, nodeOfRank, linkClasses } = topology;
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

/** `[ranks]`: what each takes over all layers. */
function rankTimes(loads: LoadMatrix, { mapping, topology }: ExpertLoadBalancer): Float64Array {
  const { numRanks, rankSpeed } = topology;
  const { phyToLog, numPhysicalExperts, numLogicalExperts } = tablesOf(mapping);
  const counts = replicaCountOf(mapping);
  const slotsPerRank = numPhysicalExperts / numRanks;
  const sums = new Float64Array(numRanks);
  for (let i = 0; i < phyToLog.length; i++) {
    if (phyToLog[i]! < 0) continue;
    const at = Math.floor(i / numPhysicalExperts) * numLogicalExperts + phyToLog[i]!;
    sums[Math.floor((i % numPhysicalExperts) / slotsPerRank)]! += loads.data[at]! / counts[at]!;
  }
  return rankSpeed === undefined ? sums : sums.map((sum, rank) => sum / rankSpeed[rank]!);
}
