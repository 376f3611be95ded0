// A winner tree over packs: the root is the least key. An update plays the matches on one path; the winner so far stays in
// a register and the opponents' places are known beforehand, so the path costs one minimum a level and no branch.

/**
 * Builds the tree over `numPacks` keys: u64[2 * leaves] at `tree`, node 1 the root, the leaf of pack p at leaves + p.
 *
 * @param keys u64 every 16 bytes
 * @param leaves power of two, at least `numPacks`
 * @param absent the key of leaves without a pack: greater than all others
 */
export function buildWinnerTree(tree: usize, keys: usize, numPacks: i32, leaves: i32, absent: u64): void {
  for (let p = 0; p < leaves; p++) {
    const key = p < numPacks ? load<u64>(keys + ((<usize>p) << 4)) : absent;
    store<u64>(tree + ((<usize>(leaves + p)) << 3), key);
  }
  for (let node = leaves - 1; node > 0; node--) {
    const children = tree + ((<usize>node) << 4);
    const left = load<u64>(children);
    const right = load<u64>(children, 8);
    store<u64>(tree + ((<usize>node) << 3), select<u64>(left, right, left < right));
  }
}

/** The least key. */
export function winner(tree: usize): u64 {
  return load<u64>(tree, 8);
}

/** Gives `pack` a new key. */
export function updateWinner(tree: usize, leaves: i32, pack: i32, key: u64): void {
  let node = (<usize>(leaves + pack)) << 3;
  let best = key;
  store<u64>(tree + node, best);
  while (node > 8) {
    const opponent = load<u64>(tree + (node ^ 8));
    best = select<u64>(best, opponent, best < opponent);
    node = (node >> 1) & ~7;
    store<u64>(tree + node, best);
  }
}
