import { addShared, rankSpeedsOf, weighRanks } from '../../core/rank-speeds.ts';
import { sharedLoads } from '../../core/rules.ts';
import type { Topology } from '../../core/topology.ts';
import type { LoadMatrix } from '../../loads/load-matrix.ts';
import { type ExpertMapping, replicaCountOf, tablesOf } from '../../mapping/expert-mapping.ts';
import type { HotCell, RankMap } from './view.ts';

/** Loads of a step, and the mapping that they were measured under. */
export interface StepLoads {
  readonly kind: 'logical' | 'physical';
  /** [layers x experts] or [layers x slots] */
  readonly loads: LoadMatrix;
  readonly mapping: ExpertMapping;
}

/** What ranks did in a step: of those that differ in speed, how long it took them, load / speed. */
export interface RankLoads {
  readonly numLayers: number;
  readonly numRanks: number;
  /** [layers x ranks] */
  readonly loads: Float64Array;
  /** [layers]: what each rank would have at balance. */
  readonly means: Float64Array;
  readonly deadRanks: readonly number[];
  readonly tokens: number;
  /** Sum of the means / sum of the largest, over the layers. */
  readonly balancedness: number;
}

/** @returns undefined for loads of other ranks than those there are now */
export function rankLoadsOf({ kind, loads, mapping }: StepLoads, topology: Topology): RankLoads | undefined {
  const { numRanks, deadRanks = [] } = topology;
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = tablesOf(mapping);
  if (numPhysicalExperts !== topology.numPhysicalExperts) return undefined;
  const counts = replicaCountOf(mapping);
  const slotsPerRank = numPhysicalExperts / numRanks;
  const all = new Float64Array(numLayers * numRanks);
  const means = new Float64Array(numLayers);
  const speeds = rankSpeedsOf(topology) ?? new Float64Array(numRanks).fill(1);
  const shared = sharedLoads(topology);
  let tokens = 0;
  let sumOfMost = 0;
  for (let layer = 0; layer < numLayers; layer++) {
    const own = all.subarray(layer * numRanks, (layer + 1) * numRanks);
    for (let slot = 0; slot < numPhysicalExperts; slot++) {
      const at = layer * numPhysicalExperts + slot;
      const expert = phyToLog[at]!;
      if (expert < 0) continue;
      const experts = layer * numLogicalExperts + expert;
      const load = kind === 'physical' ? loads.data[at]! : loads.data[experts]! / counts[experts]!;
      own[Math.floor(slot / slotsPerRank)]! += load;
    }
    for (const load of own) tokens += load;
    if (shared !== undefined) addShared(own, shared);
    const { most, mean } = weighRanks(own, speeds);
    means[layer] = mean;
    sumOfMost += most;
  }
  const sumOfMeans = means.reduce((sum, mean) => sum + mean, 0);
  const balancedness = sumOfMost === 0 ? 1 : sumOfMeans / sumOfMost;
  return { numLayers, numRanks, loads: all, means, deadRanks, tokens, balancedness };
}

/** Cells of a picture in one direction: of more layers or ranks each shows the highest of several. */
const MOST_CELLS = 128;
/** The byte of a cell without a rank that lives. */
const DEAD = 255;
const MOST_HOT = 8;

/** A picture's cells, 24 kB at most whatever the group's size. */
export function rankMapOf(ranks: RankLoads, about: Pick<RankMap, 'step' | 'epoch' | 'measured'>): RankMap {
  const { numLayers, numRanks, loads, means, deadRanks, tokens } = ranks;
  const layersPerRow = Math.ceil(numLayers / MOST_CELLS);
  const ranksPerColumn = Math.ceil(numRanks / MOST_CELLS);
  const rows = Math.ceil(numLayers / layersPerRow);
  const columns = Math.ceil(numRanks / ranksPerColumn);
  const isDead = new Uint8Array(numRanks);
  for (const rank of deadRanks) isDead[rank] = 1;
  const shares = new Float64Array(rows * columns).fill(-1);
  const hottest: HotCell[] = [];
  for (let layer = 0; layer < numLayers; layer++) {
    for (let rank = 0; rank < numRanks; rank++) {
      const mean = means[layer]!;
      const share = mean === 0 ? 0 : loads[layer * numRanks + rank]! / mean;
      // One that died holds load until it is repaired.
      if (isDead[rank] === 1 && share === 0) continue;
      const cell = Math.floor(layer / layersPerRow) * columns + Math.floor(rank / ranksPerColumn);
      shares[cell] = Math.max(shares[cell]!, share);
      keepHottest(hottest, { layer, rank, share });
    }
  }
  const scale = Math.max(1, ...hottest.map(({ share }) => share)) / (DEAD - 1);
  const cells = Buffer.from(Array.from(shares, (share) => (share < 0 ? DEAD : Math.round(share / scale))));
  return {
    ...{ ...about, tokens: Math.round(tokens), rows, columns, layersPerRow, ranksPerColumn, scale },
    cells: cells.toString('base64'),
    hottest: hottest.map((cell) => ({ ...cell, share: Number(cell.share.toPrecision(4)) })),
  };
}

function keepHottest(hottest: HotCell[], cell: HotCell): void {
  const { share } = cell;
  if (share === 0 || (hottest.length === MOST_HOT && share <= hottest.at(-1)!.share)) return;
  const at = hottest.findIndex((other) => other.share < share);
  hottest.splice(at < 0 ? hottest.length : at, 0, cell);
  hottest.length = Math.min(hottest.length, MOST_HOT);
}
