import type { LoadFormat } from '../format.ts';
import { hasNpyMagic } from '../npy/header.ts';
import { npyTensor } from '../npy/tensor.ts';
import { openArray } from './array.ts';
import { oneByOne } from './one-by-one.ts';

/** A NumPy array of loads or routes. */
export const NPY_LOADS: LoadFormat = {
  name: 'npy',
  holds: 'loads',
  description:
    'NumPy array: loads [layers, experts], [steps, layers, experts] or [steps, layers, ranks, experts], or ' +
    'routes [tokens, layers, topK]',
  extensions: ['.npy'],
  recognise: async (file) => hasNpyMagic(await file.head()),
  open: oneByOne(async (file, options) => {
    const { tensor, notes } = await npyTensor(file.source, file.name);
    const about = { name: file.name, format: 'npy', namedLoads: false, notes, numBytes: file.size };
    return openArray({ tensor, ...about }, options);
  }),
};
