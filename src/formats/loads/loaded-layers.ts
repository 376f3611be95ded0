import { zeros } from '../../memory/allocate.ts';
import { BYTES_PER_NUMBER } from '../tensor/number-type.ts';
import { countOf } from '../tensor/shape.ts';
import { readTensor, type StoredTensor, slicedAlong, withLeadingAxis } from '../tensor/stored.ts';

/**
 * Which layers have experts. SGLang's tables have a row for every layer of the model, and those of dense
 * layers stay zero. Where a layer is zero in the steps that have loads, all other steps are asked for it:
 * nothing is guessed.
 *
 * @param loaded - 1 for each of the layers from `from` to before `to` that has any load in a step
 * @returns the layers with loads in any step, ascending; all of them when no step has any
 */
export async function loadedLayers(
  numLayers: number,
  numSteps: number,
  loaded: (step: number, from: number, to: number) => Promise<Uint8Array>,
): Promise<number[]> {
  const isLoaded = new Uint8Array(numLayers);
  let from = 0;
  let to = numLayers;
  for (let step = 0; step < numSteps && from < to; step++) {
    const found = await loaded(step, from, to);
    for (let i = 0; i < found.length; i++) if (found[i] === 1) isLoaded[from + i] = 1;
    while (from < to && isLoaded[from] === 1) from++;
    while (from < to && isLoaded[to - 1] === 1) to--;
  }
  if (!isLoaded.includes(1)) isLoaded.fill(1);
  const layers: number[] = [];
  for (let layer = 0; layer < numLayers; layer++) if (isLoaded[layer] === 1) layers.push(layer);
  return layers;
}

/** Says which layers were left out; nothing when none were. */
export function denseNotes(numLayers: number, layers: readonly number[]): string[] {
  if (layers.length === numLayers) return [];
  const left = new Set(layers);
  const dense = Array.from({ length: numLayers }, (_, layer) => layer).filter((layer) => !left.has(layer));
  const what = dense.length === 1 ? `layer ${dense[0]} has` : `layers ${dense.join(', ')} have`;
  return [`${what} no load in any step and ${dense.length === 1 ? 'was' : 'were'} left out as dense`];
}

/** 1 for each row of equal length that has a byte that is not zero. */
export function rowsWithLoad(bytes: Uint8Array, numRows: number): Uint8Array {
  const rowBytes = bytes.length / numRows;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const zero = Buffer.alloc(rowBytes);
  return Uint8Array.from({ length: numRows }, (_, row) =>
    buffer.compare(zero, 0, rowBytes, row * rowBytes, (row + 1) * rowBytes) === 0 ? 0 : 1,
  );
}

/** [layers, experts] as one step. */
export function asSteps(tensor: StoredTensor): StoredTensor {
  return tensor.shape.length === 3 ? tensor : withLeadingAxis(tensor);
}

/** {@link loadedLayers} of the first steps of a tensor [steps, layers, experts]. */
export function loadedLayersOf(tensor: StoredTensor, numSteps: number): Promise<number[]> {
  return loadedLayers(tensor.shape[1]!, numSteps, (step, from, to) => loadedRows(tensor, step, from, to));
}

/** 1 for each layer from `from` to before `to` of a step that has any load. */
export async function loadedRows(
  tensor: StoredTensor,
  step: number,
  from: number,
  to: number,
): Promise<Uint8Array> {
  const rows = slicedAlong(slicedAlong(tensor, 0, step, step + 1), 1, from, to);
  const bytes = zeros('a step of loads', Uint8Array, countOf(rows.shape) * BYTES_PER_NUMBER[rows.type]);
  await readTensor(rows, bytes);
  return rowsWithLoad(bytes, to - from);
}
