import { checkAtLeast, checkObject, loadError, show, slotsPerRankOf } from '../core/checks.ts';
import { checkDispatch, type Dispatch } from '../core/dispatch.ts';
import { EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { checkRankSpeed } from '../core/rank-options.ts';
import { addShared, rankSpeedsOf, weighRanks } from '../core/rank-speeds.ts';
import { checkRules, sharedLoads } from '../core/rules.ts';
import type { Topology } from '../core/topology.ts';
import { checkMapping, type ExpertMapping, replicaCountOf, tablesOf } from '../mapping/expert-mapping.ts';
import { Carver } from '../memory/carver.ts';
import { inlineKernelMemory } from '../memory/kernel-memory.ts';
import { type LoadsInput, toLoadMatrix } from './load-matrix.ts';
import { dispatchLoads, readNodes } from './slot-loads.ts';
import { isBySource, type SourceLoads } from './source-loads.ts';

/**
 * The loads of a layer's ranks. A rank's load is the sum over its slots of load / replicas of the slot's
 * expert. Of ranks whose speeds are given it is their time, load / speed, and the mean is what all would
 * take at balance: the load of all / the speed of all.
 */
export interface LayerBalance {
  readonly maxRankLoad: number;
  readonly meanRankLoad: number;
  readonly minRankLoad: number;
}

/**
 * Balance over layers. The ratio of sums weighs layers by their load; the mean of ratios counts each the
 * same.
 */
export interface BalanceSummary {
  /** Sum of mean rank loads / sum of maximum rank loads. */
  readonly balancednessRatioOfSums: number;
  /** Mean over layers of mean / max rank load. */
  readonly balancednessMeanOfRatios: number;
  /** Sum of maximum rank loads / sum of mean rank loads. */
  readonly peakToAverageRatioOfSums: number;
  /** Mean over layers of max / mean rank load. */
  readonly peakToAverageMeanOfRatios: number;
}

/** What ranks differ in, where they do, and which copies tokens take. */
export interface BalanceRanks
  extends Partial<Pick<Topology, 'rankSpeed' | 'deadRanks' | 'numNodes' | 'nodeOfRank' | 'rules'>> {
  /** Default 'even'. 'nearest' goes by the nodes, of which there is 1 when none are given. */
  readonly dispatch?: Dispatch;
}

/**
 * The rank loads of each layer under a mapping, in float64, with slots added in order of index. With
 * `rankSpeed`, a rank's load counts as load / speed, and the mean is the sum of the loads / the sum of the
 * speeds: the time of all ranks if they took equally long. Dead ranks are in none of the three figures: what
 * they still hold is lost. The load of a shared expert of `rules` is counted in that of its rank. With
 * `dispatch: 'nearest'`, copies are taken as in {@link slotLoads}: for loads [layers x logical], tokens are
 * assumed to be spread evenly over all ranks.
 *
 * @param weight loads [layers x logical], or by the rank that tokens are on
 * @param ranks speeds, dead ranks and nodes of a topology, and the dispatch; by default all ranks are alike
 * @throws EplbTypeError, EplbRangeError for loads, sizes or ranks that do not fit the mapping; EplbRangeError
 *   `EPLB_MEMORY`
 * @example
 * ```ts
 * const [layer] = layerBalances([[3, 1]], ExpertMapping.fromPhysicalToLogical([[0, 1]]), 2);
 * balancedness(layer!); // 2 / 3
 * ```
 */
export function layerBalances(
  weight: LoadsInput | SourceLoads,
  mapping: ExpertMapping,
  numRanks: number,
  ranks: BalanceRanks = {},
): LayerBalance[] {
  checkMapping('mapping', mapping);
  const { speeds, shared, dispatch, nodes } = readRanks(ranks, numRanks, tablesOf(mapping));
  if (dispatch === 'nearest' || isBySource(weight)) {
    const loads = dispatchLoads('weight', weight, mapping, numRanks, { ...nodes, dispatch }).ranks;
    const allAlike = new Float64Array(numRanks).fill(1);
    return Array.from({ length: mapping.numLayers }, (_, layer) => {
      const own = loads.subarray(layer * numRanks, (layer + 1) * numRanks);
      if (shared !== undefined) addShared(own, shared);
      return weighed(own, speeds ?? allAlike);
    });
  }
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = tablesOf(mapping);
  const replicaCount = replicaCountOf(mapping);
  const matrix = toLoadMatrix('weight', weight, numLayers, numLogicalExperts);
  slotsPerRankOf(numPhysicalExperts, numRanks);
  const { region, layout } = inlineKernelMemory(`${numPhysicalExperts} slots`, (start) => {
    const carver = new Carver(start);
    const loads = carver.take(4 * numLogicalExperts);
    const counts = carver.take(4 * numLogicalExperts);
    const slots = carver.take(4 * numPhysicalExperts);
    const rankLoads = carver.take(8 * numRanks);
    return { loads, counts, slots, rankLoads, stats: carver.take(24), end: carver.end };
  });
  const { buffer, kernels } = region;
  const { loads, counts, slots, rankLoads, stats } = layout;
  return Array.from({ length: numLayers }, (_, layer) => {
    const experts = layer * numLogicalExperts;
    const first = layer * numPhysicalExperts;
    const row = new Float32Array(buffer, loads, numLogicalExperts);
    row.set(matrix.data.subarray(experts, experts + numLogicalExperts));
    const bad = kernels.firstInvalid(loads, numLogicalExperts);
    if (bad < numLogicalExperts) throw loadError('weight', layer, bad, row[bad]);
    new Int32Array(buffer, counts, numLogicalExperts).set(
      replicaCount.subarray(experts, experts + numLogicalExperts),
    );
    new Int32Array(buffer, slots, numPhysicalExperts).set(
      phyToLog.subarray(first, first + numPhysicalExperts),
    );
    kernels.rankLoads(loads, slots, counts, numPhysicalExperts, numRanks, rankLoads, stats);
    if (speeds !== undefined) {
      const own = new Float64Array(buffer, rankLoads, numRanks);
      if (shared !== undefined) addShared(own, shared);
      return weighed(own, speeds);
    }
    const [maxRankLoad = 0, meanRankLoad = 0, minRankLoad = 0] = new Float64Array(buffer, stats, 3);
    return { maxRankLoad, meanRankLoad, minRankLoad };
  });
}

/** Speeds where ranks differ, also by what a shared expert adds: a share of the layer's load, of each. */
function readRanks(
  ranks: BalanceRanks,
  numRanks: number,
  sizes: Omit<Topology, 'numRanks' | 'numNodes' | 'numGroups'>,
) {
  const names = ['rankSpeed', 'deadRanks', 'numNodes', 'nodeOfRank', 'rules', 'dispatch'];
  const { rankSpeed: given, rules: own, dispatch, ...rest } = checkOptions('ranks', ranks, names);
  const rankSpeed = checkRankSpeed(given, { numRanks });
  const nodes = readNodes(rest, numRanks);
  const { deadRanks } = nodes;
  const alike = { numRanks, ...(rankSpeed && { rankSpeed }), ...(deadRanks && { deadRanks }) };
  const rules = own && checkRules(own, { ...sizes, numRanks });
  const shared = rules && sharedLoads({ ...alike, rules });
  const usual = rankSpeedsOf(alike);
  const speeds = shared === undefined ? usual : (usual ?? new Float64Array(numRanks).fill(1));
  return { speeds, shared, dispatch: checkDispatch(dispatch), nodes };
}

function weighed(rankLoads: Float64Array, speeds: Float64Array): LayerBalance {
  const { most, mean } = weighRanks(rankLoads, speeds);
  let least = Number.POSITIVE_INFINITY;
  for (let rank = 0; rank < rankLoads.length; rank++) {
    if (speeds[rank] !== 0 && rankLoads[rank]! < least) least = rankLoads[rank]!;
  }
  return { maxRankLoad: most, meanRankLoad: mean, minRankLoad: least };
}

/**
 * Balancedness of a layer: mean rank load / largest rank load. 1 is best, and also the value of a layer
 * without load.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` unless the loads are finite and >= 0
 */
export function balancedness(layer: LayerBalance): number {
  return ratioOf(checkBalance('layer', layer));
}

/**
 * PAR of a layer: largest rank load / mean rank load. 1 is best, and also the value of a layer without load.
 *
 * @throws as {@link balancedness}
 */
export function peakToAverage(layer: LayerBalance): number {
  return peakOf(checkBalance('layer', layer));
}

/** Balance over layers, as ratio of sums and as mean of ratios. @throws as {@link balancedness} */
export function summarizeBalance(layers: readonly LayerBalance[]): BalanceSummary {
  if (!Array.isArray(layers)) {
    throw new EplbTypeError('EPLB_KIND', `layers: ${show(layers)} is not an array of rank loads`);
  }
  const checked = Array.from(layers, (layer, i) => checkBalance(`layers: layer ${i}`, layer));
  const sum = (value: (layer: LayerBalance) => number) =>
    checked.reduce((total, layer) => total + value(layer), 0);
  const total = {
    maxRankLoad: sum((layer) => layer.maxRankLoad),
    meanRankLoad: sum((layer) => layer.meanRankLoad),
    minRankLoad: 0,
  };
  const mean = (ratio: (layer: LayerBalance) => number) =>
    checked.length === 0 ? 1 : sum(ratio) / checked.length;
  return {
    balancednessRatioOfSums: ratioOf(total),
    balancednessMeanOfRatios: mean(ratioOf),
    peakToAverageRatioOfSums: peakOf(total),
    peakToAverageMeanOfRatios: mean(peakOf),
  };
}

/** The loads that ratios are made of, read once. */
function checkBalance(title: string, layer: LayerBalance): LayerBalance {
  const { maxRankLoad, meanRankLoad, minRankLoad } = checkObject(title, layer);
  checkAtLeast(`${title}: maxRankLoad`, maxRankLoad, 0);
  checkAtLeast(`${title}: meanRankLoad`, meanRankLoad, 0);
  return { maxRankLoad, meanRankLoad, minRankLoad };
}

function ratioOf({ meanRankLoad, maxRankLoad }: LayerBalance): number {
  return maxRankLoad === 0 ? 1 : meanRankLoad / maxRankLoad;
}

function peakOf({ meanRankLoad, maxRankLoad }: LayerBalance): number {
  return meanRankLoad === 0 ? 1 : maxRankLoad / meanRankLoad;
}
