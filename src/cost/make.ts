import type { CostModelInit } from './cost-json.ts';
import { CostModel, isCostModel } from './cost-model.ts';
import { costModelPreset } from './presets.ts';

/**
 * Makes a cost model from the name of a preset, `DEVICE:MODEL[:PRECISION]`, or from an object, such as a
 * parsed file.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, `EPLB_SHAPE`, naming what is wrong
 * @example
 * ```ts
 * const cost = costModel('h200:deepseek-v3:bf16');
 * cost.bytesPerExpert; // 88080384
 * cost.rankSeconds([64, 64, 0, 0]) === cost.rankSeconds([1, 1, 0, 0]); // true
 * ```
 */
export function costModel(given: string | CostModelInit | CostModel): CostModel {
  if (typeof given === 'string') return new CostModel(costModelPreset(given));
  if (typeof given === 'object' && given !== null && isCostModel(given)) return given;
  return new CostModel(given);
}
