// The best move of a step. An exchange swaps two copies on different nodes; a replacement gives the slot of
// an expert that has other copies to one more copy of another expert. Only moves after which every node and
// rank is still within its limit count, so the placement stays a whole and allowed one. The first of equal
// moves wins.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  connectionOf,
  copiesAt,
  countOf,
  expertIn,
  isCancelled,
  loadOf,
  nodesOf,
  Search,
  tabuAt,
  valueAt,
} from './state';
import { worth } from './values';

/** Finds the step's best move; `s.slot` is -1 when none is allowed. */
export function findMove(s: Search): void {
  s.gain = -Infinity;
  s.slot = -1;
  gainsOfMoving(s);
  findExchange(s);
  if (s.numSlots > s.numExperts && !s.isCancelled) findReplacement(s);
  s.evaluations += s.numSlots;
}

/** Fills `moveGain`: what moving each copy to each node gains; -Infinity where its expert is already. */
function gainsOfMoving(s: Search): void {
  const stride = (<usize>s.numSlots) << 3;
  for (let slot = 0; slot < s.numSlots; slot++) {
    const node = slot / s.slotsPerNode;
    const expert = expertIn(s, slot);
    const nodes = nodesOf(s, expert);
    const isLast = load<i32>(copiesAt(s, node, expert)) === 1;
    const loss = isLast ? load<f64>(valueAt(s, node, expert)) : 0;
    let at = (<usize>slot) << 3;
    for (let to = 0; to < s.numNodes; to++, at += stride) {
      let gain: f64 = -Infinity;
      if (((nodes >> to) & 1) === 0) {
        gain = load<f64>(valueAt(s, to, expert)) - loss;
        if (isLast) gain += load<f64>(s.kept + at);
      }
      store<f64>(s.moveGain + at, gain);
    }
  }
}

function findExchange(s: Search): void {
  const length = s.slotsPerNode;
  for (let nodeA = 0; nodeA < s.numNodes; nodeA++) {
    for (let nodeB = nodeA + 1; nodeB < s.numNodes; nodeB++) {
      const outOfA = s.moveGain + ((<usize>(nodeB * s.numSlots + nodeA * length)) << 3);
      const outOfB = s.moveGain + ((<usize>(nodeA * s.numSlots + nodeB * length)) << 3);
      const mostOutOfB = highest(outOfB, length);
      for (let i = 0; i < length; i++) {
        const gainA = load<f64>(outOfA + ((<usize>i) << 3));
        if (!(gainA + mostOutOfB > s.gain)) continue;
        if (isCancelled(s)) return;
        s.evaluations += length;
        exchangeWithAny(s, nodeA * length + i, nodeB * length, gainA, outOfB);
      }
    }
  }
}

function highest(values: usize, n: i32): f64 {
  let most: f64 = -Infinity;
  for (let i = 0; i < n; i++) most = max(most, load<f64>(values + ((<usize>i) << 3)));
  return most;
}

/** Tries the copy in `slot` against all of the node whose slots begin at `first`. */
function exchangeWithAny(s: Search, slot: i32, first: i32, gainA: f64, outOfB: usize): void {
  let best = s.gain;
  for (let j = 0; j < s.slotsPerNode; j++) {
    const gain = gainA + load<f64>(outOfB + ((<usize>j) << 3));
    if (gain > best) {
      tryExchange(s, slot, first + j, gain);
      best = s.gain;
    }
  }
}

function tryExchange(s: Search, slot: i32, other: i32, upperBound: f64): void {
  const a = expertIn(s, slot);
  const b = expertIn(s, other);
  // Each copy's gain counts the other one, which will be gone.
  const lost = 2 * connectionOf(s, a, b) * worth(<i32>popcnt(nodesOf(s, a) & nodesOf(s, b)));
  const gain = upperBound - lost;
  if (gain <= s.gain) return;
  const heavier = loadOf(s, b) - loadOf(s, a);
  if (heavier > 0 ? !hasRoom(s, slot, heavier) : heavier < 0 && !hasRoom(s, other, -heavier)) return;
  const nodeA = slot / s.slotsPerNode;
  const nodeB = other / s.slotsPerNode;
  const isTabu = load<i32>(tabuAt(s, nodeB, a)) > s.step || load<i32>(tabuAt(s, nodeA, b)) > s.step;
  if (isTabu && gain <= s.toBest) return;
  s.gain = gain;
  s.slot = slot;
  s.other = other;
  s.expert = b;
}

function hasRoom(s: Search, slot: i32, more: f64): boolean {
  const node = load<f64>(s.nodeLoad + ((<usize>(slot / s.slotsPerNode)) << 3));
  const rank = load<f64>(s.rankLoad + ((<usize>(slot / s.slotsPerRank)) << 3));
  return node + more <= s.maxNodeLoad && rank + more <= s.maxRankLoad;
}

function findReplacement(s: Search): void {
  markCrowded(s);
  for (let node = 0; node < s.numNodes; node++) {
    const most = highestAbsent(s, node);
    for (let i = 0; i < s.slotsPerNode; i++) {
      const slot = node * s.slotsPerNode + i;
      if (slot % s.slotsPerRank === 0) countRank(s, slot / s.slotsPerRank);
      const removed = expertIn(s, slot);
      const room = roomWithout(s, slot, node, removed);
      if (!(room >= 0)) continue;
      const isLast = load<i32>(copiesAt(s, node, removed)) === 1;
      const loss = isLast ? load<f64>(valueAt(s, node, removed)) : 0;
      if (!(most - loss > s.gain)) continue;
      if (isCancelled(s)) return;
      s.evaluations += s.numExperts;
      replaceByAny(s, slot, node, removed, isLast, loss, room);
    }
  }
}

