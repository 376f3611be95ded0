import type { Topology } from '../../core/topology.ts';
import type { KeptReason, PlanForecast } from '../decision.ts';
import type { AdaptiveSettings } from './options.ts';
import { movesAtOnce } from './price.ts';
import { expectedGain, hasRungs, LayerStat, STATS_PER_LAYER } from './request.ts';

/** Whether what was found is worth its moves, and what to expect of it. */
export type Judgement =
  | { readonly status: 'planned'; readonly forecast: PlanForecast }
  | { readonly status: 'kept'; readonly reason: KeptReason };

/**
 * Judges the placements of all layers together.
 *
 * @param stats f64[layers x STATS_PER_LAYER]: see LayerStat
 * @param isSame whether all slots have the experts that they had
 */
export function judge(
  settings: AdaptiveSettings,
  topology: Topology,
  stats: Float64Array,
  isSame: boolean,
): Judgement {
  const { maxMoves, maxMovesPerLayer } = settings.request;
  // What is infeasible has to change, whatever it costs.
  const mustChange = columnOf(stats, LayerStat.MUST_CHANGE).includes(1);
  if (isSame || (!mustChange && sumOf(stats, LayerStat.MOVES) === 0)) {
    const isLimited = maxMovesPerLayer < topology.numPhysicalExperts || hasRungs(settings.request, topology);
    const isBarred = Math.min(maxMoves, maxMovesPerLayer) === 0 || (mustChange && isLimited);
    return { status: 'kept', reason: isBarred ? 'no moves allowed' : reasonToStay(settings, stats) };
  }
  const forecast = foresee(settings, topology, stats);
  // A price of 0 says that moves are free, whatever they take: the forecast still tells their seconds.
  const isFree = settings.request.fixedPrice === 0;
  const isDear = settings.request.hasCost && (isFree ? 0 : forecast.secondsSpent) >= forecast.secondsGained;
  if (isDear && !mustChange)
    return { status: 'kept', reason: isFree ? 'nothing better' : 'costs more than it returns' };
  return { status: 'planned', forecast };
}

/** Why no layer has moves. */
function reasonToStay({ request }: AdaptiveSettings, stats: Float64Array): KeptReason {
  const isUnchanged = columnOf(stats, LayerStat.IS_UNCHANGED).includes(1);
  if (isUnchanged || !columnOf(stats, LayerStat.IS_NOISE).includes(0)) return 'within noise';
  const isPriced = request.fixedPrice !== 0 && columnOf(stats, LayerStat.FREE_GAIN).some((gain) => gain > 0);
  return isPriced ? 'under the price' : 'nothing better';
}

function foresee({ cost, request }: AdaptiveSettings, topology: Topology, stats: Float64Array): PlanForecast {
  const gainPerLayer = Float64Array.from(layersOf(stats), expectedGain);
  const loads = columnOf(stats, LayerStat.MEAN_RANK_LOAD);
  const steps = columnOf(stats, LayerStat.STAYING_STEPS);
  const moves = sumOf(stats, LayerStat.MOVES);
  const between = sumOf(stats, LayerStat.MOVES_BETWEEN_NODES);
  const { secondsAtBalance, secondsPerLoad, bytesPerExpert } = cost;
  const secondsPerLayer = gainPerLayer.map(
    (gain, layer) => gain * (secondsAtBalance ?? loads[layer]! * secondsPerLoad),
  );
  const secondsGained = secondsPerLayer.reduce((sum, seconds, layer) => sum + seconds * steps[layer]!, 0);
  return {
    gainPerLayer,
    secondsPerLayer,
    moves,
    bytes: moves * bytesPerExpert,
    steps: sumOf(stats, LayerStat.STAYING_STEPS) / steps.length,
    secondsGained,
    secondsSpent:
      (bytesPerExpert / movesAtOnce(request, topology)) *
      ((moves - between) / cost.bandwidthWithinNode + between / cost.bandwidthBetweenNodes),
  };
}

/** f64[STATS_PER_LAYER] each. */
function layersOf(stats: Float64Array): Float64Array[] {
  return Array.from({ length: stats.length / STATS_PER_LAYER }, (_, layer) =>
    stats.subarray(layer * STATS_PER_LAYER, (layer + 1) * STATS_PER_LAYER),
  );
}

function columnOf(stats: Float64Array, stat: number): Float64Array {
  return Float64Array.from(layersOf(stats), (layer) => layer[stat]!);
}

function sumOf(stats: Float64Array, stat: number): number {
  return columnOf(stats, stat).reduce((sum, value) => sum + value, 0);
}
