import { resolve } from 'node:path';
import type { OpenOptions } from '../../formats/open-options.ts';
import type { LayersBeside } from '../../formats/placements/align.ts';
import type { LoadRecording, StepRange } from '../../formats/recording.ts';
import type { RecordingFacts } from '../../replay/index.ts';
import { resolveRange } from '../option-values.ts';
import { openOptionsOf } from '../reading-options.ts';
import { partNotes, stepsIn } from '../recorded-loads.ts';
import { openBeside } from '../slot-columns.ts';
import { namingInput } from '../standard-streams.ts';
import { type Batch, batchOf } from './batch.ts';
import type { RecordingOptions } from './options.ts';
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
  readonly batch: Batch;
  /** Ranks that loads are recorded by, where they are. */
  readonly numSourceRanks: number | undefined;
}

/**
 * Opens the recording, to learn its shape and how many steps there are, and closes it again: the workers read
 * it.
 *
 * @param numRanks ranks that a batch begins on
 */
export async function lookAt(
  path: string,
  options: RecordingOptions & { readonly startFrom?: string },
  numRanks: number,
): Promise<RecordingSetup> {
  const given = openOptionsOf(options);
  const asGiven = await openBeside(path, given, options.startFrom);
  const batch = await batchOf(asGiven, options, numRanks).catch(async (error: unknown) => {
    await asGiven.close();
    throw error;
  });
  const { tokensPerStep } = batch;
  if (tokensPerStep === undefined) return setupOf(path, given, asGiven, batch, options);
  await asGiven.close();
  const open = { ...given, tokensPerStep };
  return setupOf(path, open, await openBeside(path, open, options.startFrom), batch, options);
}

/** Closes the recording. */
async function setupOf(
  path: string,
  open: OpenOptions,
  recording: LoadRecording,
  batch: Batch,
  options: RecordingOptions,
): Promise<RecordingSetup> {
  try {
    const range = await rangeOf(recording, options, batch);
    // What steps are missing is known when all were read.
    if (recording.numSteps === undefined && options.steps === undefined) await stepsIn(recording);
    const { format, numLayers, numLogicalExperts, notes, numBytes, routes } = recording;
    const { from = 0, to = recording.numSteps ?? null } = range;
    const numSteps = to === null ? undefined : to - from;
    return {
      path: resolve(path),
      open,
      range,
      batch,
      numSourceRanks: recording.numSourceRanks,
      size: { numSteps, numBytes },
      layers: { numLayers, layerNumbers: recording.layerNumbers },
      facts: {
        path: namingInput(path),
        format,
        numLayers,
        numLogicalExperts,
        steps: { from, to },
        notes: [...notes, ...notesOfPart(recording, range), ...batch.notes],
        tokensPerStep: routes === undefined ? null : Math.round(routes.tokensPerStep * batch.times),
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

/** The steps that were asked for; of routes that are cut anew, the whole ones. */
async function rangeOf(
  recording: LoadRecording,
  { steps }: RecordingOptions,
  { numSteps }: Batch,
): Promise<StepRange> {
  if (steps === undefined) return numSteps === undefined ? {} : { from: 0, to: numSteps };
  return resolveRange(steps, await stepsIn(recording), 'step');
}
