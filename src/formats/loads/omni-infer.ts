import { basename } from 'node:path';
import { EplbError, EplbRangeError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import { closeAll, type InputFile, sizeOf } from '../input-file.ts';
import { counted } from '../number-text.ts';
import { gapNotes } from '../numbered.ts';
import { firstLine } from '../recognise.ts';
import { checkLoadsShape } from './array.ts';
import { LoadText } from './load-text.ts';
import { sideBySide } from './side-by-side.ts';
import { steppedRecording } from './stepped.ts';

/** activation_counts_recordstep_<step>_rank_<rank>.txt */
const NAME = /recordstep_(\d{1,15})_rank_(\d{1,9})/;

/**
 * What omni-infer dumps: a file a step and rank, or of rank 0 with all slots; a line a layer, a number a
 * slot.
 */
export const OMNI_INFER: LoadFormat = {
  name: 'omni-infer',
  holds: 'loads',
  description:
    'omni-infer activation_counts_recordstep_<step>_rank_<rank>.txt: a line a layer, tabs between slots',
  extensions: ['.txt'],
  recognise: async (file) =>
    /^\s*\d+(\t\d+)*\t?\s*$/.test(await firstLine(file)) && (await firstLine(file)).includes('\t'),
  open: async (files, { numExperts }) => {
    const { steps, notes } = filesOfSteps(files);
    const { numLayers, numExperts: numSlots } = await readStepTables(steps[0]!);
    const { name } = files[0]!;
    const numBytes = sizeOf(files);
    checkLoadsShape([numLayers, numSlots], name, numExperts, numBytes);
    return steppedRecording({
      format: 'omni-infer',
      numLayers,
      numLogicalExperts: numSlots,
      numSteps: steps.length,
      numBytes,
      notes: [
        `columns are slots, of ${counted(steps[0]!.length, 'rank')} side by side, and were read as ` +
          'experts: ' +
          'right for a recording without redundant experts',
        ...notes,
      ],
      readStep: async (step) => {
        const tables = await readStepTables(steps[step]!);
        if (tables.numLayers !== numLayers || tables.numExperts !== numSlots) {
          const what =
            `${tables.numLayers} layers of ${tables.numExperts} slots; ${name} has ` +
            `${numLayers} of ${numSlots}`;
          throw new EplbRangeError('EPLB_SHAPE', `${steps[step]![0]!.name}: its step has ${what}`);
        }
        return tables;
      },
      loadsOf: (tables, loads) => tables.fill(loads),
      close: () => closeAll(files),
    });
  },
};

/** The files of each step, steps and ranks ascending. One file alone may have any name. */
function filesOfSteps(files: readonly InputFile[]): { steps: InputFile[][]; notes: string[] } {
  const steps = new Map<number, Map<number, InputFile>>();
  for (const file of files) {
    const match = NAME.exec(basename(file.path));
    if (match === null && files.length > 1) {
      throw new EplbError('EPLB_FORMAT', `${file.name}: its name has no recordstep_<step>_rank_<rank>`);
    }
    const [step, rank] = [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0)];
    const ranks = steps.get(step) ?? new Map<number, InputFile>();
    const other = ranks.get(rank);
    if (other !== undefined)
      throw new EplbError('EPLB_FORMAT', `${file.name} is of the same step and rank as ${other.name}`);
    steps.set(step, ranks.set(rank, file));
  }
  const ascending = <T>(map: ReadonlyMap<number, T>) => [...map.entries()].sort(([a], [b]) => a - b);
  const sorted = ascending(steps);
  const wanted = [...sorted[0]![1].keys()];
  for (const [step, ranks] of sorted) {
    const missing = wanted.find((rank) => !ranks.has(rank));
    if (missing === undefined && ranks.size === wanted.length) continue;
    const what =
      missing === undefined
        ? `step ${sorted[0]![0]} lacks ranks that step ${step} has`
        : `step ${step} lacks rank ${missing}`;
    throw new EplbRangeError('EPLB_SHAPE', `${files[0]!.name}: ${what}`);
  }
  return {
    steps: sorted.map(([, ranks]) => ascending(ranks).map(([, file]) => file)),
    notes: [...gapNotes('step', steps.keys()), ...(files.length > 1 ? gapNotes('rank', wanted, 0) : [])],
  };
}

async function readStepTables(files: readonly InputFile[]) {
  const tables: LoadText[] = [];
  for (const file of files) tables.push(await LoadText.read(file, '\t'));
  return sideBySide(tables);
}
