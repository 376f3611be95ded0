// Replication: every redundant slot goes to the expert with the greatest load per replica, lowest index first
// (DeepSeek EPLB, replicate_experts). With the experts sorted once, the greatest is either the next one that
// has no second copy yet or the top of a small heap of those that have: nothing is scanned per slot.

import { keyIndex, makeKey, makeKeyPairs, sizeClass } from '../shared/keys';
import { sortKeyPairs } from '../shared/sort';
import { siftDown, siftUp } from './heap';

/**
 * Replicates one row. Slots 0..numLogical-1 hold the experts in order, rank 0; then come the redundant ones.
 *
 * @param weight f32[numLogical], finite and >= 0
 * @param phyToLog i32[numPhysical], out: the expert of each slot
 * @param rank i32[numPhysical], out: which replica of its expert a slot is, from 0
 * @param count i32[numLogical], out: replicas of each expert
 * @param scratch {@link replicateLayerScratchBytes}
 */
export function replicateLayer(
  weight: usize,
  numLogical: i32,
  numPhysical: i32,
  phyToLog: usize,
  rank: usize,
  count: usize,
  scratch: usize,
): void {
  const size = sizeClass(numLogical);
  const heap = scratch + ((<usize>size) << 4);
  const quotient = heap + ((<usize>sizeClass(numPhysical)) << 3);
  makeKeyPairs(weight, weight, numLogical, size, scratch);
  sortKeyPairs(scratch, size);
  for (let i = 0; i < numLogical; i++) {
    const at = (<usize>i) << 2;
    store<i32>(phyToLog + at, i);
    store<i32>(rank + at, 0);
    store<i32>(count + at, 1);
  }
  const redundant = (<usize>numLogical) << 2;
  replicateSorted(
    weight,
    scratch,
    numLogical,
    numPhysical - numLogical,
    phyToLog + redundant,
    rank + redundant,
    count,
    quotient,
    heap,
  );
}

/**
 * Chooses the experts of `numRedundant` slots, the experts' keys being sorted.
 *
 * @param keys u64 every 16 bytes, numLogical of them, descending
 * @param item i32[numRedundant], out: expert of each redundant slot
 * @param rank i32[numRedundant], out: which replica of its expert that slot is, from 1
 * @param count i32[numLogical], in: all 1; out: replicas of each expert
 * @param quotient f32[numLogical], out: load per replica of the experts that have several
 * @param heap u64[numRedundant], out: the keys of those experts, in no order
 * @returns how many experts have several replicas: they are the first so many of `keys`
 */
export function replicateSorted(
  weight: usize,
  keys: usize,
  numLogical: i32,
  numRedundant: i32,
  item: usize,
  rank: usize,
  count: usize,
  quotient: usize,
  heap: usize,
): i32 {
  let numReplicated = 0;
  let top: u64 = 0;
  let fresh = load<u64>(keys);
  for (let j = 0; j < numRedundant; j++) {
    const isFresh = fresh > top;
    const expert = keyIndex(isFresh ? fresh : top);
    const at = (<usize>expert) << 2;
    const replicas = load<i32>(count + at);
    store<i32>(item + ((<usize>j) << 2), expert);
    store<i32>(rank + ((<usize>j) << 2), replicas);
    store<i32>(count + at, replicas + 1);
    const share = load<f32>(weight + at) / <f32>(replicas + 1);
    store<f32>(quotient + at, share);
    const key = makeKey(share, expert);
    if (isFresh) {
      siftUp(heap, numReplicated++, key);
      fresh = numReplicated < numLogical ? load<u64>(keys + ((<usize>numReplicated) << 4)) : 0;
    } else {
      siftDown(heap, numReplicated, key);
    }
    top = load<u64>(heap);
  }
  return numReplicated;
}

/** Scratch of {@link replicateLayer}: the sorted keys, the heap, and loads per replica. */
export function replicateLayerScratchBytes(numLogical: i32, numPhysical: i32): f64 {
  return 16 * <f64>sizeClass(numLogical) + 8 * <f64>sizeClass(numPhysical) + 4 * <f64>numLogical;
}
