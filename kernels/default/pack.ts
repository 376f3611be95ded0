// Balanced packing (DeepSeek EPLB, balanced_packing): items in descending order, each to the lightest pack
// that has room. All ties go to the lowest index; pack sums are float32. Two rows at once, one in each half
// of a vector.
//
// A pack's key has the bits of its load above and its next free slot below, so the least key is the lightest
// pack, the lowest index first, and names the slot to fill. A full pack's key is greater than any other.

import { sizeClass } from '../shared/keys';
import { fillWords } from '../shared/words';
import { buildWinnerTrees, firstLeaf, updateWinners, winners } from './winner-tree';

/** Orders after every key of a load, and still as a double. */
const FULL: u64 = 0x7fe0_0000_0000_0000;
const LOAD_BITS: i64 = -0x1_0000_0000;

/**
 * Beyond this many, packs are kept in winner trees, one a row: a sorted list of both rows costs half a step a
 * pack, a tree one a level. Measured, whole plans: list 0.21 ms, tree 0.26 at 32 packs; both 0.47 at 48; 0.37
 * and 0.33 at 64.
 */
const MAX_SORTED_PACKS = 48;
/** The list of so many is held in registers. */
const FEW_PACKS = 8;

/**
 * Packs the copies of two rows.
 *
 * @param copies v128[n]: keys of the copies, both halves descending
 * @param expertsA i32[n]: what a copy of the first half is a copy of; `ranksA` its replica number; B the
 * second half's
 * @param slotsA i32[n], out: what each slot holds; `slotRanksA` its replica number; B the second half's
 * @param scratch 32 * sizeClass(n) bytes
 */
export function packPair(
  copies: usize,
  n: i32,
  numPacks: i32,
  expertsA: usize,
  expertsB: usize,
  ranksA: usize,
  ranksB: usize,
  slotsA: usize,
  slotsB: usize,
  slotRanksA: usize,
  slotRanksB: usize,
  scratch: usize,
): void {
  if (numPacks > MAX_SORTED_PACKS) {
    const end = copies + ((<usize>n) << 4);
    const capacity = n / numPacks;
    const placeOf = scratch; // i32[n]: the leaf of each slot's pack, plus 1 when the slot is the last of it
    const tree = (placeOf + ((<usize>sizeClass(n)) << 2) + 63) & ~63;
    let slot = placeOf;
    let leaf = <i32>firstLeaf(numPacks);
    for (let pack = 0; pack < numPacks; pack++, leaf += 16) {
      const last = slot + ((<usize>(capacity - 1)) << 2);
      for (; slot < last; slot += 4) store<i32>(slot, leaf);
      store<i32>(slot, leaf | 1);
      slot += 4;
    }
    buildWinnerTrees(tree, numPacks, capacity, FULL);
    for (let from = copies; from < end; from += 16) {
      packNext(
        v128.load(from),
        tree,
        placeOf,
        expertsA,
        expertsB,
        ranksA,
        ranksB,
        slotsA,
        slotsB,
        slotRanksA,
        slotRanksB,
      );
    }
    return;
  }
  packSorted(
    copies,
    n,
    numPacks,
    expertsA,
    expertsB,
    ranksA,
    ranksB,
    slotsA,
    slotsB,
    slotRanksA,
    slotRanksB,
    scratch,
  );
}

/** Packs both halves at once, their packs in sorted lists. Arguments as packPair. */
function packSorted(
  copies: usize,
  n: i32,
  numPacks: i32,
  expertsA: usize,
  expertsB: usize,
  ranksA: usize,
  ranksB: usize,
  slotsA: usize,
  slotsB: usize,
  slotRanksA: usize,
  slotRanksB: usize,
  scratch: usize,
): void {
  const capacity = n / numPacks;
  const lastInPack = scratch; // u64[n]: all ones where a slot is the last of its pack
  const packs = scratch + ((<usize>sizeClass(n)) << 3);
  fillWords(lastInPack, 2 * n, 0);
  for (let pack = 0; pack < numPacks; pack++) {
    store<i64>(lastInPack + ((<usize>((pack + 1) * capacity - 1)) << 3), -1);
    v128.store(packs + ((<usize>pack) << 4), i64x2.splat(<i64>(pack * capacity)));
  }
  const end = copies + ((<usize>n) << 4);
  if (numPacks <= FEW_PACKS) {
    for (let pack = numPacks; pack < FEW_PACKS; pack++) {
      v128.store(packs + ((<usize>pack) << 4), i64x2.splat(<i64>FULL));
    }
    packFew(
      copies,
      end,
      packs,
      lastInPack,
      expertsA,
      expertsB,
      ranksA,
      ranksB,
      slotsA,
      slotsB,
      slotRanksA,
      slotRanksB,
    );
    return;
  }
  const last = packs + ((<usize>(numPacks - 1)) << 4);
  for (let from = copies; from < end; from += 16) {
    const item = v128.load(from);
    let pack = v128.load(packs);
    const grown = growUntilFull(pack, item, lastInPack);
    fillSlots(pack, item, expertsA, expertsB, ranksA, ranksB, slotsA, slotsB, slotRanksA, slotRanksB);
    // The lightest pack is first. It grows, and takes its new place: packs that are lighter now move up by
    // one.
    for (let at = packs; at < last; at += 16) {
      const after = v128.load(at, 16);
      v128.store(at, f64x2.pmax(pack, f64x2.pmin(after, grown)));
      pack = after;
    }
    v128.store(last, f64x2.pmax(pack, grown));
  }
}

