// Second copies of an expert on a rank go to other ranks of the node, when the search is over.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { expertIn, loadOf, lookIfCancelled, Search, setExpert, sumRank } from './state';

/**
 * A second copy of an expert on a rank goes to another rank of the node, where the loads allow it: to the
 * first such slot.
 */
export function separateCopies(s: Search): void {
  if (s.slotsPerRank < 2) return;
  const ranksPerNode = s.numRanks / s.numNodes;
  for (let node = 0; node < s.numNodes; node++) {
    const first = node * ranksPerNode;
    const end = first + ranksPerNode;
    clearExperts(s, ranksPerNode);
    for (let rank = first; rank < end; rank++) markExperts(s, rank, rank - first);
    for (let rank = first; rank < end && !lookIfCancelled(s); rank++) separateOnRank(s, rank, first, end);
  }
}

/** `marks` tells which experts the slots before have. */
function separateOnRank(s: Search, rank: i32, first: i32, end: i32): void {
  memory.fill(s.marks, 0, (<usize>s.numExperts) << 2);
  const start = rank * s.slotsPerRank;
  for (let slot = start; slot < start + s.slotsPerRank; slot++) {
    if (load<i32>(markOf(s, expertIn(s, slot))) !== 0) separate(s, slot, rank, first, end);
    store<i32>(markOf(s, expertIn(s, slot)), 1);
  }
}

function markOf(s: Search, expert: i32): usize {
  return s.marks + ((<usize>expert) << 2);
}

/** Exchanges a slot of rank a with the first one of another rank where that may be. */
function separate(s: Search, slot: i32, a: i32, first: i32, end: i32): void {
  const expert = expertIn(s, slot);
  for (let b = first; b < end; b++) {
    // So a rank that has the expert, as its own has, is passed over as a whole.
    if (isOn(s, b - first, expert)) continue;
    for (let other = b * s.slotsPerRank; other < (b + 1) * s.slotsPerRank; other++) {
      const comes = expertIn(s, other);
      if (isOn(s, a - first, comes) || !isLight(s, a, expert, b, comes)) continue;
      setExpert(s, slot, comes);
      setExpert(s, other, expert);
      addExpert(s, a - first, comes);
      removeExpert(s, b - first, comes);
      markExperts(s, b, b - first);
      sumRank(s, a);
      sumRank(s, b);
      return;
    }
  }
}

/** Whether an expert of rank a may be exchanged with one of rank b as far as the loads go. */
function isLight(s: Search, a: i32, leaves: i32, b: i32, comes: i32): bool {
  const heavier = loadOf(s, comes) - loadOf(s, leaves);
  const rank = heavier > 0 ? a : b;
  return heavier === 0 || load<f64>(s.rankLoad + ((<usize>rank) << 3)) + abs(heavier) <= s.maxRankLoad;
}

/**
 * u32[ranksPerNode][words]: the experts on each rank of a node, a bit each. It takes the place of the
 * connections, or of the working space where there are many ranks and few experts.
 */
function wordOf(s: Search, rankOnNode: i32, expert: i32): usize {
  const table = bytesOf(s, s.numRanks / s.numNodes) <= connectionBytes(s) ? s.connection : s.rest;
  return table + ((<usize>rankOnNode * wordsOf(s) + (<usize>expert >> 5)) << 2);
}

function wordsOf(s: Search): usize {
  return (<usize>s.numExperts + 31) >> 5;
}

function bytesOf(s: Search, ranksPerNode: i32): usize {
  return (<usize>ranksPerNode * wordsOf(s)) << 2;
}

function connectionBytes(s: Search): usize {
  return (<usize>s.numExperts * <usize>s.numExperts) << 2;
}

function clearExperts(s: Search, ranksPerNode: i32): void {
  memory.fill(wordOf(s, 0, 0), 0, bytesOf(s, ranksPerNode));
}

function markExperts(s: Search, rank: i32, rankOnNode: i32): void {
  const start = rank * s.slotsPerRank;
  for (let slot = start; slot < start + s.slotsPerRank; slot++) addExpert(s, rankOnNode, expertIn(s, slot));
}

function addExpert(s: Search, rankOnNode: i32, expert: i32): void {
  const at = wordOf(s, rankOnNode, expert);
  store<u32>(at, load<u32>(at) | ((<u32>1) << (expert & 31)));
}

function removeExpert(s: Search, rankOnNode: i32, expert: i32): void {
  const at = wordOf(s, rankOnNode, expert);
  store<u32>(at, load<u32>(at) & ~((<u32>1) << (expert & 31)));
}

function isOn(s: Search, rankOnNode: i32, expert: i32): bool {
  return ((load<u32>(wordOf(s, rankOnNode, expert)) >> (expert & 31)) & 1) !== 0;
}
