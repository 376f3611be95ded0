import type { Placement, PlacementWriteOptions, WrittenPlacement } from './placement.ts';
import { placementFormat } from './table.ts';

/**
 * A placement as the bytes of a file.
 *
 * @param format - the format's name, such as `sglang`
 * @throws EplbError EPLB_OPTION when the name is unknown or an option is needed that is not there, EplbRangeError
 *   EPLB_MAPPING when the format cannot say what the placement holds
 */
export async function writePlacement(
  placement: Placement,
  format: string,
  options: PlacementWriteOptions = {},
): Promise<WrittenPlacement> {
  return placementFormat(format, 'format').write(placement, options);
}
