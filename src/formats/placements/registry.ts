import { EplbError } from '../../core/errors.ts';
import { quote } from '../text.ts';
import { fastDeploy } from './fastdeploy.ts';
import { omniInfer } from './omni-infer.ts';
import type { Content, PlacementFormat } from './placement.ts';
import { vllmAscendNpy, vllmExpertMap } from './rank-arrays.ts';
import { sglang } from './sglang.ts';
import { tablesJson } from './tables-json.ts';
import { tablesNpy } from './tables-npy.ts';
import { tablesNpz } from './tables-npz.ts';
import { tensorrtLlm } from './tensorrt-llm.ts';
import { vllmAscend } from './vllm-ascend.ts';
import { vllmMap } from './vllm-map.ts';
import { vllmMapping } from './vllm-mapping.ts';

/** Every format of placements. Where a file's content fits several, the first one is meant. */
export const PLACEMENT_FORMATS: readonly PlacementFormat[] = [
  sglang,
  vllmAscend,
  vllmMapping,
  tensorrtLlm,
  omniInfer,
  fastDeploy,
  vllmExpertMap,
  vllmAscendNpy,
  tablesNpy,
  tablesNpz,
  tablesJson,
  vllmMap,
];

/** The format of that name. @throws EplbError EPLB_OPTION */
export function placementFormat(name: string, option: string): PlacementFormat {
  const format = PLACEMENT_FORMATS.find((one) => one.name === name);
  if (format !== undefined) return format;
  const known = PLACEMENT_FORMATS.map((one) => one.name).join(', ');
  throw new EplbError(
    'EPLB_OPTION',
    `${option}: ${quote(name)} is not a format of placements; known are ${known}`,
  );
}

/** The format that some content is in, or undefined. */
export function recognisePlacement(content: Content): PlacementFormat | undefined {
  return PLACEMENT_FORMATS.find((format) => format.recognise(content));
}
