import type { KeptReason, PlanForecast } from '../decision.ts';
import type { AdaptiveSettings } from './options.ts';
import { LayerStat, STATS_PER_LAYER } from './request.ts';

/** Whether what was found is worth its moves, and what to expect of it. */
export type Judgement =
  | { readonly status: 'planned'; readonly forecast: PlanForecast }
  | { readonly status: 'kept'; readonly reason: KeptReason };

/**
 * Judges the placements of all layers together.
 *
 * @param stats f64[layers x STATS_PER_LAYER]: see LayerStat
 */
export function judge(settings: AdaptiveSettings, stats: Float64Array): Judgement {
  const { maxMoves, maxMovesPerLayer } = settings.request;
  // What is infeasible has to change, whatever it costs.
  const mustChange = columnOf(stats, LayerStat.MUST_CHANGE).includes(1);
  if (!mustChange) {
    if (Math.min(maxMoves, maxMovesPerLayer) === 0) return { status: 'kept', reason: 'no moves allowed' };
    if (sumOf(stats, LayerStat.MOVES) === 0) return { status: 'kept', reason: reasonToStay(settings, stats) };
    if (!isSure(settings.confidence, stats)) return { status: 'kept', reason: 'within noise' };
  }
  const forecast = foresee(settings, stats);
  const isDear = settings.hasCost && forecast.secondsSpent >= forecast.secondsGained;
  if (isDear && !mustChange) return { status: 'kept', reason: 'costs more than it returns' };
  return { status: 'planned', forecast };
}

/** Why no layer has moves. */
function reasonToStay({ isFree }: AdaptiveSettings, stats: Float64Array): KeptReason {
  if (!columnOf(stats, LayerStat.IS_NOISE).includes(0)) return 'within noise';
  const isPriced = !isFree && columnOf(stats, LayerStat.FREE_GAIN).some((gain) => gain > 0);
  return isPriced ? 'under the price' : 'nothing better';
}

/**
 * Whether plans gain, by so many standard errors, on the samples that they were not made from. Each layer in
 * each of these samples is one observation. Layers that do not move are none: they would make the mean look
 * surer than it is.
 */
function isSure(confidence: number, stats: Float64Array): boolean {
  const n = sumOf(stats, LayerStat.TRIAL_SAMPLES);
  // Not tried, as it was not asked for or there were too few samples: then the price alone decides.
  if (confidence === 0 || n === 0) return true;
  const mean = sumOf(stats, LayerStat.TRIAL_GAIN) / n;
  const variance = Math.max(0, sumOf(stats, LayerStat.TRIAL_SQUARES) / n - mean * mean) / Math.max(n - 1, 1);
  return mean > 0 && mean >= confidence * Math.sqrt(variance);
}

function foresee({ cost }: AdaptiveSettings, stats: Float64Array): PlanForecast {
  const share = realShare(stats);
  const gainPerLayer = columnOf(stats, LayerStat.GAIN).map((gain) => gain * share);
  const loads = columnOf(stats, LayerStat.MEAN_RANK_LOAD);
  const moves = sumOf(stats, LayerStat.MOVES);
  const between = sumOf(stats, LayerStat.MOVES_BETWEEN_NODES);
  const loadGained = gainPerLayer.reduce((sum, gain, layer) => sum + gain * loads[layer]!, 0);
  return {
    gainPerLayer,
    moves,
    bytes: moves * cost.bytesPerExpert,
    secondsGained: loadGained * cost.secondsPerLoad * cost.stepsPerPlan,
    secondsSpent:
      cost.bytesPerExpert *
      ((moves - between) / cost.bandwidthWithinNode + between / cost.bandwidthBetweenNodes),
  };
}

/**
 * How much of what a plan gains on its own samples it gains on others, from 0 to 1; 1 when it was not tried.
 */
function realShare(stats: Float64Array): number {
  const n = sumOf(stats, LayerStat.TRIAL_SAMPLES);
  if (n === 0) return 1;
  const own = sumOf(stats, LayerStat.TRIAL_OWN_GAIN) / sumOf(stats, LayerStat.TRIAL_OWN_SAMPLES);
  const others = sumOf(stats, LayerStat.TRIAL_GAIN) / n;
  return own > 0 ? Math.min(1, Math.max(0, others / own)) : 1;
}

function columnOf(stats: Float64Array, stat: number): Float64Array {
  return Float64Array.from(
    { length: stats.length / STATS_PER_LAYER },
    (_, layer) => stats[layer * STATS_PER_LAYER + stat]!,
  );
}

function sumOf(stats: Float64Array, stat: number): number {
  return columnOf(stats, stat).reduce((sum, value) => sum + value, 0);
}
