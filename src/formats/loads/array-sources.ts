import { zeros } from '../../memory/allocate.ts';
import type { RecordedStep, StepRange, StoredRecording } from '../recording.ts';
import { blocksOf } from '../tensor/blocks.ts';
import { decodeLoads, numberAt } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER } from '../tensor/number-type.ts';
import { fileLoadError, shareOf } from './array-loads.ts';
import type { FoundArray } from './found-array.ts';
import { addedOverSources } from './source-sums.ts';

/** Loads [steps, layers, ranks, experts] of a file, by the rank that tokens are on, as a recording. */
export function arraySourceLoads({ tensor, name, format, notes, numBytes }: FoundArray): StoredRecording {
  const [numSteps, numLayers, numSourceRanks, numExperts] = tensor.shape as [number, number, number, number];
  const perStep = numLayers * numSourceRanks * numExperts;

  async function* steps({ from = 0, to = numSteps }: StepRange = {}): AsyncGenerator<RecordedStep> {
    const sourceLoads = zeros(`${name}: loads of a step`, Float32Array, perStep);
    const sum = addedOverSources(name, { numLayers, numSourceRanks, numExperts });
    const stepBytes = perStep * BYTES_PER_NUMBER[tensor.type];
    for await (const block of blocksOf(tensor, from, Math.min(to, numSteps))) {
      if (from === 0 && block.to === numSteps) await tensor.source.verify?.();
      for (let step = block.from; step < block.to; step++) {
        const start = (step - block.from) * stepBytes;
        const bytes = block.bytes.subarray(start, start + stepBytes);
        const bad = decodeLoads(bytes, tensor.type, sourceLoads);
        if (bad >= 0) {
          const row = Math.floor(bad / numExperts);
          const of = `layer ${Math.floor(row / numSourceRanks)}, rank ${row % numSourceRanks}`;
          const at = `step ${step}, ${of}, expert ${bad % numExperts}`;
          throw fileLoadError(name, numberAt(bytes, tensor.type, bad), at);
        }
        const loads = sum(sourceLoads, step);
        yield { step, loads, sourceLoads, bytesRead: shareOf(numBytes, step + 1, numSteps) };
      }
    }
  }

  return {
    ...{ format, numLayers, numLogicalExperts: numExperts, numSourceRanks, numSteps, numBytes },
    notes: [...notes, `loads are by the ranks that tokens are on: ${numSourceRanks} of them`],
    numberType: tensor.type,
    ...(tensor.source.verify === undefined ? {} : { hasChecksums: true }),
    steps,
    close: () => tensor.source.close(),
  };
}
