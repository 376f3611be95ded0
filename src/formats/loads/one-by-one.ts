import { basename } from 'node:path';
import { EplbRangeError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { counted } from '../number-text.ts';
import { fileGapNotes } from '../numbered.ts';
import type { OpenOptions } from '../open-options.ts';
import {
  addNotes,
  type RecordedRoutes,
  type RecordedStep,
  type RouteRun,
  type StepRange,
  type StoredRecording,
} from '../recording.ts';

/** The opening of a format whose files each hold steps of their own: one recording after the other. */
export function oneByOne(
  openOne: (file: InputFile, options: OpenOptions) => Promise<StoredRecording>,
): LoadFormat['open'] {
  return async (files, options) => {
    const parts: Part[] = [];
    for (const file of files) {
      const recording = await openOne(file, options);
      // Thousands of files are not to be open at once.
      await recording.close();
      parts.push({ recording, name: file.name });
    }
    const gaps = fileGapNotes(files.map((file) => basename(file.path)));
    const recording = joined(parts);
    addNotes(recording.notes, gaps);
    return recording;
  };
}

/** A recording, and what the messages call it. */
interface Part {
  readonly recording: StoredRecording;
  readonly name: string;
}

/**
 * Recordings of the same layers and experts, one after the other, as one.
 *
 * @param parts - at least one
 * @throws EplbRangeError EPLB_SHAPE when they do not fit each other
 */
function joined(parts: readonly Part[]): StoredRecording {
  const first = parts[0]!.recording;
  if (parts.length === 1) return first;
  for (const { recording, name } of parts) {
    if (shapeOf(recording) === shapeOf(first)) continue;
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${name} holds ${shapeOf(recording)}; ${parts[0]!.name}, which comes before it, holds ` +
        `${shapeOf(first)}`,
    );
  }
  const recordings = parts.map(({ recording }) => recording);
  const stepCounts = recordings.map(({ numSteps }) => numSteps);
  const hasAllCounts = stepCounts.every((count) => count !== undefined);
  const routes = joinedRoutes(recordings);
  const notes: string[] = [];
  for (const recording of recordings) addNotes(notes, recording.notes);
  return {
    ...first,
    numSteps: hasAllCounts ? total(stepCounts as number[]) : undefined,
    numBytes: total(recordings.map(({ numBytes }) => numBytes)),
    notes,
    ...(routes === undefined ? {} : { routes }),
    steps: (range) => joinedSteps(recordings, notes, range),
    close: async () => {
      for (const recording of recordings) await recording.close();
    },
  };
}

function shapeOf(recording: StoredRecording): string {
  const { numLayers, numLogicalExperts, routes, layerNumbers, numSourceRanks } = recording;
  const what = routes === undefined ? 'loads' : `routes to ${routes.topK}`;
  const layers = layerNumbers === undefined ? '' : ` (${layerNumbers.join(', ')})`;
  const ranks = numSourceRanks === undefined ? '' : ` by ${counted(numSourceRanks, 'rank')}`;
  const experts = counted(numLogicalExperts, 'expert');
  return `${what} of ${counted(numLayers, 'layer')}${layers} with ${experts}${ranks}`;
}

async function* joinedSteps(
  recordings: readonly StoredRecording[],
  notes: string[],
  { from = 0, to = Number.POSITIVE_INFINITY }: StepRange = {},
): AsyncGenerator<RecordedStep> {
  let first = 0;
  let bytesBefore = 0;
  for (const recording of recordings) {
    if (first >= to) return;
    const { numSteps, numBytes } = recording;
    // A part of unknown length is read from its beginning, to learn where the next one begins.
    const start = numSteps === undefined ? 0 : Math.min(numSteps, Math.max(0, from - first));
    let end = numSteps ?? 0;
    if (start < (numSteps ?? 1)) {
      const range = to === Number.POSITIVE_INFINITY ? { from: start } : { from: start, to: to - first };
      for await (const recorded of recording.steps(range)) {
        const step = first + recorded.step;
        end = Math.max(end, recorded.step + 1);
        if (step >= from) yield { ...recorded, step, bytesRead: bytesBefore + recorded.bytesRead };
      }
      await recording.close();
      addNotes(notes, recording.notes);
    }
    first += end;
    bytesBefore += numBytes;
  }
}

function joinedRoutes(recordings: readonly StoredRecording[]): RecordedRoutes | undefined {
  const all = recordings.map(({ routes }) => routes).filter((routes) => routes !== undefined);
  if (all.length === 0) return undefined;
  const numTokens = total(all.map((routes) => routes.numTokens));

  async function* read({ from = 0, to = numTokens }: StepRange = {}): AsyncGenerator<RouteRun> {
    let first = 0;
    for (const [i, routes] of all.entries()) {
      const start = Math.max(0, from - first);
      const end = Math.min(routes.numTokens, to - first);
      if (start < end) {
        for await (const run of routes.read({ from: start, to: end })) {
          yield { ...run, firstToken: first + run.firstToken };
        }
        await recordings[i]!.close();
      }
      first += routes.numTokens;
    }
  }

  return { ...all[0]!, numTokens, read };
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
