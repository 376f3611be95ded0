import { MAX_FLOAT32 } from '../../checks.ts';
import type { LoadRecording, RecordedStep, StepRange } from '../recording.ts';
import { loadError, shareOf } from './array-loads.ts';

/** What a recording is made of whose steps are each put together from several places. */
export interface SteppedParts
  extends Pick<LoadRecording, 'format' | 'numLayers' | 'numLogicalExperts' | 'numBytes' | 'notes' | 'close'> {
  readonly numSteps: number;
  readonly numberType?: string;
  readonly layerNumbers?: readonly number[];
  /** What the messages call it. */
  readonly name: string;
  /** Adds the loads of a step to `sums`, [layers x logical], all zero. */
  readonly addStep: (step: number, sums: Float64Array) => Promise<void>;
}

/** A recording of steps that add up counts of several files or tensors. */
export function steppedRecording({ addStep, name, ...parts }: SteppedParts): LoadRecording {
  const { numSteps, numLayers, numLogicalExperts, numBytes } = parts;

  async function* steps({ from = 0, to = numSteps }: StepRange = {}): AsyncGenerator<RecordedStep> {
    const sums = new Float64Array(numLayers * numLogicalExperts);
    const loads = new Float32Array(sums.length);
    for (let step = from; step < Math.min(to, numSteps); step++) {
      sums.fill(0);
      await addStep(step, sums);
      toLoads(sums, loads, (i) => {
        const at = `step ${step}, layer ${Math.floor(i / numLogicalExperts)}, expert ${i % numLogicalExperts}`;
        return loadError(name, sums[i]!, at);
      });
      yield { step, loads, bytesRead: shareOf(numBytes, step + 1, numSteps) };
    }
  }

  return { ...parts, steps };
}

function toLoads(sums: Float64Array, loads: Float32Array, error: (index: number) => Error): void {
  for (let i = 0; i < sums.length; i++) {
    const sum = sums[i]!;
    if (!(sum >= 0 && sum <= MAX_FLOAT32)) throw error(i);
    loads[i] = sum;
  }
}
