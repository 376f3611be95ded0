import { alignLayers, type LayersBeside } from '../formats/placements/align.ts';
import { mappingOf, placementFrom } from '../formats/placements/mapping.ts';
import { openPlacement } from '../formats/placements/open.ts';
import type { PlacementFormat, WrittenPlacement } from '../formats/placements/placement.ts';
import type { LoadRecording } from '../formats/recording.ts';
import { quotePath } from '../formats/text.ts';
import { EplbRangeError, type ExpertMapping, type Topology } from '../index.ts';
import { sayingErrors } from './error-message.ts';

/**
 * Reads the placement to start from, of any known format.
 *
 * @param layers - the layers that are planned: a placement may have more
 * @throws EplbError EPLB_FILE or EPLB_FORMAT, EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE when it does
 *   not fit, EPLB_MAPPING when an expert is missing or a slot holds something that is not an expert
 */
export async function readStartingPlacement(
  path: string,
  topology: Topology,
  layers: LayersBeside,
): Promise<ExpertMapping> {
  const name = `--start-from: ${quotePath(path)}`;
  const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = topology;
  const read = await openPlacement(path, { field: '--start-from', numExperts: numLogicalExperts });
  const placement = alignLayers(read, layers, name);
  const found = [placement.numLayers, placement.numPhysicalExperts];
  if (found[0] !== numLayers || found[1] !== numPhysicalExperts) {
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${name}: it has ${sizes(found)}; the plan has ${sizes([numLayers, numPhysicalExperts])}`,
    );
  }
  if (placement.numRanks !== undefined && placement.numRanks !== numRanks) {
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${name}: it has ${placement.numRanks} ranks; the plan has ${numRanks}`,
    );
  }
  const say = (message: string) => (message.startsWith(name) ? message : `${name}: ${message}`);
  return sayingErrors(say, () => mappingOf(placement));
}

/**
 * A planned mapping as the bytes of a file. Layers are numbered as in the recording, unless `firstLayer`
 * is given.
 *
 * @throws EplbError EPLB_OPTION, EplbRangeError EPLB_MAPPING as the format does
 */
export async function placementFile(
  mapping: ExpertMapping,
  format: PlacementFormat,
  recording: LoadRecording,
  { numRanks, firstLayer }: { numRanks: number; firstLayer: number | undefined },
): Promise<WrittenPlacement> {
  const { layerNumbers } = recording;
  const placement = placementFrom(mapping, layerNumbers === undefined ? {} : { layerNumbers });
  return format.write(placement, { numRanks, firstLayer });
}

function sizes(counts: readonly (number | undefined)[]): string {
  return `${counts[0]} layers and ${counts[1]} slots`;
}
