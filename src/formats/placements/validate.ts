import { checkObject, checkWhole } from '../../core/checks.ts';
import { checkKnownKeys } from '../../core/known-keys.ts';
import { MAX_SIZE } from '../../core/topology.ts';
import { checkPlacement } from './check-placement.ts';
import { type EngineVerdict, judgePlacement } from './engines.ts';
import { inspectPlacement, type PlacementFacts } from './inspect.ts';
import type { Placement } from './placement.ts';

/** What is so about a placement, and what engines make of it. */
export interface PlacementValidation {
  readonly facts: PlacementFacts;
  readonly engines: readonly EngineVerdict[];
}

/**
 * Reports whether engines would take a placement: every expert in a slot, as many slots on each rank, no
 * expert twice on a rank, the layers' numbers, and the sizes of tables that an engine limits. Nothing is
 * thrown for a bad placement, but for what is none.
 *
 * @param options.numRanks - the file's own when left out; without any, what depends on ranks is not known
 */
export function validatePlacement(
  placement: Placement,
  options: { readonly numRanks?: number | undefined } = {},
): PlacementValidation {
  const { numRanks } = checkObject('options', options);
  checkKnownKeys('options', options, ['numRanks']);
  if (numRanks !== undefined) checkWhole('numRanks', numRanks, 1, MAX_SIZE);
  const facts = inspectPlacement(checkPlacement(placement), numRanks);
  return { facts, engines: judgePlacement(facts) };
}
