import type { LoadFormat } from './format.ts';
import { ADRS } from './loads/adrs.ts';
import { JSON_LOADS } from './loads/json.ts';
import { JSON_LINES } from './loads/json-lines.ts';
import { MSIT_CSV } from './loads/msit-csv.ts';
import { NPY_LOADS } from './loads/npy.ts';
import { NPZ_LOADS } from './loads/npz.ts';
import { OMNI_INFER } from './loads/omni-infer.ts';
import { SGLANG_RECORDS } from './loads/sglang-records.ts';
import { SGLANG_STAT } from './loads/sglang-stat.ts';
import { TENSORRT_LLM } from './loads/tensorrt-llm.ts';
import { TORCH_TENSOR } from './loads/torch-tensor.ts';

/** The formats of recorded loads. The first one that recognises a file is taken. */
export const LOAD_FORMATS: readonly LoadFormat[] = [
  NPY_LOADS,
  SGLANG_STAT,
  SGLANG_RECORDS,
  TORCH_TENSOR,
  NPZ_LOADS,
  TENSORRT_LLM,
  JSON_LINES,
  ADRS,
  JSON_LOADS,
  OMNI_INFER,
  MSIT_CSV,
];
