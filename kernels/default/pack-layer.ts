// Balanced packing of one row: the items are the copies, and none is replicated.

import { sizeClass } from '../shared/keys';
import { placeRow, placeRowScratchBytes } from './place-row';

/**
 * Packs `n` items into `numPacks` packs of n / numPacks items. One item a pack means the identity.
 *
 * @param weight f32[n], >= 0
 * @param packIndex i32[n], out: the pack of each item
 * @param rankInPack i32[n], out: the place of each item in its pack
 * @param scratch {@link packLayerScratchBytes}
 */
export function packLayer(
  weight: usize,
  n: i32,
  numPacks: i32,
  packIndex: usize,
  rankInPack: usize,
  scratch: usize,
): void {
  const unit = (<usize>sizeClass(n)) << 2;
  const slotToItem = scratch;
  placeRow(weight, n, n, numPacks, slotToItem, scratch + unit, scratch + 2 * unit);
  const capacity = n / numPacks;
  for (let slot = 0; slot < n; slot++) {
    const item = (<usize>load<i32>(slotToItem + ((<usize>slot) << 2))) << 2;
    store<i32>(packIndex + item, slot / capacity);
    store<i32>(rankInPack + item, slot % capacity);
  }
}

/** Scratch of {@link packLayer}: the slots and their replicas beside what placing takes. */
export function packLayerScratchBytes(n: i32): f64 {
  return 8 * <f64>sizeClass(n) + placeRowScratchBytes(n, n);
}
