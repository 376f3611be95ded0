import { EplbTypeError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { torchDict } from '../recognise.ts';
import type { StoredRecording } from '../recording.ts';
import type { StoredTensor } from '../tensor/stored.ts';
import { describePickle, PickleDict } from '../torch/pickle-values.ts';
import { TensorRef } from '../torch/tensor-ref.ts';
import { checkLoadsShape } from './array.ts';
import { arrayLoads } from './array-loads.ts';
import { asSteps, denseNotes, loadedLayersOf, loadedRows } from './loaded-layers.ts';
import { oneByOne } from './one-by-one.ts';

const LOADS_KEY = 'logical_count';

/**
 * The expert distribution of SGLang, recorded in the modes stat and stat_approx: already added over ranks.
 */
export const SGLANG_STAT: LoadFormat = {
  name: 'sglang-stat',
  holds: 'loads',
  description:
    'SGLang expert distribution (.pt), mode stat or stat_approx: logical_count [steps, layers, experts]',
  extensions: [],
  recognise: async (file) => (await torchDict(file))?.get(LOADS_KEY) !== undefined,
  open: oneByOne(async (file, { numExperts }) => {
    const tensor = await countsOf(file);
    checkLoadsShape(tensor.shape, file.name, numExperts, file.size);
    return openCounts(file, tensor);
  }),
};

async function countsOf(file: InputFile): Promise<StoredTensor> {
  const torch = await file.torch();
  const found = torch.root instanceof PickleDict ? torch.root.get(LOADS_KEY) : torch.root;
  if (found instanceof TensorRef) return torch.tensor(found);
  throw new EplbTypeError(
    'EPLB_KIND',
    `${file.name}: ${LOADS_KEY} is ${describePickle(found)}; it must be a tensor`,
  );
}

async function openCounts(file: InputFile, given: StoredTensor): Promise<StoredRecording> {
  const tensor = asSteps(given);
  const [allSteps, numLayers] = tensor.shape as [number, number];
  const numSteps = await usedSteps(tensor, allSteps, numLayers);
  const layers = await loadedLayersOf(tensor, numSteps);
  const notes = [
    ...denseNotes(numLayers, layers),
    ...ringNotes(allSteps, numSteps),
    ...(await file.torch()).notes,
  ];
  const about = { name: file.name, format: 'sglang-stat', namedLoads: true, notes, numBytes: file.size };
  return arrayLoads({ tensor: given, ...about }, { layers, numSteps });
}

/** The recorder has a buffer of fixed length: the steps after the last one that was recorded stay zero. */
async function usedSteps(tensor: StoredTensor, allSteps: number, numLayers: number): Promise<number> {
  for (let step = allSteps - 1; step >= 0; step--) {
    if ((await loadedRows(tensor, step, 0, numLayers)).includes(1)) return step + 1;
  }
  return allSteps;
}

function ringNotes(allSteps: number, numSteps: number): string[] {
  if (allSteps === 1) return [];
  if (numSteps < allSteps) {
    return [
      `the last ${allSteps - numSteps} of ${allSteps} steps are empty and were left out: the recorder's ` +
        'buffer was not full',
    ];
  }
  return [
    "the recorder's buffer is a ring: if it was full, the first step may be one in the middle of the " +
      'recording',
  ];
}
