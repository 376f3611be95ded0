import { MAX_FLOAT32 } from '../../checks.ts';
import type { LoadRecording, RecordedStep, StepRange } from '../recording.ts';
import { loadError, shareOf } from './array-loads.ts';

/** What a recording is made of whose steps are each put together from several places. */
export interface SteppedParts<T>
  extends Pick<LoadRecording, 'format' | 'numLayers' | 'numLogicalExperts' | 'numBytes' | 'notes' | 'close'> {
  readonly numSteps: number;
  readonly numberType?: string;
  readonly hasChecksums?: boolean;
  readonly layerNumbers?: readonly number[];
  /** What the messages call it. */
  readonly name: string;
  /** Reads what a step is made of. Called for the next steps while the caller works on one. */
  readonly readStep: (step: number) => Promise<T>;
  /** Adds the loads of what was read to `sums`, [layers x logical], all zero. */
  readonly addStep: (found: T, sums: Float64Array) => void;
}

/** Steps that are being read at once: each is several small reads, most of whose time is waiting. */
const READ_AHEAD = 2;

/** A recording of steps that add up counts of several files or tensors. */
export function steppedRecording<T>({ readStep, addStep, name, ...parts }: SteppedParts<T>): LoadRecording {
  const { numSteps, numLayers, numLogicalExperts, numBytes } = parts;

  async function* steps({ from = 0, to = numSteps }: StepRange = {}): AsyncGenerator<RecordedStep> {
    const sums = new Float64Array(numLayers * numLogicalExperts);
    const loads = new Float32Array(sums.length);
    const end = Math.min(to, numSteps);
    const ahead: Promise<T>[] = [];
    let asked = from;
    try {
      for (let step = from; step < end; step++) {
        for (; asked < Math.min(end, step + READ_AHEAD); asked++) {
          const reading = readStep(asked);
          // Looked at when it is its turn, which is late for an error that nobody waits for yet.
          reading.catch(() => undefined);
          ahead.push(reading);
        }
        const found = await ahead.shift()!;
        sums.fill(0);
        addStep(found, sums);
        toLoads(sums, loads, (i) => {
          const at = `step ${step}, layer ${Math.floor(i / numLogicalExperts)}, expert ${i % numLogicalExperts}`;
          return loadError(name, sums[i]!, at);
        });
        yield { step, loads, bytesRead: shareOf(numBytes, step + 1, numSteps) };
      }
    } finally {
      await Promise.allSettled(ahead);
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
