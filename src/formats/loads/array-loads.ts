import { EplbRangeError } from '../../core/errors.ts';
import type { RecordedStep, StepRange, StoredRecording } from '../recording.ts';
import { blocksOf } from '../tensor/blocks.ts';
import { decodeLoads, numberAt } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER } from '../tensor/number-type.ts';
import { withLeadingAxis } from '../tensor/stored.ts';
import type { FoundArray } from './found-array.ts';

/** Which rows of an array of loads are used, where not all are. */
interface ArraySelection {
  /** The layers that have experts, ascending. */
  readonly layers?: readonly number[];
  /** Steps that are used, from the first. */
  readonly numSteps?: number;
}

/**
 * Loads [layers, experts] or [steps, layers, experts] of a file, as a recording. Nothing is read before its
 * steps are asked for; then a block at a time.
 */
export function arrayLoads(found: FoundArray, selection: ArraySelection = {}): StoredRecording {
  const { name, format, notes, numBytes, tensor: given } = found;
  const hasSteps = given.shape.length === 3;
  const tensor = hasSteps ? given : withLeadingAxis(given);
  const [allSteps, allLayers, numExperts] = tensor.shape as [number, number, number];
  const numSteps = selection.numSteps ?? allSteps;
  const { layers } = selection;
  const numLayers = layers?.length ?? allLayers;
  const runs = layers === undefined ? [{ from: 0, to: allLayers }] : runsOf(layers);

  async function* steps({ from = 0, to = numSteps }: StepRange = {}): AsyncGenerator<RecordedStep> {
    const loads = new Float32Array(numLayers * numExperts);
    const rowBytes = numExperts * BYTES_PER_NUMBER[tensor.type];
    for await (const block of blocksOf(tensor, from, Math.min(to, numSteps))) {
      if (from === 0 && block.to === numSteps) await tensor.source.verify?.();
      for (let step = block.from; step < block.to; step++) {
        const firstLayer = (step - block.from) * allLayers;
        let done = 0;
        for (const run of runs) {
          const count = (run.to - run.from) * numExperts;
          const start = (firstLayer + run.from) * rowBytes;
          const bytes = block.bytes.subarray(start, start + count * BYTES_PER_NUMBER[tensor.type]);
          const bad = decodeLoads(bytes, tensor.type, loads.subarray(done, done + count));
          if (bad >= 0) {
            const layer = run.from + Math.floor(bad / numExperts);
            const at = `${hasSteps ? `step ${step}, ` : ''}layer ${layer}, expert ${bad % numExperts}`;
            throw fileLoadError(name, numberAt(bytes, tensor.type, bad), at);
          }
          done += count;
        }
        yield { step, loads, bytesRead: shareOf(numBytes, step + 1, allSteps) };
      }
    }
  }

  return {
    format,
    numLayers,
    numLogicalExperts: numExperts,
    numSteps,
    numBytes,
    notes: [...notes],
    numberType: tensor.type,
    ...(tensor.source.verify === undefined ? {} : { hasChecksums: true }),
    ...(layers === undefined || numLayers === allLayers ? {} : { layerNumbers: layers }),
    steps,
    close: () => tensor.source.close(),
  };
}

/** The bytes of `done` of `all` rows. */
export function shareOf(numBytes: number, done: number, all: number): number {
  return Math.round((numBytes * done) / all);
}

/** Ascending numbers as runs of neighbours. */
function runsOf(layers: readonly number[]): { from: number; to: number }[] {
  const runs: { from: number; to: number }[] = [];
  for (const layer of layers) {
    const run = runs.at(-1);
    if (run?.to === layer) run.to = layer + 1;
    else runs.push({ from: layer, to: layer + 1 });
  }
  return runs;
}

/** The error for a number of a file that is not a load. */
export function fileLoadError(name: string, load: number, at: string): EplbRangeError {
  const why = load >= 0 && load < Number.POSITIVE_INFINITY ? 'fit a float32' : 'be finite and not negative';
  return new EplbRangeError('EPLB_LOAD', `${name}: load ${load} at ${at}; a load must ${why}`);
}
