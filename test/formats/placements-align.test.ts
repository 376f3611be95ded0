import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alignLayers } from '../../src/formats/placements/align.ts';
import type { Placement } from '../../src/formats/placements/placement.ts';

/** A placement of one slot a layer, whose experts tell the layers. */
function placement(numLayers: number, layerNumbers?: readonly number[]): Placement {
  const slots = Int32Array.from({ length: numLayers }, (_, layer) => layer);
  const sizes = { numLayers, numPhysicalExperts: 1, numLogicalExperts: numLayers };
  return {
    format: 'test',
    ...sizes,
    slots,
    notes: [],
    ...(layerNumbers === undefined ? {} : { layerNumbers }),
  };
}

const aligned = (one: Placement, numLayers: number, layerNumbers?: readonly number[]) =>
  Array.from(alignLayers(one, { numLayers, layerNumbers }, 'p').slots);

test('as many layers, and numbers that agree, are left as they are', () => {
  assert.deepEqual(aligned(placement(3), 3), [0, 1, 2]);
  assert.deepEqual(aligned(placement(3, [3, 4, 5]), 3), [0, 1, 2]);
  assert.deepEqual(aligned(placement(3), 3, [3, 4, 5]), [0, 1, 2]);
  assert.deepEqual(aligned(placement(3, [3, 4, 5]), 3, [3, 4, 5]), [0, 1, 2]);
});

test('layers that both number are matched by number', () => {
  assert.deepEqual(aligned(placement(4, [2, 3, 5, 6]), 2, [3, 6]), [1, 3]);
  assert.throws(() => aligned(placement(2, [3, 4]), 2, [4, 5]), /p: it has no layer 5/);
});

test('rows of dense layers are left out where the recording tells its layers', () => {
  assert.deepEqual(aligned(placement(5), 3, [2, 3, 4]), [2, 3, 4]);
  const { notes, layerNumbers } = alignLayers(placement(5), { numLayers: 3, layerNumbers: [2, 3, 4] }, 'p');
  assert.deepEqual(notes, ['2 layers left out that the recording does not have']);
  assert.deepEqual(layerNumbers, [2, 3, 4]);
});

test('what cannot be matched is refused', () => {
  assert.throws(
    () => aligned(placement(5), 3),
    /p: it has 5 layers, the recording 3; eplb convert --dense-rows/,
  );
  assert.throws(() => aligned(placement(4), 3, [2, 3, 4]), /p: it has 4 layers/);
  assert.throws(() => aligned(placement(2, [3, 4]), 3), /p: it has 2 layers/);
});
