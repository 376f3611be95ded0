import { zeros } from '../../memory/allocate.ts';
import type { RecordedRoutes, RecordedStep, StepRange, StoredRecording } from '../recording.ts';
import { NO_EXPERT } from '../tensor/decode.ts';

/** What a recording of routes is made of. */
interface RoutesParts
  extends Pick<
    StoredRecording,
    'format' | 'numLayers' | 'numLogicalExperts' | 'numBytes' | 'notes' | 'close'
  > {
  readonly numberType?: string;
  readonly hasChecksums?: boolean;
  readonly routes: RecordedRoutes;
  /** Where in the files the tokens before this one end. */
  readonly bytesUpTo: (token: number) => number;
}

/** A recording whose steps count `tokensPerStep` routed tokens each; the last one those that are left. */
export function routesRecording({ bytesUpTo, ...parts }: RoutesParts): StoredRecording {
  const { numLayers, numLogicalExperts, routes } = parts;
  const { numTokens, topK, tokensPerStep } = routes;
  const numSteps = Math.ceil(numTokens / tokensPerStep);

  async function* steps({ from = 0, to = numSteps }: StepRange = {}): AsyncGenerator<RecordedStep> {
    const what = `${numLayers} layers of ${numLogicalExperts} experts`;
    const counts = zeros(what, Int32Array, numLayers * numLogicalExperts);
    const loads = zeros(what, Float32Array, counts.length);
    const end = Math.min(numTokens, to * tokensPerStep);
    for await (const run of routes.read({ from: from * tokensPerStep, to: end })) {
      const runEnd = run.firstToken + run.numTokens;
      for (let token = run.firstToken; token < runEnd; ) {
        const step = Math.floor(token / tokensPerStep);
        const stepEnd = Math.min(end, (step + 1) * tokensPerStep);
        const next = Math.min(runEnd, stepEnd);
        countRoutes(run.ids, token - run.firstToken, next - run.firstToken, counts, numLayers, topK);
        if (next === stepEnd) {
          loads.set(counts);
          counts.fill(0);
          yield { step, loads, bytesRead: bytesUpTo(next) };
        }
        token = next;
      }
    }
  }

  return { ...parts, numSteps, steps };
}

/**
 * Adds one to the load of every expert that the tokens from `from` to before `to` were sent to.
 *
 * @param ids - [tokens x layers x topK], checked; those of no expert are left out
 * @param counts - [layers x experts], added to. Of whole numbers: floats take longer
 */
export function countRoutes(
  ids: Uint16Array,
  from: number,
  to: number,
  counts: Int32Array,
  numLayers: number,
  topK: number,
): void {
  const numExperts = counts.length / numLayers;
  let i = from * numLayers * topK;
  for (let token = from; token < to; token++) {
    for (let layer = 0, row = 0; layer < numLayers; layer++, row += numExperts) {
      for (const end = i + topK; i < end; i++) {
        const id = ids[i]!;
        if (id !== NO_EXPERT) counts[row + id]! += 1;
      }
    }
  }
}

/**
 * Ids without those of no expert, for what counts pairs of experts: the token's first expert stands for them,
 * which makes no pair.
 */
export function withoutNone(ids: Uint16Array, topK: number): Uint16Array {
  if (!ids.includes(NO_EXPERT)) return ids;
  const filled = ids.slice();
  for (let row = 0; row < filled.length; row += topK) {
    const ofToken = filled.subarray(row, row + topK);
    const first = ofToken.find((id) => id !== NO_EXPERT) ?? 0;
    for (let i = 0; i < topK; i++) if (ofToken[i] === NO_EXPERT) ofToken[i] = first;
  }
  return filled;
}
