import { checkObject, checkText, checkWhole } from '../../core/checks.ts';
import { checkKnownKeys } from '../../core/known-keys.ts';
import { MAX_SIZE } from '../../core/topology.ts';
import { checkPlacement } from './check-placement.ts';
import type { Placement, PlacementWriteOptions, WrittenPlacement } from './placement.ts';
import { placementFormat } from './registry.ts';

/**
 * Writes a placement as the bytes of a file.
 *
 * @param format - the format's name, such as `sglang`
 * @throws EplbError `EPLB_OPTION` for an unknown name or a missing option, EplbRangeError `EPLB_MAPPING` if
 *   the format cannot express the placement
 */
export async function writePlacement(
  placement: Placement,
  format: string,
  options: PlacementWriteOptions = {},
): Promise<WrittenPlacement> {
  const { numRanks, firstLayer } = checkObject('options', options);
  checkKnownKeys('options', options, ['numRanks', 'firstLayer']);
  if (numRanks !== undefined) checkWhole('numRanks', numRanks, 1, MAX_SIZE);
  if (firstLayer !== undefined) checkWhole('firstLayer', firstLayer, 0, MAX_SIZE);
  const writer = placementFormat(checkText('format', format), 'format');
  return writer.write(checkPlacement(placement), { numRanks, firstLayer });
}
