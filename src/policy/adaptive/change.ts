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

/** How to plan, and how long what is planned is expected to stay good. */
export interface PlanOutlook {
  readonly mode: PlanMode;
  /** Steps; undefined where only the loads of each layer can tell. */
  readonly stayingSteps: number | undefined;
}

/**
 * Finds out how to plan, from the newest steps and what is remembered of the live mapping. Every thread of a
 * job finds the same, each for itself.
 *
 * The loads have changed when the mean of the newest steps is further from the expected loads than chance
 * puts it: squared distances, in units of what chance gives in the mean, averaged over all layers. One test
 * for the whole plan: over L layers whose noise is spread over V experts each, a distance of 1 + z sqrt(2 /
 * (L V)) is z standard errors beyond chance.
 */
export function outlookOf(
  search: AdaptiveSearch,
  request: AdaptiveRequest,
  history: JobHistory | undefined,
  memory: PlanMemory,
): PlanOutlook {
  const unknown = { mode: 'anew', stayingSteps: undefined } as const;
  if (history === undefined) return unknown;
  if (history.isInitial) return { mode: 'first', stayingSteps: undefined };
  if (!history.hasMemory || request.confidence === 0) return unknown;
  if (history.numNewSteps > 0 && hasChanged(search, request.confidence, history.numNewSteps, memory)) {
    return unknown;
  }
  const stayingSteps = memory.stayingSteps + history.numNewSteps;
  const isKnownLonger = search.knownSteps >= MUCH_LONGER * memory.knownSteps;
  // What moves cost is worth more the longer loads stay as they are.
  const staysLonger = request.hasCost && stayingSteps >= MUCH_LONGER * memory.stayingSteps;
  return { mode: isKnownLonger || staysLonger ? 'again' : 'keep', stayingSteps };
}

function hasChanged(
  search: AdaptiveSearch,
  confidence: number,
  numNewSteps: number,
  memory: PlanMemory,
): boolean {
  let distances = 0;
  let numVarying = 0;
  let numLayers = 0;
  for (let layer = 0; layer < search.numLayers; layer++) {
    const change = search.change(layer, numNewSteps, memory.expectedAt(layer));
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
