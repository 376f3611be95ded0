import { EplbError } from '../core/errors.ts';
import { placementIn } from './array-kind.ts';
import { type InputFile, inputFile } from './input-file.ts';
import { LOAD_FORMATS, recogniseLoads } from './loads/registry.ts';
import { isDirectory } from './open.ts';
import { readContent } from './placements/content.ts';
import type { Content, NumberArray } from './placements/placement.ts';
import { PLACEMENT_FORMATS, recognisePlacement } from './placements/registry.ts';
import { nestedTable } from './placements/whole-table.ts';
import { quote } from './text.ts';

/** What a file holds. */
type FileKind = 'loads' | 'placement';

/** The largest file that is looked through for a placement in an array: a larger one holds loads. */
const MOST_BYTES = 2 ** 26;

/**
 * Whether a file holds a placement or recorded loads. Most formats hold one of the two. An array of numbers
 * may be either: with a -1 in it, it is a placement; if every row holds the numbers 0 to some n and no
 * others, it is one too, and if n is so small that this may be chance, or the array could be a pattern of 0
 * and 1, the caller has to say.
 *
 * @param format - name of the format, when given
 * @param field - what the file is to the caller, for messages
 * @throws EplbError EPLB_FILE, EPLB_FORMAT when it is neither, EPLB_OPTION when it may be both or the format
 *   is unknown
 */
export async function kindOfFile(path: string, format: string | undefined, field: string): Promise<FileKind> {
  const asLoads = LOAD_FORMATS.some(({ name }) => name === format);
  const asPlacement = PLACEMENT_FORMATS.some(({ name }) => name === format);
  if (format !== undefined && !asLoads && !asPlacement) {
    const known = [...LOAD_FORMATS, ...PLACEMENT_FORMATS].map(({ name }) => name);
    const names = [...new Set(known)].join(', ');
    throw new EplbError('EPLB_OPTION', `--from: ${quote(format)} is not a format; known are ${names}`);
  }
  if (asLoads !== asPlacement) return asLoads ? 'loads' : 'placement';
  if (await isDirectory(path)) return 'loads';
  const file = await inputFile(path, field);
  try {
    return await kindOfContent(file, format);
  } finally {
    await file.close();
  }
}

async function kindOfContent(file: InputFile, format: string | undefined): Promise<FileKind> {
  const loads = await recogniseLoads(file);
  // Some engines have one name for both.
  if (format !== undefined) return loads?.name === format ? 'loads' : 'placement';
  if (file.size > MOST_BYTES) return 'loads';
  const content = await readContent(file).catch((error: unknown) => {
    // Then the reader of loads is to say what is wrong with it.
    if (loads !== undefined) return undefined;
    throw error;
  });
  if (content === undefined) return 'loads';
  const placement = recognisePlacement(content);
  if (placement === undefined) return 'loads';
  const array = bareArray(content);
  return array === undefined
    ? 'placement'
    : tellApart(array, file.name, loads?.name ?? 'npy', placement.name);
}

/** The numbers of a file that has nothing beside them that says what they are. */
function bareArray(content: Content): NumberArray | undefined {
  if (content.container === 'npy') return content.array;
  if (content.container !== 'json' || !Array.isArray(content.value)) return undefined;
  return nestedTable(content.value, [2, 3], 'the array');
}

function tellApart(array: NumberArray, name: string, loads: string, placement: string): FileKind {
  if (Array.prototype.includes.call(array.data, -1)) return 'placement';
  const found = placementIn(array, true);
  if (found === undefined) return 'loads';
  if (found.isSure) return 'placement';
  throw new EplbError(
    'EPLB_OPTION',
    `${name} may hold loads or a placement; give --from ${loads} for loads, --from ${placement} for a ` +
      'placement',
  );
}
