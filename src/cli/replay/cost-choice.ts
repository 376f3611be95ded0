import { EplbError } from '../../core/errors.ts';
import { inputFile } from '../../formats/input-file.ts';
import { quote, quotePath } from '../../formats/text.ts';
import { type CostModelInit, costModel, costPresetNames, CostModel as SlotCostModel } from '../../index.ts';
import {
  COST_PRESETS,
  type CostModel,
  checkCostModel,
  costPreset,
  shapeLike,
  slotCost,
} from '../../replay/index.ts';
import { sayingErrors } from '../error-message.ts';
import { inputPath, STANDARD } from '../standard-streams.ts';

type Sizes = { readonly numLayers: number; readonly numLogicalExperts: number };

/**
 * The cost model that `--cost` names: a preset of a device, one of a model or the competition, or a JSON file
 * with one of slots or all fields of another. When it is left out, that of the known model with as many
 * layers and experts as the recording, or else of DeepSeek-V3.
 *
 * @throws EplbError EPLB_OPTION for a name that is neither, EPLB_FILE, EPLB_FORMAT; EplbTypeError and
 *   EplbRangeError for a preset that is none, or a file with unknown or missing fields
 */
export async function chooseCost(text: string | undefined, sizes: Sizes): Promise<CostModel> {
  if (text === undefined) return costPreset(modelLike(sizes))!;
  const preset = costPreset(text);
  if (preset !== undefined) return preset;
  if (!isFile(text)) {
    if (text.includes(':')) return slotCost(devicePreset(text));
    const known = `${COST_PRESETS.join(', ')}, DEVICE:MODEL[:PRECISION]`;
    throw new EplbError('EPLB_OPTION', `--cost: ${quote(text)} is no preset; give ${known} or a .json file`);
  }
  const value = await readJson(text);
  return sayingErrors(
    (message) => `--cost: ${quotePath(text)}: ${message}`,
    () => (isSlotCost(value) ? slotCost(new SlotCostModel(value)) : checkCostModel('cost', value)),
  );
}

/**
 * The cost model of slots that `--cost` names: a device's preset, or a JSON file. When it is left out, an
 * H200 with the known model that has as many layers and experts, or else with DeepSeek-V3.
 *
 * @throws as {@link chooseCost}
 */
export async function chooseSlotCost(text: string | undefined, sizes: Sizes): Promise<SlotCostModel> {
  if (text === undefined) return costModel(`h200:${modelLike(sizes)}`);
  if (!isFile(text)) {
    if (text.includes(':')) return devicePreset(text);
    const { devices } = costPresetNames();
    const known = `DEVICE:MODEL[:PRECISION], DEVICE being ${devices.join(', ')}`;
    throw new EplbError('EPLB_OPTION', `--cost: ${quote(text)} is no preset; give ${known}, or a .json file`);
  }
  const value = await readJson(text);
  return sayingErrors(
    (message) => `--cost: ${quotePath(text)}: ${message}`,
    () => new SlotCostModel(value as CostModelInit),
  );
}

function modelLike(sizes: Sizes): string {
  return shapeLike(sizes)?.name ?? 'deepseek-v3';
}

function isFile(text: string): boolean {
  return text === STANDARD || /[/\\]|\.json$/i.test(text);
}

function devicePreset(text: string): SlotCostModel {
  return sayingErrors(
    (message) => `--cost: ${message}`,
    () => costModel(text),
  );
}

function isSlotCost(value: unknown): value is CostModelInit {
  return typeof value === 'object' && value !== null && 'slotSeconds' in value;
}

async function readJson(path: string): Promise<unknown> {
  const file = await inputFile(await inputPath(path), '--cost');
  return file.json().finally(() => file.close());
}
