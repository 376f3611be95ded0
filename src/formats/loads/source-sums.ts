import { MAX_FLOAT32 } from '../../core/checks.ts';
import { zeros } from '../../memory/allocate.ts';
import { fileLoadError } from './array-loads.ts';

/** Sizes of loads by the rank that tokens are on. */
interface SourceSizes {
  readonly numLayers: number;
  readonly numSourceRanks: number;
  readonly numExperts: number;
}

/**
 * Makes what adds loads [layers x ranks x logical] over the ranks, in double precision. Its result [layers x
 * logical] is written again by the next call.
 *
 * @throws EplbRangeError EPLB_LOAD for a sum beyond float32
 */
export function addedOverSources(
  name: string,
  { numLayers, numSourceRanks, numExperts }: SourceSizes,
): (sourceLoads: Float32Array, step: number) => Float32Array {
  const loads = zeros(`${name}: loads of a step`, Float32Array, numLayers * numExperts);
  const sums = new Float64Array(numExperts);
  return (sourceLoads, step) => {
    for (let layer = 0, at = 0; layer < numLayers; layer++) {
      sums.fill(0);
      for (let rank = 0; rank < numSourceRanks; rank++)
        for (let expert = 0; expert < numExperts; expert++) sums[expert]! += sourceLoads[at++]!;
      for (let expert = 0; expert < numExperts; expert++) {
        const sum = sums[expert]!;
        if (sum > MAX_FLOAT32)
          throw fileLoadError(name, sum, `step ${step}, layer ${layer}, expert ${expert} of all ranks`);
        loads[layer * numExperts + expert] = sum;
      }
    }
    return loads;
  };
}
