import { EplbError } from '../../core/errors.ts';
import { inputFile } from '../../formats/input-file.ts';
import { counted } from '../../formats/number-text.ts';
import { quote, quotePath } from '../../formats/text.ts';
import { type CostModelInit, costModel, costPresetNames, CostModel as SlotCostModel } from '../../index.ts';
import {
  COST_PRESETS,
  checkCostModel,
  costPreset,
  DEFAULT_DEVICE,
  modelLike,
  type ReplayCost,
  slotCost,
} from '../../replay/index.ts';
import { sayingErrors } from '../error-message.ts';
import { contradiction } from '../option-values.ts';
import { inputPath, STANDARD } from '../standard-streams.ts';

type Sizes = { readonly numLayers: number; readonly numLogicalExperts: number };

/** What says which cost to take. */
interface CostOptions {
  readonly cost?: string;
  readonly device?: string;
  readonly model?: string;
}

/** A cost, and what had to be assumed for it. */
interface Chosen<T> {
  readonly cost: T;
  readonly notes: readonly string[];
}

/**
 * The cost that `--cost` names: a preset of a device, one of a model or the competition, or a JSON file with
 * one of slots or all fields of another; or that of `--device` and `--model`. When they are left out, an H200
 * with the known model that has as many layers and experts as the recording, or else with DeepSeek-V3.
 *
 * @throws EplbError EPLB_OPTION for a name that is neither, EPLB_FILE, EPLB_FORMAT; EplbTypeError and
 *   EplbRangeError for a preset that is none, or a file with unknown or missing fields
 */
export async function chooseCost(options: CostOptions, sizes: Sizes): Promise<Chosen<ReplayCost>> {
  const { cost: text } = options;
  if (text === undefined) {
    const { cost, notes } = deviceCost(options, sizes);
    return { cost: slotCost(cost), notes };
  }
  checkAlone(options);
  return { cost: await namedCost(text), notes: [] };
}

async function namedCost(text: string): Promise<ReplayCost> {
  const preset = costPreset(text);
  if (preset !== undefined) return preset;
  if (!isFile(text)) {
    if (text.includes(':')) return slotCost(devicePreset(text));
    const known = `${COST_PRESETS.join(', ')}, DEVICE:MODEL[:PRECISION]`;
    throw new EplbError(
      'EPLB_OPTION',
      `--cost: ${quote(text)} is not a preset; give ${known} or a .json file`,
    );
  }
  const value = await readJson(text);
  return sayingErrors(
    (message) => `--cost: ${quotePath(text)}: ${message}`,
    () => (isSlotCost(value) ? slotCost(new SlotCostModel(value)) : checkCostModel('cost', value)),
  );
}

/**
 * The cost model of slots that `--cost` names, a device's preset or a JSON file, or that of `--device` and
 * `--model`, as {@link chooseCost} has it.
 *
 * @throws as {@link chooseCost}
 */
export async function chooseSlotCost(options: CostOptions, sizes: Sizes): Promise<Chosen<SlotCostModel>> {
  const { cost: text } = options;
  if (text === undefined) return deviceCost(options, sizes);
  checkAlone(options);
  return { cost: await namedSlotCost(text), notes: [] };
}

async function namedSlotCost(text: string): Promise<SlotCostModel> {
  if (!isFile(text)) {
    if (text.includes(':')) return devicePreset(text);
    const { devices } = costPresetNames();
    const known = `DEVICE:MODEL[:PRECISION], DEVICE being ${devices.join(', ')}`;
    throw new EplbError(
      'EPLB_OPTION',
      `--cost: ${quote(text)} is not a preset; give ${known}, or a .json file`,
    );
  }
  const value = await readJson(text);
  return sayingErrors(
    (message) => `--cost: ${quotePath(text)}: ${message}`,
    () => new SlotCostModel(value as CostModelInit),
  );
}

function deviceCost({ device = DEFAULT_DEVICE, model }: CostOptions, sizes: Sizes): Chosen<SlotCostModel> {
  const like = modelLike(sizes);
  const notes =
    model === undefined && like.isAssumed
      ? [
          `no known model has ${counted(sizes.numLayers, 'layer')} of ` +
            `${counted(sizes.numLogicalExperts, 'expert')}: what they cost is that of ${like.name}; --model or ` +
            '--cost say otherwise',
        ]
      : [];
  return { cost: costModel(`${device}:${model ?? like.name}`), notes };
}

function checkAlone({ device, model }: CostOptions): void {
  if (device !== undefined) throw contradiction('--device: --cost says the device, too; give one of them');
  if (model !== undefined) throw contradiction('--model: --cost says the model, too; give one of them');
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
