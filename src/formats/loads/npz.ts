import { EplbError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { npzTensor } from '../npy/npz.ts';
import { counted } from '../number-text.ts';
import { orUndefined } from '../recognise.ts';
import { quote } from '../text.ts';
import { hasZipMagic, type ZipArchive } from '../zip/archive.ts';
import { openArray } from './array.ts';
import { oneByOne } from './one-by-one.ts';

/** What an array of loads is called where an archive has others beside it. */
const NAMES = ['logical_count', 'loads', 'load', 'expert_load'];

/** A NumPy archive of loads or routes. */
export const NPZ_LOADS: LoadFormat = {
  name: 'npz',
  holds: 'loads',
  description: `NumPy archive with one array of loads or routes, or one called ${NAMES.join(', ')}`,
  extensions: ['.npz'],
  recognise: async (file) => hasZipMagic(await file.head()),
  open: oneByOne(async (file, options) => {
    const zip = await file.zip();
    const array = (await ofExperts(zip, file, options.numExperts)) ?? arrayIn(zip, file.name);
    const found = await npzTensor(zip, array, file);
    const { tensor } = found;
    const numOthers = arraysIn(zip).length - 1;
    const left = numOthers > 0 && !NAMES.includes(array) ? [leftOut(array, numOthers)] : [];
    const notes = [...found.notes, ...left];
    const isNamed = array === 'logical_count';
    const isCalledLoads = NAMES.includes(array);
    const numBytes = file.size;
    const about = { name: file.name, format: 'npz', namedLoads: isNamed, isCalledLoads, notes, numBytes };
    return openArray({ tensor, ...about }, options);
  }),
};

/** Most arrays that are looked at for one of so many experts. */
const MOST_ARRAYS = 64;

/** The one array of loads of so many experts, where several models are in one file. */
async function ofExperts(
  zip: ZipArchive,
  file: InputFile,
  numExperts: number | undefined,
): Promise<string | undefined> {
  const names = arraysIn(zip);
  if (numExperts === undefined || names.length < 2 || names.length > MOST_ARRAYS) return undefined;
  const fitting: string[] = [];
  for (const name of names) {
    const found = await orUndefined(npzTensor(zip, name, file));
    if (found === undefined) continue;
    const { shape, source } = found.tensor;
    await source.close();
    if ((shape.length === 2 || shape.length === 3) && shape.at(-1) === numExperts) fitting.push(name);
  }
  return fitting.length === 1 ? fitting[0] : fitting.find((name) => NAMES.includes(name));
}

function leftOut(array: string, numOthers: number): string {
  return `array ${quote(array)} was read by its number of experts; ${counted(numOthers, 'other')} left out`;
}

/** Names of the arrays in an archive. */
function arraysIn(zip: ZipArchive): string[] {
  const arrays = zip.names().filter((member) => member.endsWith('.npy'));
  return arrays.map((member) => member.slice(0, -'.npy'.length));
}

function arrayIn(zip: ZipArchive, name: string): string {
  const names = arraysIn(zip);
  const found = names.length === 1 ? names[0] : NAMES.find((known) => names.includes(known));
  if (found !== undefined) return found;
  const shown = names
    .slice(0, 5)
    .map((known) => quote(known))
    .join(', ');
  const what = names.length === 0 ? 'no array in it' : `${names.length} arrays in it (${shown})`;
  throw new EplbError(
    'EPLB_FORMAT',
    `${name}: ${what}; loads are one array, called ${NAMES.join(', ')}, or that of --experts N`,
  );
}