const NOWHERE: i32 = -1;
const SEVERAL: i32 = -2;

/**
 * Marks each replicated expert with the rank on which its copies may not become heavier, were there one copy
 * fewer.
 */
function markCrowded(s: Search): void {
  for (let i = 0; i < s.numExperts; i++) store<i32>(s.marks + ((<usize>i) << 2), NOWHERE);
  for (let slot = 0; slot < s.numSlots; slot++) {
    const rank = slot / s.slotsPerRank;
    if (slot % s.slotsPerRank === 0) countRank(s, rank);
    const expert = expertIn(s, slot);
    if (countOf(s, expert) < 2) continue;
    const rankLoad = load<f64>(s.rankLoad + ((<usize>rank) << 3));
    if (!(rankLoad + <f64>copiesOnRank(s, rank, expert) * growth(s, expert) > s.maxRankLoad)) continue;
    const at = s.marks + ((<usize>expert) << 2);
    const mark = load<i32>(at);
    store<i32>(at, mark === NOWHERE || mark === rank ? rank : SEVERAL);
  }
}

/** Few slots are looked through each time they are asked for: 3 % of a search of 9 slots a rank. */
const FEW_SLOTS: i32 = 32;

/** Counts the copies of each expert on a rank of many slots. */
function countRank(s: Search, rank: i32): void {
  if (s.slotsPerRank <= FEW_SLOTS) return;
  const first = rank * s.slotsPerRank;
  for (let slot = first; slot < first + s.slotsPerRank; slot++) store<i32>(onRank(s, expertIn(s, slot)), 0);
  for (let slot = first; slot < first + s.slotsPerRank; slot++) {
    const at = onRank(s, expertIn(s, slot));
    store<i32>(at, load<i32>(at) + 1);
  }
}

/** Copies of an expert on the rank that was counted last. */
function copiesOnRank(s: Search, rank: i32, expert: i32): i32 {
  if (s.slotsPerRank > FEW_SLOTS) return load<i32>(onRank(s, expert));
  let n = 0;
  const first = rank * s.slotsPerRank;
  for (let i = 0; i < s.slotsPerRank; i++) n += <i32>(expertIn(s, first + i) === expert);
  return n;
}

/** i32[numExperts], in the working space. */
function onRank(s: Search, expert: i32): usize {
  return s.rest + ((<usize>expert) << 2);
}

/** How much heavier each copy becomes when there is one fewer. */
function growth(s: Search, expert: i32): f64 {
  const weight = <f64>load<f32>(s.weight + ((<usize>expert) << 2));
  return weight / <f64>(countOf(s, expert) - 1) - loadOf(s, expert);
}

/** The highest value on a node of an expert that has no copy there. */
function highestAbsent(s: Search, node: i32): f64 {
  let most: f64 = -Infinity;
  for (let expert = 0; expert < s.numExperts; expert++) {
    if (((nodesOf(s, expert) >> node) & 1) === 0) most = max(most, load<f64>(valueAt(s, node, expert)));
  }
  return most;
}

/**
 * The load that fits into a slot once its copy is gone and the expert's others carry more; negative when they
 * cannot.
 */
function roomWithout(s: Search, slot: i32, node: i32, expert: i32): f64 {
  if (countOf(s, expert) < 2) return -1;
  const rank = slot / s.slotsPerRank;
  const mark = load<i32>(s.marks + ((<usize>expert) << 2));
  if (mark !== NOWHERE && mark !== rank) return -1;
  const more = growth(s, expert);
  for (let left = nodesOf(s, expert) & ~((<u64>1) << node); left !== 0; left &= left - 1) {
    const other = <i32>ctz(left);
    const nodeLoad = load<f64>(s.nodeLoad + ((<usize>other) << 3));
    if (nodeLoad + <f64>load<i32>(copiesAt(s, other, expert)) * more > s.maxNodeLoad) return -1;
  }
  const nodeLoad = load<f64>(s.nodeLoad + ((<usize>node) << 3));
  const rankLoad = load<f64>(s.rankLoad + ((<usize>rank) << 3));
  const nodeAfter = nodeLoad - loadOf(s, expert) + <f64>(load<i32>(copiesAt(s, node, expert)) - 1) * more;
  const rankAfter = rankLoad - loadOf(s, expert) + <f64>(copiesOnRank(s, rank, expert) - 1) * more;
  return min(s.maxNodeLoad - nodeAfter, s.maxRankLoad - rankAfter);
}

function replaceByAny(
  s: Search,
  slot: i32,
  node: i32,
  removed: i32,
  isLast: bool,
  loss: f64,
  room: f64,
): void {
  const values = valueAt(s, node, 0);
  for (let expert = 0; expert < s.numExperts; expert++) {
    let gain = load<f64>(values + ((<usize>expert) << 3)) - loss;
    if (!(gain > s.gain)) continue;
    const nodes = nodesOf(s, expert);
    if ((nodes >> node) & 1) continue;
    if (isLast) gain -= connectionOf(s, removed, expert) * worth(<i32>popcnt(nodes & nodesOf(s, removed)));
    if (!(gain > s.gain)) continue;
    const weight = <f64>load<f32>(s.weight + ((<usize>expert) << 2));
    if (weight / <f64>(countOf(s, expert) + 1) > room) continue;
    if (load<i32>(tabuAt(s, node, expert)) > s.step && gain <= s.toBest) continue;
    s.gain = gain;
    s.slot = slot;
    s.other = -1;
    s.expert = expert;
  }
}
