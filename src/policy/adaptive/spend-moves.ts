import { isCancelled, type JobLayout, jobWords } from '../../engine/layout.ts';
import type { PlanTables } from '../../engine/plan-tables.ts';
import { numberReplicas } from '../../mapping/number-replicas.ts';
import {
  type AdaptiveRequest,
  CHOSEN_STATS,
  carveAdaptiveData,
  hasRungs,
  LayerStat,
  NUM_RUNGS,
  STATS_PER_LAYER,
} from './request.ts';

/** A placement that a layer may get. Rung -1 is its plan, -2 the live placement. */
interface Choice {
  readonly rung: number;
  readonly moves: number;
  readonly gain: number;
}

/** From one choice of a layer to a dearer one. */
interface Raise {
  readonly layer: number;
  readonly moves: number;
  readonly slope: number;
  readonly to: Choice;
}

const LIVE = -2;
const PLAN = -1;
/**
 * Sees to it that all layers together move no more than a finished job may: starts all layers from the least
 * they may move, and gives moves to the layer where the next ones gain most each. Layers that have to change
 * do so whatever the limit is.
 */
export function spendMoves(
  buffer: ArrayBufferLike,
  layout: JobLayout,
  request: AdaptiveRequest,
  out: PlanTables,
): void {
  const { numLayers } = layout.topology;
  if (!hasRungs(request, layout.topology)) return;
  const data = carveAdaptiveData(layout.topology, request, layout.kernelData);
  const stats = new Float64Array(buffer, data.stats, numLayers * STATS_PER_LAYER);
  const rungStats = new Float64Array(buffer, data.rungStats, numLayers * NUM_RUNGS * STATS_PER_LAYER);
  let planned = 0;
  for (let at = LayerStat.MOVES; at < stats.length; at += STATS_PER_LAYER) planned += stats[at]!;
  if (planned <= request.maxMoves) return;
  const hulls = Array.from({ length: numLayers }, (_, layer) => hullOf(choicesOf(stats, rungStats, layer)));
  const chosen = hulls.map((hull) => hull[0]!);
  let left = request.maxMoves - chosen.reduce((sum, { moves }) => sum + moves, 0);
  const isStopped = new Uint8Array(numLayers);
  for (const { layer, moves, to } of raisesOf(hulls)) {
    if (moves > left) isStopped[layer] = 1;
    if (isStopped[layer] === 1) continue;
    chosen[layer] = to;
    left -= moves;
  }
  const words = jobWords(buffer, layout);
  for (const [layer, { rung }] of chosen.entries()) {
    if (isCancelled(words)) return;
    takeRung(buffer, layout, request, out, layer, rung);
  }
}

/** What a layer may get, with fewer moves first. */
function choicesOf(stats: Float64Array, rungStats: Float64Array, layer: number): Choice[] {
  const read = (of: Float64Array, at: number, rung: number): Choice => ({
    rung,
    moves: of[at * STATS_PER_LAYER + LayerStat.MOVES]!,
    gain: of[at * STATS_PER_LAYER + LayerStat.SMOOTH_GAIN]!,
  });
  const choices = [read(stats, layer, PLAN)];
  for (let rung = 0; rung < NUM_RUNGS; rung++) choices.push(read(rungStats, layer * NUM_RUNGS + rung, rung));
  const mustChange = stats[layer * STATS_PER_LAYER + LayerStat.MUST_CHANGE] === 1;
  if (!mustChange) choices.push({ rung: LIVE, moves: 0, gain: 0 });
  return choices.sort((a, b) => a.moves - b.moves || b.gain - a.gain);
}

/**
 * The choices that are best for some value of a move: each gains more than the one before, and less a move
 * than that did.
 */
function hullOf(choices: readonly Choice[]): Choice[] {
  const hull: Choice[] = [];
  for (const choice of choices) {
    const last = hull.at(-1);
    if (last !== undefined && choice.gain <= last.gain) continue;
    while (hull.length > 1 && slope(hull.at(-2)!, hull.at(-1)!) <= slope(hull.at(-1)!, choice)) hull.pop();
    hull.push(choice);
  }
  return hull;
}

function slope(from: Choice, to: Choice): number {
  return to.moves === from.moves ? Number.POSITIVE_INFINITY : (to.gain - from.gain) / (to.moves - from.moves);
}

/** All steps along all hulls, those that gain most a move first. */
function raisesOf(hulls: readonly Choice[][]): Raise[] {
  const raises = hulls.flatMap((hull, layer) =>
    hull.slice(1).map((to, i) => {
      const from = hull[i]!;
      return { layer, to, moves: to.moves - from.moves, slope: slope(from, to) };
    }),
  );
  // A stable sort: of equal ones the lower layer, and in it the cheaper one, comes first.
  return raises.sort((a, b) => b.slope - a.slope);
}

function takeRung(
  buffer: ArrayBufferLike,
  layout: JobLayout,
  request: AdaptiveRequest,
  out: PlanTables,
  layer: number,
  rung: number,
): void {
  if (rung === PLAN) return;
  const { numPhysicalExperts, numLogicalExperts } = layout.topology;
  const data = carveAdaptiveData(layout.topology, request, layout.kernelData);
  const tableAt = (pointer: number, row: number) =>
    new Int32Array(buffer, pointer + 4 * row * numPhysicalExperts, numPhysicalExperts);
  const statsAt = (pointer: number, row: number) =>
    new Float64Array(buffer, pointer + 8 * row * STATS_PER_LAYER, STATS_PER_LAYER);
  const stats = statsAt(data.stats, layer);
  const row = (table: Int32Array) =>
    table.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
  const phyToLog = row(out.phyToLog);
  const isLive = rung === LIVE;
  phyToLog.set(isLive ? tableAt(layout.previous, layer) : tableAt(data.rungs, layer * NUM_RUNGS + rung));
  const from = isLive ? undefined : statsAt(data.rungStats, layer * NUM_RUNGS + rung);
  for (const stat of CHOSEN_STATS) stats[stat] = from?.[stat] ?? 0;
  const counts = new Int32Array(numLogicalExperts);
  numberReplicas(phyToLog, row(out.replicaRank), counts);
  out.replicaCount?.set(counts, layer * numLogicalExperts);
}
