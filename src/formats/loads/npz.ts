import { EplbError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import { npzTensor } from '../npy/npz.ts';
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
    const array = arrayIn(zip, file.name);
    const { tensor, notes } = await npzTensor(zip, array, file);
    const isNamed = array === 'logical_count';
    const isCalledLoads = NAMES.includes(array);
    const numBytes = file.size;
    const about = { name: file.name, format: 'npz', namedLoads: isNamed, isCalledLoads, notes, numBytes };
    return openArray({ tensor, ...about }, options);
  }),
};

function arrayIn(zip: ZipArchive, name: string): string {
  const arrays = zip.names().filter((member) => member.endsWith('.npy'));
  const names = arrays.map((member) => member.slice(0, -'.npy'.length));
  const found = names.length === 1 ? names[0] : NAMES.find((known) => names.includes(known));
  if (found !== undefined) return found;
  const shown = names
    .slice(0, 5)
    .map((known) => quote(known))
    .join(', ');
  const what = names.length === 0 ? 'no array in it' : `${names.length} arrays in it (${shown})`;
  throw new EplbError('EPLB_FORMAT', `${name}: ${what}; loads are one array, or called ${NAMES.join(', ')}`);
}
