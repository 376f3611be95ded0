import { EplbRangeError, isOwnError } from '../core/errors.ts';
import { openRecording } from '../formats/open.ts';
import type { OpenOptions } from '../formats/open-options.ts';
import { alignLayers } from '../formats/placements/align.ts';
import { openPlacement } from '../formats/placements/open.ts';
import type { Placement } from '../formats/placements/placement.ts';
import { addNotes, type LoadRecording, type RecordedStep, type StepRange } from '../formats/recording.ts';
import { quotePath } from '../formats/text.ts';

/**
 * Opens a recording that is used beside a placement. Columns that are the placement's slots, as a recording
 * with redundant experts has them, are added up to its experts.
 *
 * @param from - the placement's file, when one is given
 * @throws EplbError and its subclasses as the readers do
 */
export async function openBeside(
  path: string,
  open: OpenOptions,
  from: string | undefined,
): Promise<LoadRecording> {
  if (from === undefined) return openRecording(path, open);
  let placement: Placement | undefined;
  const read = async () => {
    placement ??= await openPlacement(from, { field: '--start-from' });
    return placement;
  };
  const recording = await openRecording(path, open).catch(async (error: unknown) => {
    // With --experts, columns that are slots are too many experts.
    if (!isOwnError(error) || error.code !== 'EPLB_SHAPE' || open.numExperts === undefined) throw error;
    const { numLogicalExperts, numPhysicalExperts } = await read();
    if (numLogicalExperts !== open.numExperts || numPhysicalExperts === numLogicalExperts) throw error;
    return openRecording(path, { ...open, numExperts: numPhysicalExperts, as: 'loads' });
  });
  try {
    if (recording.routes !== undefined) return recording;
    const { numLogicalExperts, numPhysicalExperts } = await read();
    const isOfSlots = recording.numLogicalExperts === numPhysicalExperts;
    if (!isOfSlots || numLogicalExperts >= numPhysicalExperts) return recording;
    return folded(recording, await read(), `--start-from: ${quotePath(from)}`);
  } catch (error) {
    await recording.close();
    throw error;
  }
}

/** Loads of slots as those of their experts. */
function folded(recording: LoadRecording, read: Placement, name: string): LoadRecording {
  const { slots, numLogicalExperts, numPhysicalExperts } = alignLayers(read, recording, name);
  const { numLayers } = recording;
  const notes = [
    ...recording.notes,
    `the ${numPhysicalExperts} columns are slots, and were added up to ${numLogicalExperts} experts ` +
      'through --start-from',
  ];

  async function* steps(range?: StepRange): AsyncGenerator<RecordedStep> {
    const sums = new Float32Array(numLayers * numLogicalExperts);
    for await (const { step, loads, bytesRead } of recording.steps(range)) {
      sums.fill(0);
      for (let at = 0; at < loads.length; at++) {
        const load = loads[at]!;
        if (load === 0) continue;
        const layer = Math.floor(at / numPhysicalExperts);
        const expert = slots[at]!;
        if (expert < 0) {
          const place = `step ${step}, layer ${layer}, slot ${at % numPhysicalExperts}`;
          throw new EplbRangeError('EPLB_LOAD', `${name}: load ${load} at ${place}, which is empty there`);
        }
        sums[layer * numLogicalExperts + expert]! += load;
      }
      yield { step, loads: sums, bytesRead };
    }
    addNotes(notes, recording.notes);
  }

  return {
    ...recording,
    numLogicalExperts,
    notes,
    steps,
  };
}

/** Formats whose counts are of logical experts by their own name, whatever was replicated. */
const LOGICAL: readonly string[] = ['sglang-stat', 'sglang-records', 'tensorrt-llm', 'vllm-stats'];

/**
 * What can be told of a recording whose columns may be slots: that there are as many of them as slots. Loads
 * alone do not show it.
 *
 * @param slots - of a layer, as asked for
 */
export function slotColumnNotes(
  { format, numLogicalExperts }: Pick<LoadRecording, 'format' | 'numLogicalExperts'>,
  slots: readonly number[],
  startFrom: string | undefined,
): string[] {
  if (!slots.includes(numLogicalExperts) || startFrom !== undefined || LOGICAL.includes(format)) return [];
  return [
    `there are as many columns as slots, ${numLogicalExperts}, so that no slot is redundant: if the columns ` +
      'are the slots of a placement and not experts, give it by --start-from',
  ];
}
