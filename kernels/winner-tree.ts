// Winner trees over the packs of two rows, one in each half of a vector: the root has the least key of either. An update
// plays the matches on one path a row; the winners so far stay in a register and the opponents' places are known
// beforehand, so that a level costs two loads and one minimum for both rows, and no branch.

/**
 * Builds the trees over empty packs: v128[2 * leaves] at `tree`, aligned to 32, node 1 the root, the leaf of pack p at leaves + p. The
 * key of an empty pack is its first slot.
 *
 * @param leaves power of two, at least `numPacks`
 * @param absent the key of leaves without a pack: greater than all others, also as a double
 */
export function buildWinnerTrees(tree: usize, numPacks: i32, leaves: i32, capacity: i32, absent: u64): void {
  for (let p = 0; p < leaves; p++) {
    const key = p < numPacks ? <u64>(p * capacity) : absent;
    v128.store(tree + ((<usize>(leaves + p)) << 4), i64x2.splat(<i64>key));
  }
  for (let node = leaves - 1; node > 0; node--) {
    const children = tree + ((<usize>node) << 5);
    v128.store(tree + ((<usize>node) << 4), f64x2.pmin(v128.load(children), v128.load(children, 16)));
  }
}

/** The least keys. */
export function winners(tree: usize): v128 {
  return v128.load(tree, 16);
}

/** Gives the pack at `leafA` in the first half, and that at `leafB` in the second, new keys. */
export function updateWinners(tree: usize, leafA: i32, leafB: i32, keys: v128): void {
  let a = tree + ((<usize>leafA) << 4);
  let b = tree + ((<usize>leafB) << 4) + 8;
  const root = tree + 16;
  let best = keys;
  v128.store64_lane(a, best, 0);
  v128.store64_lane(b, best, 1);
  while (a > root) {
    const opponents = v128.load64_lane(b ^ 16, v128.load64_zero(a ^ 16), 1);
    best = f64x2.pmin(best, opponents);
    a = tree + (((a - tree) >> 1) & ~15);
    b = tree + (((b - tree) >> 1) & ~15) + 8;
    v128.store64_lane(a, best, 0);
    v128.store64_lane(b, best, 1);
  }
}
