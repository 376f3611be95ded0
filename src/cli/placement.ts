import { inputFile } from '../formats/input-file.ts';
import { nestedNumbers } from '../formats/json/nested-numbers.ts';
import { kindOf, quotePath } from '../formats/text.ts';
import { EplbRangeError, EplbTypeError, ExpertMapping } from '../index.ts';
import { isOwnError } from './own-error.ts';

/** The key under which engines expect the placement: SGLang's `--init-expert-location`. */
const PLACEMENT_KEY = 'physical_to_logical_map';

/** What a placement has to fit. */
export interface PlacementShape {
  readonly numLayers: number;
  readonly numPhysicalExperts: number;
  readonly numLogicalExperts: number;
}

/** A mapping as the rows of engines' placement files: [layers][physical]. */
export function placementRows(mapping: ExpertMapping): number[][] {
  const { numLayers, numPhysicalExperts } = mapping;
  const slots = mapping.phyToLog;
  return Array.from({ length: numLayers }, (_, layer) =>
    Array.from(slots.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts)),
  );
}

/** The text of a placement file, one layer a line. */
export function placementText(mapping: ExpertMapping): string {
  const rows = placementRows(mapping).map((row) => `  ${JSON.stringify(row)}`);
  return `{"${PLACEMENT_KEY}": [\n${rows.join(',\n')}\n]}\n`;
}

/**
 * Reads the placement to start from, as written by `eplb plan --output` or for SGLang, or an ExpertMapping's JSON.
 *
 * @throws EplbError EPLB_FILE or EPLB_FORMAT, EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE when it does not fit,
 *   EPLB_MAPPING when an expert is missing or a slot holds something that is no expert
 */
export async function readPlacement(path: string, shape: PlacementShape): Promise<ExpertMapping> {
  const name = `--from: ${quotePath(path)}`;
  const root = await (await inputFile(path, '--from')).json();
  const mapping = named(name, () => mappingOf(root, name, shape.numLogicalExperts));
  const found = [mapping.numLayers, mapping.numPhysicalExperts, mapping.numLogicalExperts];
  const wanted = [shape.numLayers, shape.numPhysicalExperts, shape.numLogicalExperts];
  if (found.every((size, i) => size === wanted[i])) return mapping;
  throw new EplbRangeError('EPLB_SHAPE', `${name}: it has ${sizes(found)}; the plan has ${sizes(wanted)}`);
}

function mappingOf(root: unknown, name: string, numLogicalExperts: number): ExpertMapping {
  const isObject = typeof root === 'object' && root !== null && !Array.isArray(root);
  if (isObject && Object.hasOwn(root, PLACEMENT_KEY)) {
    const table = (root as Record<string, unknown>)[PLACEMENT_KEY];
    if (!Array.isArray(table)) {
      throw new EplbTypeError(
        'EPLB_KIND',
        `${PLACEMENT_KEY} is ${kindOf(table)}; it must be [layers][physical]`,
      );
    }
    const { shape } = nestedNumbers(table, PLACEMENT_KEY, name);
    if (shape.length !== 2) {
      throw new EplbRangeError(
        'EPLB_SHAPE',
        `${PLACEMENT_KEY} is nested 3 deep; it must be [layers][physical]`,
      );
    }
    return ExpertMapping.fromPhysicalToLogical(table, numLogicalExperts);
  }
  if (isObject && Object.hasOwn(root, 'phyToLog')) return ExpertMapping.fromJSON(root);
  throw new EplbTypeError(
    'EPLB_KIND',
    `the JSON is ${kindOf(root)}; it must be {"${PLACEMENT_KEY}": [layers][physical]}`,
  );
}

/** Runs `work` and puts the file's name in front of what the library says is wrong with its content. */
function named<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isOwnError(error)) {
      if (!error.message.startsWith(name)) error.message = `${name}: ${error.message}`;
    }
    throw error;
  }
}

function sizes(counts: readonly number[]): string {
  return `${counts[0]} layers, ${counts[1]} slots and ${counts[2]} logical experts`;
}
