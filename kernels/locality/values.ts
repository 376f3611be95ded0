// What placements are worth: how much experts that belong together share nodes. Connections are whole numbers
// and worths powers of four, so that sums of them are exact in any order: tables can be adjusted from move to
// move and still equal a fresh count.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { addCopies, connectionOf, countCopies, expertIn, nodesOf, Search, valueAt } from './state';

/** What one more shared node is worth to two experts that share `shared` nodes already: 1, 1/4, 1/16, ... */
export function worth(shared: i32): f64 {
  return shared > 6 ? 0 : reinterpret<f64>((<u64>(1023 - 2 * shared)) << 52);
}

/** The sum over all pairs of what their shared nodes are worth. */
export function objective(s: Search): f64 {
  let sum: f64 = 0;
  for (let a = 1; a < s.numExperts; a++) {
    const nodes = nodesOf(s, a);
    for (let b = 0; b < a; b++) {
      const shared = <i32>popcnt(nodes & nodesOf(s, b));
      const connection = connectionOf(s, a, b);
      for (let i = 0; i < shared; i++) sum += connection * worth(i);
    }
  }
  return sum;
}

/** Values all experts on all nodes anew. */
export function revalue(s: Search): void {
  memory.fill(s.value, 0, (<usize>(s.numNodes * s.numExperts)) << 3);
  for (let a = 0; a < s.numExperts; a++) {
    const mine = nodesOf(s, a);
    for (let b = 0; b < s.numExperts; b++) {
      const connection = connectionOf(s, a, b);
      if (connection === 0) continue;
      const theirs = nodesOf(s, b);
      const shared = <i32>popcnt(mine & theirs);
      for (let left = theirs; left !== 0; left &= left - 1) {
        const node = <i32>ctz(left);
        addValue(s, node, a, connection * worth(shared - <i32>((mine >> node) & 1)));
      }
    }
  }
}

/**
 * A copy of `expert` leaves node `from` and comes to node `to`, either of them -1 for none: adjusts counts
 * and values, not the slots and sums of loads.
 */
export function moveCopy(s: Search, expert: i32, from: i32, to: i32): void {
  countCopies(s, expert, <i32>(to !== -1) - <i32>(from !== -1));
  const before = nodesOf(s, expert);
  let after = before;
  if (from !== -1 && addCopies(s, from, expert, -1) === 0) after &= ~((<u64>1) << from);
  if (to !== -1 && addCopies(s, to, expert, 1) === 1) after |= (<u64>1) << to;
  if (after === before) return;
  store<u64>(s.nodes + ((<usize>expert) << 3), after);
  const row = s.connection + ((<usize>(expert * s.numExperts)) << 2);
  for (let other = 0; other < s.numExperts; other++) {
    const connection = <f64>load<f32>(row + ((<usize>other) << 2));
    if (connection !== 0) adjustPair(s, expert, other, connection, before, after);
  }
  for (let left = before | after; left !== 0; left &= left - 1) {
    adjustKept(s, <i32>ctz(left), expert, before, after);
  }
}

/**
 * The values of a pair's experts after the nodes of the one changed: where nothing is shared more or less,
 * few do.
 */
function adjustPair(s: Search, expert: i32, other: i32, connection: f64, before: u64, after: u64): void {
  const theirs = nodesOf(s, other);
  const sharedBefore = <i32>popcnt(before & theirs);
  const sharedAfter = <i32>popcnt(after & theirs);
  const isSame = sharedBefore === sharedAfter;
  for (let left = isSame ? before ^ after : before | after; left !== 0; left &= left - 1) {
    const node = <i32>ctz(left);
    const isThere = <i32>((theirs >> node) & 1);
    const old = (before >> node) & 1 ? worth(sharedBefore - isThere) : 0;
    const now = (after >> node) & 1 ? worth(sharedAfter - isThere) : 0;
    addValue(s, node, other, connection * (now - old));
  }
  for (let left = isSame ? theirs & (before ^ after) : theirs; left !== 0; left &= left - 1) {
    const node = <i32>ctz(left);
    const old = worth(sharedBefore - <i32>((before >> node) & 1));
    const now = worth(sharedAfter - <i32>((after >> node) & 1));
    addValue(s, node, expert, connection * (now - old));
  }
}

