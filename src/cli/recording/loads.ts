import { EplbRangeError } from '../../errors.ts';
import type { LoadsRecording, Recording, RoutesRecording } from './interpret.ts';

/** Loads of a range of steps, summed: row-major [layers, experts]. */
export interface SummedLoads {
  readonly data: Float32Array;
  readonly numLayers: number;
  readonly numExperts: number;
}

/** Told after every piece of the work how many tokens or steps are done. */
export type OnProgress = (done: number) => void;

/** Numbers handled between two calls of {@link OnProgress}: a few milliseconds of work. */
const PIECE = 1 << 20;

/**
 * The loads of the steps (or tokens) from `from` to before `to`. Only these are looked at and checked.
 *
 * @throws EplbRangeError EPLB_RANGE or EPLB_NOT_WHOLE for an id that is no expert, EPLB_LOAD for a load that is not
 *   finite, negative, or whose sum is too large for float32
 */
export function sumLoads(
  recording: Recording,
  from: number,
  to: number,
  onProgress?: OnProgress,
): SummedLoads {
  const { numLayers, numExperts } = recording;
  const sums = new Float64Array(numLayers * numExperts);
  const numbersPerStep = recording.data.length / stepsOf(recording);
  const stepsPerPiece = Math.max(1, Math.floor(PIECE / numbersPerStep));
  for (let start = from; start < to; start += stepsPerPiece) {
    const end = Math.min(to, start + stepsPerPiece);
    if (recording.kind === 'routes') countRoutes(recording, start, end, sums);
    else addSteps(recording, start, end, sums);
    onProgress?.(end - from);
  }
  return { data: toFloat32(sums, numExperts), numLayers, numExperts };
}

/** How many tokens or steps a recording has. */
export function stepsOf(recording: Recording): number {
  return recording.kind === 'routes' ? recording.numTokens : recording.numSteps;
}

function countRoutes(routes: RoutesRecording, from: number, to: number, counts: Float64Array): void {
  const { data, numLayers, topK, numExperts } = routes;
  let i = from * numLayers * topK;
  for (let token = from; token < to; token++) {
    for (let layer = 0; layer < numLayers; layer++) {
      const row = layer * numExperts;
      for (const end = i + topK; i < end; i++) {
        const id = data[i]!;
        if (!(id >= 0 && id < numExperts && Number.isInteger(id))) throw idError(routes, id, token, layer);
        counts[row + id]!++;
      }
    }
  }
}

function idError(routes: RoutesRecording, id: number, token: number, layer: number): EplbRangeError {
  const { topK, numExperts } = routes;
  return new EplbRangeError(
    'EPLB_RANGE',
    `recording: expert id ${id} at token ${token}, layer ${layer}; ids go from 0 to ${numExperts - 1} with --experts ` +
      `${numExperts} (read as routes because the last dimension, ${topK}, is not the number of experts)`,
  );
}

function addSteps(loads: LoadsRecording, from: number, to: number, sums: Float64Array): void {
  const { data, hasSteps, numExperts } = loads;
  const perStep = sums.length;
  for (let step = from; step < to; step++) {
    const start = step * perStep;
    for (let i = 0; i < perStep; i++) {
      const load = data[start + i]!;
      if (!(load >= 0 && load < Number.POSITIVE_INFINITY)) {
        const at = `${hasSteps ? `step ${step}, ` : ''}layer ${Math.floor(i / numExperts)}, expert ${i % numExperts}`;
        throw new EplbRangeError(
          'EPLB_LOAD',
          `recording: load ${load} at ${at}; a load must be finite and not negative`,
        );
      }
      sums[i]! += load;
    }
  }
}

function toFloat32(sums: Float64Array, numExperts: number): Float32Array {
  const out = Float32Array.from(sums);
  const over = out.indexOf(Number.POSITIVE_INFINITY);
  if (over === -1) return out;
  const at = `layer ${Math.floor(over / numExperts)}, expert ${over % numExperts}`;
  throw new EplbRangeError(
    'EPLB_LOAD',
    `recording: the loads of ${at} add up to ${sums[over]}, which is too large for float32; select fewer --steps`,
  );
}
