import { EplbError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { quote } from '../text.ts';
import { ADRS } from './adrs.ts';
import { CSV_COUNTS } from './csv-counts.ts';
import { FASTDEPLOY_STATS } from './fastdeploy.ts';
import { JSON_LOADS } from './json.ts';
import { JSON_LINES } from './json-lines.ts';
import { MEGATRON } from './megatron.ts';
import { MSIT_CSV } from './msit-csv.ts';
import { NPY_LOADS } from './npy.ts';
import { NPZ_LOADS } from './npz.ts';
import { OMNI_INFER } from './omni-infer.ts';
import { SGLANG_RECORDS } from './sglang-records.ts';
import { SGLANG_STAT } from './sglang-stat.ts';
import { TENSORRT_LLM } from './tensorrt-llm.ts';
import { TORCH_TENSOR } from './torch-tensor.ts';
import { VLLM_STATS } from './vllm-stats.ts';

/** The formats of recorded loads. The first one that recognises a file is taken. */
export const LOAD_FORMATS: readonly LoadFormat[] = [
  NPY_LOADS,
  SGLANG_STAT,
  SGLANG_RECORDS,
  TORCH_TENSOR,
  NPZ_LOADS,
  TENSORRT_LLM,
  VLLM_STATS,
  MEGATRON,
  JSON_LINES,
  ADRS,
  FASTDEPLOY_STATS,
  JSON_LOADS,
  OMNI_INFER,
  CSV_COUNTS,
  MSIT_CSV,
];

/** The format of recorded loads that a file's content is of; undefined when it is none. */
export async function recogniseLoads(file: InputFile): Promise<LoadFormat | undefined> {
  try {
    for (const format of LOAD_FORMATS) {
      if (await format.recognise(file)) return format;
    }
    return undefined;
  } finally {
    await file.close();
  }
}

/** What a file that is of no known format is taken for, so that it is said what is wrong with it. */
export function fallbackFormat(file: InputFile): LoadFormat {
  const byName = LOAD_FORMATS.find(({ extensions }) => extensions.includes(file.extension));
  if (byName !== undefined) return byName;
  throw new EplbError('EPLB_FORMAT', `${file.name} is of no known format of loads; eplb formats lists them`);
}

/** The format of that name. @throws EplbError EPLB_OPTION */
export function loadFormat(name: string, option: string): LoadFormat {
  const format = LOAD_FORMATS.find((known) => known.name === name);
  if (format !== undefined) return format;
  const names = LOAD_FORMATS.map((known) => known.name).join(', ');
  throw new EplbError(
    'EPLB_OPTION',
    `${option}: ${quote(name)} is not a format of loads; there are ${names}`,
  );
}
