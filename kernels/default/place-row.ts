// Two rows of the default policy at once: replicate the items, then pack the copies. The items are sorted
// once; after replication only the copies of replicated items are sorted again, and merged into the untouched
// rest.

import { makeKey, makeKeyPairs, sizeClass } from '../shared/keys';
import { sortKeyPairs } from '../shared/sort';
import { copyWords, countWords, fillWords } from '../shared/words';
import { packPair } from './pack';
import { replicateSorted } from './replicate';

/**
 * Replicates `m` items to `n` copies and packs these to `numPacks` packs; slot = pack * (n / numPacks) +
 * place.
 *
 * @param weight f32[m], finite and >= 0
 * @param slotToItem i32[n], out: the item of each slot
 * @param slotReplicaRank i32[n], out: which replica of its item a slot holds, from 0
 * @param scratch {@link placeRowScratchBytes}
 */
export function placeRow(
  weight: usize,
  m: i32,
  n: i32,
  numPacks: i32,
  slotToItem: usize,
  slotReplicaRank: usize,
  scratch: usize,
): void {
  placePair(
    weight,
    weight,
    0,
    0,
    m,
    n,
    numPacks,
    slotToItem,
    slotToItem,
    slotReplicaRank,
    slotReplicaRank,
    scratch,
  );
}

/**
 * As placeRow, for two rows A and B of the same sizes.
 *
 * @param expertsA i32[m]: what to write for each item of A; 0, no pointer, to write the items themselves
 * @param slotsA i32[n], out: what each slot holds
 * @param ranksA i32[n], out: which replica a slot holds
 */
export function placePair(
  weightA: usize,
  weightB: usize,
  expertsA: usize,
  expertsB: usize,
  m: i32,
  n: i32,
  numPacks: i32,
  slotsA: usize,
  slotsB: usize,
  ranksA: usize,
  ranksB: usize,
  scratch: usize,
): void {
  const unit = (<usize>sizeClass(n)) << 2;
  const copyExpertA = scratch;
  const copyExpertB = copyExpertA + unit;
  const copyRankA = copyExpertB + unit;
  const copyRankB = copyRankA + unit;
  const head = copyRankB + unit; // v128[sizeClass(n)]
  const rest = head + 4 * unit; // 10 units: what replication needs, and then packing
  const copies = rest + 10 * unit;
  // The redundant copies will find room before the sorted items, which then need not be moved.
  const keys = copies + ((<usize>(n - m)) << 4);
  const size = sizeClass(m);
  makeKeyPairs(weightA, weightB, m, size, keys);
  sortKeyPairs(keys, size);
  startCopies(expertsA, m, copyExpertA, copyRankA);
  startCopies(expertsB, m, copyExpertB, copyRankB);
  if (n > m) {
    v128.store(keys + ((<usize>size) << 4), i64x2.splat(0)); // ends the sorted items, if they fill all places
    const numA = replicateHalf(weightA, keys, m, n, copyExpertA, copyRankA, head, rest);
    const numB = replicateHalf(weightB, keys + 8, m, n, copyExpertB, copyRankB, head + 8, rest);
    const numHead = sizeClass(max(numA, numB) + n - m);
    sortHead(head, numA + n - m, numB + n - m, numHead);
    mergeHalf(head, numA + n - m, keys + ((<usize>numA) << 4), copies);
    mergeHalf(head + 8, numB + n - m, keys + ((<usize>numB) << 4) + 8, copies + 8);
  }
  if (n === numPacks) {
    // One copy a pack: the copies stay in order, the redundant ones last.
    copyWords(slotsA, copyExpertA, n);
    copyWords(slotsB, copyExpertB, n);
    copyWords(ranksA, copyRankA, n);
    copyWords(ranksB, copyRankB, n);
    return;
  }
  packPair(
    copies,
    n,
    numPacks,
    copyExpertA,
    copyExpertB,
    copyRankA,
    copyRankB,
    slotsA,
    slotsB,
    ranksA,
    ranksB,
    rest,
  );
}

/** The first copies: every item once, in order. */
function startCopies(experts: usize, m: i32, copyExpert: usize, copyRank: usize): void {
  if (experts !== 0) copyWords(copyExpert, experts, m);
  else countWords(copyExpert, m, 0);
  fillWords(copyRank, m, 0);
}

/**
 * Replicates the items of one half: appends the redundant copies to `copyExpert` and `copyRank`, and writes
 * the keys of all copies of replicated items to `head`, every 16 bytes. A copy's index is its place before
 * packing.
 *
 * @returns how many items have several copies
 */
function replicateHalf(
  weight: usize,
  keys: usize,
  m: i32,
  n: i32,
  copyExpert: usize,
  copyRank: usize,
  head: usize,
  scratch: usize,
): i32 {
  const unit = (<usize>sizeClass(n)) << 2;
  const item = scratch;
  const count = item + unit;
  const quotient = count + unit;
  const heap = quotient + unit; // u64[n - m]
  fillWords(count, m, 1);
  const redundant = (<usize>m) << 2;
  const numReplicated = replicateSorted(
    weight,
    keys,
    m,
    n - m,
    item,
    copyRank + redundant,
    count,
    quotient,
    heap,
  );
  let to = head;
  for (let i = 0; i < numReplicated; i++, to += 16) store<u64>(to, load<u64>(heap + ((<usize>i) << 3)));
  for (let copy = m; copy < n; copy++, to += 16) {
    const at = (<usize>load<i32>(item + ((<usize>(copy - m)) << 2))) << 2;
    store<u64>(to, makeKey(load<f32>(quotient + at), copy));
    store<i32>(copyExpert + ((<usize>copy) << 2), load<i32>(copyExpert + at));
  }
  return numReplicated;
}

/** Fills both halves of `head` up to `size` with zeros and sorts them. */
function sortHead(head: usize, numA: i32, numB: i32, size: i32): void {
  for (let i = numA; i < size; i++) store<u64>(head + ((<usize>i) << 4), 0);
  for (let i = numB; i < size; i++) store<u64>(head + ((<usize>i) << 4), 0, 8);
  sortKeyPairs(head, size);
}

/**
 * Merges one half of `head` with that of `tail`, to `out`, which lies as far before `tail` as `head` has
 * keys: what is left of the tail when the head is used up is in its place already.
 */
function mergeHalf(head: usize, numHead: i32, tail: usize, out: usize): void {
  const end = head + ((<usize>numHead) << 4);
  let a = head;
  let b = tail;
  let to = out;
  while (a < end) {
    const x = load<u64>(a);
    const y = load<u64>(b);
    const takeHead = x > y;
    store<u64>(to, select<u64>(x, y, takeHead));
    const step = (<usize>takeHead) << 4;
    a += step;
    b += 16 - step;
    to += 16;
  }
}

/**
 * Scratch of {@link placeRow}: the tables of the copies, what replication and packing need, and the sorted
 * keys.
 */
export function placeRowScratchBytes(m: i32, n: i32): f64 {
  const keys = n - m + sizeClass(m) + (n > m ? 1 : 0);
  return 72 * <f64>sizeClass(n) + 16 * <f64>keys;
}
