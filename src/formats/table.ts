import type { LoadFormat } from './format.ts';
import { JSON_LOADS } from './loads/json.ts';
import { NPY_LOADS } from './loads/npy.ts';
import { NPZ_LOADS } from './loads/npz.ts';
import { SGLANG_STAT } from './loads/sglang-stat.ts';
import { TORCH_TENSOR } from './loads/torch-tensor.ts';

/** The formats of recorded loads. The first one that recognises a file is taken. */
export const LOAD_FORMATS: readonly LoadFormat[] = [
  NPY_LOADS,
  SGLANG_STAT,
  TORCH_TENSOR,
  NPZ_LOADS,
  JSON_LOADS,
];
