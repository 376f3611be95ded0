import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import type { RecordedStep } from './recording.ts';

/** How far loads by rank may be from the load that they add up to: float32 has seven digits. */
const TOLERANCE = 1e-4;

/**
 * Checks loads by the rank that tokens are on: that there are as many as are wanted, that each is a load,
 * and that they add up to the step's.
 *
 * @returns them
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`, `EPLB_LOAD`
 */
export function checkedSourceLoads(
  { step, loads, sourceLoads }: RecordedStep,
  sizes: { readonly numLayers: number; readonly numLogicalExperts: number; readonly numSourceRanks: number },
): Float32Array {
  const { numLayers, numLogicalExperts: numExperts, numSourceRanks } = sizes;
  const title = `recording: step ${step}: sourceLoads`;
  if (!(sourceLoads instanceof Float32Array)) {
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(sourceLoads)} is not a Float32Array`);
  }
  if (sourceLoads.length !== numLayers * numSourceRanks * numExperts) {
    const wanted = `${numLayers} layers of ${numSourceRanks} ranks and ${numExperts} experts`;
    throw new EplbRangeError('EPLB_SHAPE', `${title}: ${sourceLoads.length} loads, not ${wanted}`);
  }
  for (let layer = 0; layer < numLayers; layer++) {
    const first = layer * numSourceRanks * numExperts;
    for (let expert = 0; expert < numExperts; expert++) {
      let sum = 0;
      for (let rank = 0; rank < numSourceRanks; rank++) {
        const load = sourceLoads[first + rank * numExperts + expert]!;
        if (!(load >= 0)) throw sourceError(title, layer, expert, `${load} of rank ${rank} is not a load`);
        sum += load;
      }
      const load = loads[layer * numExperts + expert]!;
      if (Math.abs(sum - load) <= TOLERANCE * load) continue;
      throw sourceError(title, layer, expert, `the ranks have ${sum} together, the load is ${load}`);
    }
  }
  return sourceLoads;
}

function sourceError(title: string, layer: number, expert: number, why: string): EplbRangeError {
  return new EplbRangeError('EPLB_LOAD', `${title}: layer ${layer}, expert ${expert}: ${why}`);
}
