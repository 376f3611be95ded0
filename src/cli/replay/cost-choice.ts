import { EplbError } from '../../core/errors.ts';
import { inputFile } from '../../formats/input-file.ts';
import { quote, quotePath } from '../../formats/text.ts';
import { COST_PRESETS, type CostModel, checkCostModel, costPreset, shapeLike } from '../../replay/index.ts';
import { sayingErrors } from '../error-message.ts';

/**
 * The cost model that `--cost` names: a preset, or a JSON file with all fields of one. When it is left out,
 * that of the known model with as many layers and experts as the recording, or else of DeepSeek-V3.
 *
 * @throws EplbError EPLB_OPTION for a name that is neither, EPLB_FILE, EPLB_FORMAT; EplbTypeError and
 *   EplbRangeError for a file with unknown or missing fields
 */
export async function chooseCost(
  text: string | undefined,
  sizes: { readonly numLayers: number; readonly numLogicalExperts: number },
): Promise<CostModel> {
  if (text === undefined) return costPreset(shapeLike(sizes)?.name ?? 'deepseek-v3')!;
  const preset = costPreset(text);
  if (preset !== undefined) return preset;
  if (!/[/\\]|\.json$/i.test(text)) {
    const known = COST_PRESETS.join(', ');
    throw new EplbError('EPLB_OPTION', `--cost: ${quote(text)} is no preset; give ${known} or a .json file`);
  }
  const title = `--cost: ${quotePath(text)}`;
  const file = await inputFile(text, '--cost');
  const value = await file.json().finally(() => file.close());
  return sayingErrors(
    (message) => `${title}: ${message}`,
    () => checkCostModel('cost', value),
  );
}
