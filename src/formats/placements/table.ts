import { basename } from 'node:path';
import { EplbError } from '../../errors.ts';
import { quote } from '../text.ts';
import { omniInfer } from './omni-infer.ts';
import type { Content, PlacementFormat } from './placement.ts';
import { sglang } from './sglang.ts';
import { tablesJson, tablesNpy, tablesNpz } from './tables.ts';
import { tensorrtLlm } from './tensorrt-llm.ts';
import { vllmAscend } from './vllm-ascend.ts';

/** Every format of placements. Where a file's content fits several, the first one is meant. */
export const PLACEMENT_FORMATS: readonly PlacementFormat[] = [
  sglang,
  vllmAscend,
  tensorrtLlm,
  omniInfer,
  tablesNpy,
  tablesNpz,
  tablesJson,
];

/** The format of that name. @throws EplbError EPLB_OPTION */
export function placementFormat(name: string, option: string): PlacementFormat {
  const format = PLACEMENT_FORMATS.find((one) => one.name === name);
  if (format !== undefined) return format;
  const known = PLACEMENT_FORMATS.map((one) => one.name).join(', ');
  throw new EplbError(
    'EPLB_OPTION',
    `${option}: ${quote(name)} is no format of placements; known are ${known}`,
  );
}

/** The format that some content is in, or undefined. */
export function recognisePlacement(content: Content): PlacementFormat | undefined {
  return PLACEMENT_FORMATS.find((format) => format.recognise(content));
}

/**
 * The format that a file's name asks for when it is written: `expert_map.json` and what ends so, `.yaml`, `.npy`, `.npz`;
 * SGLang's JSON for any other name.
 */
export function formatForName(path: string): PlacementFormat {
  const name = basename(path).toLowerCase();
  // The longest ending decides: expert_map.json before .json.
  const ends = PLACEMENT_FORMATS.flatMap((format) => format.extensions.map((end) => ({ end, format })));
  ends.sort((a, b) => b.end.length - a.end.length);
  return ends.find(({ end }) => name.endsWith(end))?.format ?? sglang;
}
