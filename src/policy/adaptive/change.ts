import type { JobHistory } from '../../engine/plan-job.ts';
import type { PlanMemory } from './memory.ts';
import type { AdaptiveRequest } from './request.ts';
import type { AdaptiveSearch } from './search.ts';

/**
 * How to plan: 'first' where the live mapping was made for no loads; 'anew' for loads that have changed, or
 * of which nothing is remembered; 'again' for the same loads, of which much more is known by now; 'keep' for
 * the same loads.
 */
export type PlanMode = 'first' | 'anew' | 'again' | 'keep';

/** Known this many times as long, loads that have not changed are planned for once more. */
const MUCH_LONGER = 2;
/** Distances are squared, and so is what rounding alone makes of loads of 1. */
const ROUNDING = 1e-10;

/** How to plan a layer, and how long what is planned is expected to stay good. */
export interface PlanOutlook {
  readonly mode: PlanMode;
  /** Steps; undefined where only the loads of each layer can tell. */
  readonly stayingSteps: number | undefined;
}

const UNKNOWN: PlanOutlook = { mode: 'anew', stayingSteps: undefined };
const FIRST: PlanOutlook = { mode: 'first', stayingSteps: undefined };

/**
 * Finds out how to plan each layer, from the newest steps and what is remembered of the live mapping. Every
 * thread of a job finds the same, each for itself.
 *
 * The loads have changed when the mean of the newest steps is further from the expected loads than chance
 * puts it: squared distances, in units of what chance gives in the mean, averaged over all layers. One test
 * for the whole plan: over L layers whose noise is spread over V experts each, a distance of 1 + z sqrt(2 /
 * (L V)) is z standard errors beyond chance.
 */
export function outlooksOf(
  search: AdaptiveSearch,
  request: AdaptiveRequest,
  history: JobHistory | undefined,
  memory: PlanMemory,
): PlanOutlook[] {
  const layers = Array.from({ length: search.numLayers }, (_, layer) => layer);
  if (history === undefined) return layers.map(() => UNKNOWN);
  // Loads that are given are told from the window's by nothing; but pairs are always given.
  if (!history.isOfWindow && !(history.isInitial && request.linkPrice > 0)) return layers.map(() => UNKNOWN);
  if (history.isInitial) return layers.map(() => FIRST);
  if (!history.hasMemory) return layers.map(() => UNKNOWN);
  const numNewSteps = layers.map((layer) => history.numNewSteps + memory.extraSteps(layer));
  const { confidence } = request;
  const isUnknown = confidence === 0 || hasChanged(search, confidence, numNewSteps, memory);
  return layers.map((layer) => {
    if (memory.isForNoLoads(layer)) return FIRST;
    if (isUnknown || !memory.isPlanned(layer)) return UNKNOWN;
    const stayingSteps = memory.stayingSteps(layer) + numNewSteps[layer]!;
    const isKnownLonger = search.knownSteps >= MUCH_LONGER * memory.knownSteps(layer);
    // What moves cost is worth more the longer loads stay as they are.
    const staysLonger = request.hasCost && stayingSteps >= MUCH_LONGER * memory.stayingSteps(layer);
    return { mode: isKnownLonger || staysLonger ? 'again' : 'keep', stayingSteps };
  });
}

/** @param numNewSteps `[layers]` */
function hasChanged(
  search: AdaptiveSearch,
  confidence: number,
  numNewSteps: readonly number[],
  memory: PlanMemory,
): boolean {
  let distances = 0;
  let numVarying = 0;
  let numLayers = 0;
  for (const [layer, newSteps] of numNewSteps.entries()) {
    if (newSteps === 0 || !memory.isPlanned(layer)) continue;
    const change = search.change(layer, newSteps, memory.expectedAt(layer));
    if (change.numNewSteps === 0) continue;
    const telling = Math.max(memory.tellingSteps(layer), 1);
    const byChance = change.noise * (1 / telling + 1 / change.numNewSteps) + ROUNDING;
    distances += change.distance / byChance;
    numVarying += change.numVarying;
    numLayers++;
  }
  if (numLayers === 0) return false;
  return distances / numLayers > 1 + confidence * Math.sqrt(2 / numVarying);
}
