import { checkObject, checkText, checkWhole, show } from '../../core/checks.ts';
import { EplbError, EplbTypeError } from '../../core/errors.ts';
import { checkKnownKeys } from '../../core/known-keys.ts';
import { MAX_SIZE } from '../../core/topology.ts';
import { type InputFile, inputBytes, inputFile } from '../input-file.ts';
import { kindOf, quote, shapeText } from '../text.ts';
import { readContent } from './content.ts';
import { keyProblemsOf } from './loader-keys.ts';
import type { Content, Placement, PlacementReadOptions } from './placement.ts';
import { PLACEMENT_FORMATS, placementFormat, recognisePlacement } from './registry.ts';

/** What messages call the file when nothing else is said. */
const FIELD = 'placement';

/** How a placement is to be read. */
export interface OpenPlacementOptions extends PlacementReadOptions {
  /** Name of its format; recognised by the content when left out. */
  readonly format?: string | undefined;
  /** Logical experts of a layer, where the file does not have it: else one more than the greatest id. */
  readonly numExperts?: number | undefined;
  /** What the file is to the caller, for messages: `--from`. */
  readonly field?: string;
}

/**
 * Reads a placement from a file of any known format. It does not check whether the placement is valid: see
 * {@link mappingOf}. Reading takes at most 8 times the size of the file in memory, plus 160 MiB. Texts over
 * 64 MiB and other files over 257 MiB are refused.
 *
 * @throws EplbError `EPLB_FILE`, `EPLB_FORMAT` or `EPLB_OPTION`, EplbTypeError `EPLB_KIND`, EplbRangeError
 *   `EPLB_SHAPE` or `EPLB_MAPPING`
 */
export async function openPlacement(path: string, options: OpenPlacementOptions = {}): Promise<Placement> {
  const checked = checkOptions(options);
  return readPlacement(await inputFile(checkText('path', path), checked.field ?? FIELD), checked);
}

/** Like {@link openPlacement}, for bytes in memory. @param path - for messages */
export async function parsePlacement(
  bytes: Uint8Array,
  options: OpenPlacementOptions = {},
  path = 'bytes',
): Promise<Placement> {
  const checked = checkOptions(options);
  if (!(bytes instanceof Uint8Array)) {
    throw new EplbTypeError('EPLB_KIND', `bytes: ${show(bytes)} is not a Uint8Array`);
  }
  return readPlacement(inputBytes(bytes, checkText('path', path), checked.field ?? FIELD), checked);
}

function checkOptions(options: OpenPlacementOptions): OpenPlacementOptions {
  const { format, numExperts, field, denseRows } = checkObject('options', options);
  checkKnownKeys('options', options, ['format', 'numExperts', 'field', 'denseRows']);
  if (format !== undefined) checkText('format', format);
  if (field !== undefined) checkText('field', field);
  if (numExperts !== undefined) checkWhole('numExperts', numExperts, 1, MAX_SIZE);
  if (denseRows !== undefined) checkWhole('denseRows', denseRows, 0, MAX_SIZE);
  return { format, numExperts, denseRows, ...(field === undefined ? {} : { field }) };
}

/** {@link openPlacement} on a file that is already found. It is closed afterwards. */
async function readPlacement(file: InputFile, options: OpenPlacementOptions): Promise<Placement> {
  const wanted = options.format === undefined ? undefined : placementFormat(options.format, 'format');
  try {
    const content = await readContent(file);
    checkNoReport(content, file.name);
    const format = wanted ?? recognisePlacement(content);
    if (format === undefined) throw unknownError(content, file.name);
    const placement = format.read(content, file.name, options);
    const { numLogicalExperts } = placement;
    const notes = 'notes' in content ? [...placement.notes, ...(content.notes ?? [])] : placement.notes;
    const keyProblems = keyProblemsOf(format.name, content);
    return {
      ...placement,
      notes,
      numLogicalExperts: options.numExperts ?? numLogicalExperts,
      ...(keyProblems.length === 0 ? {} : { keyProblems }),
    };
  } finally {
    await file.close();
  }
}

/** What `eplb plan --json` prints has the table of a placement among much else, and no engine takes it. */
function checkNoReport(content: Content, name: string): void {
  const value = content.container === 'json' ? content.value : undefined;
  if (typeof value !== 'object' || value === null) return;
  if (!['physical_to_logical_map', 'planningMs', 'topology'].every((key) => Object.hasOwn(value, key)))
    return;
  throw new EplbError(
    'EPLB_FORMAT',
    `${name} is what eplb plan --json prints, and no placement: eplb plan -o FILE writes one`,
  );
}

function unknownError(content: Content, name: string): EplbError {
  const known = PLACEMENT_FORMATS.map((format) => format.name).join(', ');
  return new EplbError(
    'EPLB_FORMAT',
    `${name} holds no placement (${summary(content)}); known formats are ${known}`,
  );
}

function summary(content: Content): string {
  if (content.container === 'npy') return `an array of shape ${shapeText(content.array.shape)}`;
  if (content.container === 'npz') {
    const names = [...content.arrays.keys()].slice(0, 5).map((key) => quote(key));
    return `arrays named ${names.join(', ')}`;
  }
  return `${content.container}: ${kindOf(content.value)}`;
}