/**
 * The same with the list of {@link FEW_PACKS} in registers: the kernel of a plan for 58 layers of 288 slots
 * on nodes of 8 ranks takes .85 of the time. Packs that there are not are full.
 */
function packFew(
  copies: usize,
  end: usize,
  packs: usize,
  lastInPack: usize,
  expertsA: usize,
  expertsB: usize,
  ranksA: usize,
  ranksB: usize,
  slotsA: usize,
  slotsB: usize,
  slotRanksA: usize,
  slotRanksB: usize,
): void {
  let p0 = v128.load(packs);
  let p1 = v128.load(packs, 16);
  let p2 = v128.load(packs, 32);
  let p3 = v128.load(packs, 48);
  let p4 = v128.load(packs, 64);
  let p5 = v128.load(packs, 80);
  let p6 = v128.load(packs, 96);
  let p7 = v128.load(packs, 112);
  for (let from = copies; from < end; from += 16) {
    const item = v128.load(from);
    const grown = growUntilFull(p0, item, lastInPack);
    fillSlots(p0, item, expertsA, expertsB, ranksA, ranksB, slotsA, slotsB, slotRanksA, slotRanksB);
    p0 = f64x2.pmin(p1, grown);
    p1 = f64x2.pmax(p1, f64x2.pmin(p2, grown));
    p2 = f64x2.pmax(p2, f64x2.pmin(p3, grown));
    p3 = f64x2.pmax(p3, f64x2.pmin(p4, grown));
    p4 = f64x2.pmax(p4, f64x2.pmin(p5, grown));
    p5 = f64x2.pmax(p5, f64x2.pmin(p6, grown));
    p6 = f64x2.pmax(p6, f64x2.pmin(p7, grown));
    p7 = f64x2.pmax(p7, grown);
  }
}

/** Puts a copy of each half into the next slot of its pack. */
function fillSlots(
  pack: v128,
  item: v128,
  expertsA: usize,
  expertsB: usize,
  ranksA: usize,
  ranksB: usize,
  slotsA: usize,
  slotsB: usize,
  slotRanksA: usize,
  slotRanksB: usize,
): void {
  const slotA = (<usize>i32x4.extract_lane(pack, 0)) << 2;
  const slotB = (<usize>i32x4.extract_lane(pack, 2)) << 2;
  const copyA = (<usize>~i32x4.extract_lane(item, 0)) << 2;
  const copyB = (<usize>~i32x4.extract_lane(item, 2)) << 2;
  store<i32>(slotsA + slotA, load<i32>(expertsA + copyA));
  store<i32>(slotsB + slotB, load<i32>(expertsB + copyB));
  store<i32>(slotRanksA + slotA, load<i32>(ranksA + copyA));
  store<i32>(slotRanksB + slotB, load<i32>(ranksB + copyB));
}

/** The packs' keys when they have taken the items: see {@link grow}. */
function growUntilFull(pack: v128, item: v128, lastInPack: usize): v128 {
  const slotA = <usize>i32x4.extract_lane(pack, 0);
  const slotB = <usize>i32x4.extract_lane(pack, 2);
  const isLast = v128.load64_lane(lastInPack + (slotB << 3), v128.load64_zero(lastInPack + (slotA << 3)), 1);
  return v128.bitselect(i64x2.splat(<i64>FULL), grow(pack, item), isLast);
}

/** Gives the next copy of each half to the winner of its tree. */
function packNext(
  item: v128,
  tree: usize,
  placeOf: usize,
  expertsA: usize,
  expertsB: usize,
  ranksA: usize,
  ranksB: usize,
  slotsA: usize,
  slotsB: usize,
  slotRanksA: usize,
  slotRanksB: usize,
): void {
  const pack = winners(tree);
  const slotA = (<usize>i32x4.extract_lane(pack, 0)) << 2;
  const slotB = (<usize>i32x4.extract_lane(pack, 2)) << 2;
  const placeA = load<i32>(placeOf + slotA);
  const placeB = load<i32>(placeOf + slotB);
  fillSlots(pack, item, expertsA, expertsB, ranksA, ranksB, slotsA, slotsB, slotRanksA, slotRanksB);
  const isFull = i64x2.replace_lane(i64x2.splat(-(<i64>(placeA & 1))), 1, -(<i64>(placeB & 1)));
  updateWinners(
    tree,
    placeA & ~1,
    placeB & ~1,
    v128.bitselect(i64x2.splat(<i64>FULL), grow(pack, item), isFull),
  );
}

/** The packs' keys when they have taken the items: the sums of the loads, and the slot after. */
function grow(pack: v128, item: v128): v128 {
  const loadBits = i64x2.splat(LOAD_BITS);
  const sum = f32x4.add(v128.and(pack, loadBits), v128.and(item, loadBits));
  return v128.bitselect(sum, i64x2.add(pack, i64x2.splat(1)), loadBits);
}
