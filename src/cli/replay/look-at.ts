import { resolve } from 'node:path';
import type { OpenOptions } from '../../formats/open-options.ts';
import type { LayersBeside } from '../../formats/placements/align.ts';
import type { LoadRecording, StepRange } from '../../formats/recording.ts';
import type { RecordingFacts } from '../../replay/index.ts';
import { resolveRange } from '../option-values.ts';
import { openOptionsOf, type ReadingOptions } from '../reading-options.ts';
import { partNotes, stepsIn } from '../recorded-loads.ts';
import { openBeside } from '../slot-columns.ts';
import { namingInput } from '../standard-streams.ts';
import type { WorkSize } from './run.ts';

/** A recording that was looked at: what all replays of it share. */
export interface RecordingSetup {
  readonly path: string;
  readonly open: OpenOptions;
  readonly facts: RecordingFacts;
  readonly range: StepRange;
  readonly size: WorkSize;
  /** The model's numbers of its layers, where known. */
  readonly layers: LayersBeside;
}

/**
 * Opens the recording, to learn its shape and how many steps there are, and closes it again: the workers read
 * it.
 */
export async function lookAt(
  path: string,
  options: ReadingOptions & { readonly startFrom?: string },
): Promise<RecordingSetup> {
  const open = openOptionsOf(options);
  const recording = await openBeside(path, open, options.startFrom);
  try {
    const range = await rangeOf(recording, options);
    // What steps are missing is known when all were read.
    if (recording.numSteps === undefined && options.steps === undefined) await stepsIn(recording);
    const { format, numLayers, numLogicalExperts, notes, numBytes, routes } = recording;
    const { from = 0, to = recording.numSteps ?? null } = range;
    const numSteps = to === null ? undefined : to - from;
    return {
      path: resolve(path),
      open,
      range,
      size: { numSteps, numBytes },
      layers: { numLayers, layerNumbers: recording.layerNumbers },
      facts: {
        path: namingInput(path),
        format,
        numLayers,
        numLogicalExperts,
        steps: { from, to },
        notes: [...notes, ...notesOfPart(recording, range)],
        tokensPerStep: routes?.tokensPerStep ?? null,
      },
    };
  } finally {
    await recording.close();
  }
}

/** A range that was asked for and is all there is needs no note. */
function notesOfPart(recording: LoadRecording, { from, to }: StepRange): string[] {
  const of = recording.numSteps;
  if (from === undefined || to === undefined || of === undefined) return [];
  return partNotes(recording, { from, to, of });
}

async function rangeOf(recording: LoadRecording, { steps }: ReadingOptions): Promise<StepRange> {
  if (steps === undefined) return {};
  return resolveRange(steps, await stepsIn(recording), 'step');
}
