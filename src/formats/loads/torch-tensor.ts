import { EplbTypeError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import { isTorch } from '../recognise.ts';
import { describePickle } from '../torch/pickle-values.ts';
import { TensorRef } from '../torch/tensor-ref.ts';
import { openArray } from './array.ts';
import { oneByOne } from './one-by-one.ts';

/** One tensor as torch.save writes it: what msit takes from vLLM on Ascend. */
export const TORCH_TENSOR: LoadFormat = {
  name: 'torch-tensor',
  holds: 'loads',
  description:
    'PyTorch tensor (.pt), as msit takes it: loads [layers, experts] or [steps, layers, experts], or routes',
  extensions: ['.pt', '.pth'],
  recognise: isTorch,
  open: oneByOne(async (file, options) => {
    const torch = await file.torch();
    if (!(torch.root instanceof TensorRef)) {
      const wanted = 'loads are a tensor, or a dict with logical_count or records as SGLang writes it';
      throw new EplbTypeError('EPLB_KIND', `${file.name}: it holds ${describePickle(torch.root)}; ${wanted}`);
    }
    const about = {
      name: file.name,
      format: 'torch-tensor',
      namedLoads: false,
      notes: torch.notes,
      numBytes: file.size,
    };
    return openArray({ tensor: await torch.tensor(torch.root), ...about }, options);
  }),
};
