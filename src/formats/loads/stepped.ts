import { MAX_FLOAT32 } from '../../core/checks.ts';
import { zeros } from '../../memory/allocate.ts';
import type { RecordedStep, StepRange, StoredRecording } from '../recording.ts';
import { fileLoadError, shareOf } from './array-loads.ts';

/** What a recording is made of whose steps are each put together from several places. */
interface SteppedParts<T>
  extends Pick<
    StoredRecording,
    'format' | 'numLayers' | 'numLogicalExperts' | 'numBytes' | 'notes' | 'close'
  > {
  readonly numSteps: number;
  readonly numberType?: string;
  readonly layerNumbers?: readonly number[];
  /** Reads what a step is made of. Called for the next steps while the caller works on one. */
  readonly readStep: (step: number) => Promise<T>;
  /** Puts the loads of what was read into `loads`, [layers x logical]. */
  readonly loadsOf: (found: T, loads: Float32Array, step: number) => void;
  /** Where counts are of one rank each: puts them into [layers x ranks x logical], all zero. */
  readonly sources?: {
    readonly numRanks: number;
    readonly loadsOf: (found: T, sourceLoads: Float32Array) => void;
  };
}

/** Steps that are being read at once: each is several small reads, which mostly wait. */
const READ_AHEAD = 2;

/** A recording of steps that are each read from several files or tensors. */
export function steppedRecording<T>(given: SteppedParts<T>): StoredRecording {
  const { readStep, loadsOf, sources, ...parts } = given;
  const { numSteps, numLayers, numLogicalExperts, numBytes } = parts;

  async function* steps({ from = 0, to = numSteps }: StepRange = {}): AsyncGenerator<RecordedStep> {
    const loads = new Float32Array(numLayers * numLogicalExperts);
    const perRank = numLayers * numLogicalExperts;
    const sourceLoads =
      sources && zeros('loads of a step by ranks', Float32Array, sources.numRanks * perRank);
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
        const found = (await ahead.shift()) as T;
        loadsOf(found, loads, step);
        const bytesRead = shareOf(numBytes, step + 1, numSteps);
        if (sourceLoads === undefined) yield { step, loads, bytesRead };
        else {
          sources!.loadsOf(found, sourceLoads.fill(0));
          yield { step, loads, sourceLoads, bytesRead };
        }
      }
    } finally {
      await Promise.allSettled(ahead);
    }
  }

  return { ...parts, ...(sources && { numSourceRanks: sources.numRanks }), steps };
}

/** What a step's loads are added up with, where several counts are of one expert. */
interface Summing<T> {
  /** What the messages call the recording. */
  readonly name: string;
  /** [layers, experts] of a step. */
  readonly shape: readonly [number, number];
  /** Adds the loads of what was read to `sums`, [layers x logical], all zero. */
  readonly addStep: (found: T, sums: Float64Array) => void;
}

/** Loads that are sums, added up in double precision. */
export function summedLoads<T>({ name, shape, addStep }: Summing<T>): SteppedParts<T>['loadsOf'] {
  const [numLayers, numExperts] = shape;
  const sums = new Float64Array(numLayers * numExperts);
  return (found, loads, step) => {
    sums.fill(0);
    addStep(found, sums);
    for (let i = 0; i < sums.length; i++) {
      const sum = sums[i]!;
      if (!(sum >= 0 && sum <= MAX_FLOAT32)) {
        const at = `step ${step}, layer ${Math.floor(i / numExperts)}, expert ${i % numExperts}`;
        throw fileLoadError(name, sum, at);
      }
      loads[i] = sum;
    }
  };
}