function addValue(s: Search, node: i32, expert: i32, value: f64): void {
  const at = valueAt(s, node, expert);
  store<f64>(at, load<f64>(at) + value);
}

/** What the copies on a node share with `expert` there and elsewhere, after the nodes of `expert` changed. */
function adjustKept(s: Search, node: i32, expert: i32, before: u64, after: u64): void {
  const wasThere = (before >> node) & 1;
  const isThere = (after >> node) & 1;
  const first = node * s.slotsPerNode;
  for (let slot = first; slot < first + s.slotsPerNode; slot++) {
    const other = expertIn(s, slot);
    if (other === expert) continue;
    if (wasThere) addKept(s, slot, other, expert, before, -1);
    if (isThere) addKept(s, slot, other, expert, after, 1);
  }
}

/**
 * A copy that moves to another node leaves the experts on its own, and meets again those that are on both:
 * neither is that loss a loss nor that gain a gain. Adds this for one expert, on the nodes `theirs`, with the
 * sign `by`.
 */
function addKept(s: Search, slot: i32, expert: i32, other: i32, theirs: u64, by: f64): void {
  const mine = nodesOf(s, expert);
  let left = theirs & ~mine;
  if (left === 0) return;
  const shared = <i32>popcnt(mine & theirs);
  const kept = by * connectionOf(s, expert, other) * (worth(shared - 1) - worth(shared));
  for (; left !== 0; left &= left - 1) {
    const at = s.kept + ((<usize>(<i32>ctz(left) * s.numSlots + slot)) << 3);
    store<f64>(at, load<f64>(at) + kept);
  }
}

/** Counts anew what the copies on a node keep when they move: alike for all copies of an expert there. */
export function recountKeptOn(s: Search, node: i32): void {
  const alike = s.rest; // i32[numExperts]: 1 + a slot of the expert that is counted, 0 for none
  memory.fill(alike, 0, (<usize>s.numExperts) << 2);
  const first = node * s.slotsPerNode;
  for (let slot = first; slot < first + s.slotsPerNode; slot++) {
    const at = alike + ((<usize>expertIn(s, slot)) << 2);
    store<i32>(at, 1 + recountKept(s, slot, load<i32>(at) - 1));
  }
}

/** As {@link recountKeptOn}, of two experts on all nodes. */
export function recountKeptOf(s: Search, a: i32, b: i32): void {
  for (let node = 0; node < s.numNodes; node++) {
    let likeA = -1;
    let likeB = -1;
    const first = node * s.slotsPerNode;
    for (let slot = first; slot < first + s.slotsPerNode; slot++) {
      const expert = expertIn(s, slot);
      if (expert === a) likeA = recountKept(s, slot, likeA);
      else if (expert === b) likeB = recountKept(s, slot, likeB);
    }
  }
}

/**
 * Counts anew what the copy in a slot keeps when it moves, or takes it from a slot with another copy on the
 * same node, -1 for none. Without redundant slots there is nothing to keep.
 *
 * @returns a slot that is counted
 */
function recountKept(s: Search, slot: i32, alike: i32): i32 {
  for (let to = 0; to < s.numNodes; to++) {
    const row = s.kept + ((<usize>(to * s.numSlots)) << 3);
    const kept = alike < 0 ? 0 : load<f64>(row + ((<usize>alike) << 3));
    store<f64>(row + ((<usize>slot) << 3), kept);
  }
  if (alike >= 0 || s.numSlots === s.numExperts) return slot;
  const expert = expertIn(s, slot);
  const node = slot / s.slotsPerNode;
  for (let other = 0; other < s.numExperts; other++) {
    const theirs = nodesOf(s, other);
    if ((theirs >> node) & 1 && other !== expert) addKept(s, slot, expert, other, theirs, 1);
  }
  return slot;
}
