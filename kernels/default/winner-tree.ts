// Winner trees over the packs of two rows, one in each half of a vector: the root has the least key of
// either. A node has four children, which lie together. An update plays the matches on one path a row; the
// winners so far stay in a register and the opponents' places are known beforehand, so that a level costs
// three minima for both rows, two of which wait for nothing, and no branch. Measured for 512 packs: 12.6 ns
// an item with two children a node, 9 with four.

/**
 * Where the root is, and how far the first child of the first node: a node's place is 16 * (its number from 1
 * on + 2).
 */
const ROOT: usize = 48;

/** Bytes of the trees over `numPacks` packs. */
function winnerTreeBytes(numPacks: i32): usize {
  return firstLeaf(numPacks) + ((<usize>numLeaves(numPacks)) << 4);
}

/** The place of the first pack's leaf in the tree; the others follow, 16 bytes each. */
export function firstLeaf(numPacks: i32): usize {
  return ROOT + ((<usize>((numLeaves(numPacks) - 1) / 3)) << 4);
}

/** Least power of four that is not less. */
function numLeaves(numPacks: i32): i32 {
  let leaves = 4;
  while (leaves < numPacks) leaves <<= 2;
  return leaves;
}

/**
 * Builds the trees over empty packs. The key of an empty pack is its first slot.
 *
 * @param tree winnerTreeBytes(numPacks) bytes, aligned to 64
 * @param absent the key of leaves without a pack: greater than all others, also as a double
 */
export function buildWinnerTrees(tree: usize, numPacks: i32, capacity: i32, absent: u64): void {
  const leaves = tree + firstLeaf(numPacks);
  const end = tree + winnerTreeBytes(numPacks);
  let key: i64 = 0;
  let leaf = leaves;
  for (let pack = 0; pack < numPacks; pack++, leaf += 16, key += capacity) v128.store(leaf, i64x2.splat(key));
  for (; leaf < end; leaf += 16) v128.store(leaf, i64x2.splat(<i64>absent));
  for (let node = leaves - 16, children = end - 64; node >= tree + ROOT; node -= 16, children -= 64) {
    const left = f64x2.pmin(v128.load(children), v128.load(children, 16));
    const right = f64x2.pmin(v128.load(children, 32), v128.load(children, 48));
    v128.store(node, f64x2.pmin(left, right));
  }
}

/** The least keys. */
export function winners(tree: usize): v128 {
  return v128.load(tree + ROOT);
}

/**
 * Gives new keys to the packs whose leaves are at the places `leafA` of the first half and `leafB` of the
 * second.
 */
export function updateWinners(tree: usize, leafA: usize, leafB: usize, keys: v128): void {
  let best = keys;
  let a = leafA;
  let b = leafB;
  for (;;) {
    const toA = tree + a;
    const toB = tree + b;
    v128.store64_lane(toA, best, 0);
    v128.store64_lane(toB, best, 1, 8);
    if (a === ROOT) return;
    const first = v128.load64_lane(toB ^ 16, v128.load64_zero(toA ^ 16), 1, 8);
    const second = v128.load64_lane(toB ^ 32, v128.load64_zero(toA ^ 32), 1, 8);
    const third = v128.load64_lane(toB ^ 48, v128.load64_zero(toA ^ 48), 1, 8);
    best = f64x2.pmin(best, f64x2.pmin(first, f64x2.pmin(second, third)));
    a = ((a >> 2) & ~15) + 32;
    b = ((b >> 2) & ~15) + 32;
  }
}
