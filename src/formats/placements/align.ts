import { EplbRangeError } from '../../core/errors.ts';
import { counted } from '../number-text.ts';
import type { Placement } from './placement.ts';

/** The layers of what a placement is put beside: a recording, or a plan made from one. */
export interface LayersBeside {
  readonly numLayers: number;
  /** The model's numbers of them, where known. */
  readonly layerNumbers?: readonly number[] | undefined;
}

/**
 * The layers of a placement that a recording has, in its order. Layers that both number as the model does are
 * matched by number. A placement without numbers but with a row for every layer of the model, as SGLang's, is
 * matched by row. Else both have as many.
 *
 * @param name - the placement, for messages
 * @throws EplbRangeError EPLB_SHAPE when they do not fit
 */
export function alignLayers(placement: Placement, beside: LayersBeside, name: string): Placement {
  const { numLayers, layerNumbers } = placement;
  const wanted = beside.layerNumbers;
  if (layerNumbers !== undefined && wanted !== undefined) {
    const rows = wanted.map((number) => layerNumbers.indexOf(number));
    const missing = rows.indexOf(-1);
    if (missing >= 0)
      throw layersError(`${name}: it has no layer ${wanted[missing]}, which the recording has`);
    return rows.length === numLayers && rows.every((row, i) => row === i)
      ? placement
      : pick(placement, rows, wanted);
  }
  if (numLayers === beside.numLayers) return placement;
  if (wanted !== undefined && layerNumbers === undefined && wanted.at(-1)! < numLayers) {
    return pick(placement, wanted, wanted);
  }
  throw layersError(
    `${name}: it has ${counted(numLayers, 'layer')}, the recording ${beside.numLayers}; eplb convert ` +
      '--dense-rows leaves rows of dense layers out',
  );
}

function pick(placement: Placement, rows: readonly number[], layerNumbers: readonly number[]): Placement {
  const take = (table: Int32Array): Int32Array => {
    const width = table.length / placement.numLayers;
    const taken = new Int32Array(rows.length * width);
    rows.forEach((row, i) => {
      taken.set(table.subarray(row * width, (row + 1) * width), i * width);
    });
    return taken;
  };
  const { logToPhy, replicaCount } = placement;
  const left = placement.numLayers - rows.length;
  return {
    ...placement,
    numLayers: rows.length,
    slots: take(placement.slots),
    ...(logToPhy === undefined ? {} : { logToPhy: take(logToPhy) }),
    ...(replicaCount === undefined ? {} : { replicaCount: take(replicaCount) }),
    layerNumbers,
    notes:
      left === 0
        ? placement.notes
        : [...placement.notes, `${left} layers left out that the recording does not have`],
  };
}

function layersError(message: string): EplbRangeError {
  return new EplbRangeError('EPLB_SHAPE', message);
}
