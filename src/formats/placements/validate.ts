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
 * Reports whether engines would accept a placement. It checks that every expert has a slot, that all ranks
 * have equally many slots and no expert twice, how layers are numbered, and the sizes of tables that an
 * engine limits. A bad placement does not throw; a value that is not a placement does.
 *
 * @param options.numRanks - by default the file's own; without any, whatever depends on ranks remains unknown
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
