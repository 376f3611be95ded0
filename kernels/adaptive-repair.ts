// A placement taken over for the adaptive policy's search, with what makes it infeasible repaired in as few moves as that takes.

import { rebuild } from './adaptive-costs';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  addCopies,
  addCopiesOn,
  copiesOf,
  copiesOn,
  dot,
  expertAt,
  rowOf,
  setExpertAt,
} from './adaptive-state';

/** Takes over a placement, repaired, and finds the node of each expert. */
export function begin(s: Adaptive, placement: usize): void {
  memory.copy(s.slots, placement, (<usize>s.numSlots) << 2);
  recount(s);
  repair(s);
  sortRanks(s);
  const slotsPerNode = s.slotsPerRank * s.ranksPerNode;
  for (let slot = s.numSlots - 1; slot >= 0; slot--) {
    store<i32>(s.home + ((<usize>expertAt(s, slot)) << 2), slot / slotsPerNode);
  }
  rebuild(s);
}

/** Goes back to the best placement. */
export function resume(s: Adaptive): void {
  memory.copy(s.slots, s.bestSlots, (<usize>s.numSlots) << 2);
  sortRanks(s);
  recount(s);
  rebuild(s);
}

/** Orders the experts of each rank: what a search finds must not depend on which slots of a rank they are in. */
export function sortRanks(s: Adaptive): void {
  for (let slot = 1; slot < s.numSlots; slot++) {
    const first = (slot / s.slotsPerRank) * s.slotsPerRank;
    const expert = expertAt(s, slot);
    let to = slot;
    for (; to > first && expertAt(s, to - 1) > expert; to--) setExpertAt(s, to, expertAt(s, to - 1));
    setExpertAt(s, to, expert);
  }
}

function recount(s: Adaptive): void {
  memory.fill(s.count, 0, (<usize>s.numExperts) << 2);
  memory.fill(s.on, 0, (<usize>(s.numRanks * s.numExperts)) << 2);
  for (let slot = 0; slot < s.numSlots; slot++) {
    const expert = expertAt(s, slot);
    if (expert < 0) continue;
    addCopies(s, expert, 1);
    addCopiesOn(s, slot / s.slotsPerRank, expert, 1);
  }
}

/** Empty slots, then slots of second copies on a rank, get missing experts first, then the heaviest copies there are. */
function repair(s: Adaptive): void {
  for (let slot = 0; slot < s.numSlots; slot++) {
    if (expertAt(s, slot) < 0) fill(s, slot, -1);
  }
  for (let expert = 0; expert < s.numExperts; expert++) {
    if (copiesOf(s, expert) === 0) fill(s, sparest(s), expert);
  }
  for (let slot = 0; slot < s.numSlots; slot++) {
    if (copiesOn(s, slot / s.slotsPerRank, expertAt(s, slot)) > 1) fill(s, slot, -1);
  }
}

/** A second copy on a rank, which would have to go anyway, else the slot of the expert with the most copies. */
function sparest(s: Adaptive): i32 {
  let best = 0;
  for (let slot = 0; slot < s.numSlots; slot++) {
    if (copiesOn(s, slot / s.slotsPerRank, expertAt(s, slot)) > 1) return slot;
    if (copiesOf(s, expertAt(s, slot)) > copiesOf(s, expertAt(s, best))) best = slot;
  }
  return best;
}

function fill(s: Adaptive, slot: i32, wanted: i32): void {
  const rank = slot / s.slotsPerRank;
  const old = expertAt(s, slot);
  const expert = wanted >= 0 ? wanted : neediest(s, rank, old);
  if (expert < 0) return;
  if (old >= 0) {
    addCopies(s, old, -1);
    addCopiesOn(s, rank, old, -1);
  }
  setExpertAt(s, slot, expert);
  addCopies(s, expert, 1);
  addCopiesOn(s, rank, expert, 1);
}

/** A missing expert, else the one with the most load a copy that is not on the rank; -1 when a full slot need not change. */
function neediest(s: Adaptive, rank: i32, old: i32): i32 {
  let best = -1;
  let most: f64 = -1;
  for (let expert = 0; expert < s.numExperts; expert++) {
    if (copiesOf(s, expert) === 0) return expert;
    if (copiesOn(s, rank, expert) > 0 || (s.numNodes > 1 && !isOnNode(s, rank, expert))) continue;
    const mean = meanLoad(s, expert) / <f64>copiesOf(s, expert);
    if (mean > most) {
      most = mean;
      best = expert;
    }
  }
  if (best !== -1 || old >= 0) return best;
  return max(expertAt(s, rank * s.slotsPerRank), 0);
}

function isOnNode(s: Adaptive, rank: i32, expert: i32): bool {
  const first = (rank / s.ranksPerNode) * s.ranksPerNode;
  for (let r = first; r < first + s.ranksPerNode; r++) {
    if (copiesOn(s, r, expert) > 0) return true;
  }
  return false;
}

function meanLoad(s: Adaptive, expert: i32): f64 {
  return dot(s, s.weights, rowOf(s, s.samples, expert));
}
