// A winner tree over packs: the root is the least key. An update plays the matches on one path; the winner so far stays in
// a register and the opponents' places are known beforehand, so the path costs one minimum a level and no branch.

/**
 * Builds the tree over empty packs: u64[2 * leaves] at `tree`, node 1 the root, the leaf of pack p at leaves + p. The key of
 * an empty pack is its first slot.
 *
 * @param leaves power of two, at least `numPacks`
 * @param absent the key of leaves without a pack: greater than all others
 */
export function buildWinnerTree(tree: usize, numPacks: i32, leaves: i32, capacity: i32, absent: u64): void {
  for (let p = 0; p < leaves; p++) {
    store<u64>(tree + ((<usize>(leaves + p)) << 3), p < numPacks ? <u64>(p * capacity) : absent);
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

/** Gives the pack at `leaf` a new key. */
export function updateWinner(tree: usize, leaf: i32, key: u64): void {
  let node = (<usize>leaf) << 3;
  let best = key;
  store<u64>(tree + node, best);
  while (node > 8) {
    const opponent = load<u64>(tree + (node ^ 8));
    best = select<u64>(best, opponent, best < opponent);
    node = (node >> 1) & ~7;
    store<u64>(tree + node, best);
  }
}
