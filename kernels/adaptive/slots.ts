// Which slots of a rank its experts are in: in order while the search goes on, and at its end where they were
// before.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, addCopies, addTo, copiesOf, expertAt, firstOf, setExpertAt } from './state';

/**
 * Beyond this many slots the experts of a rank are counted, not inserted one by one: that grows with the
 * square.
 */
const MOST_INSERTED: i32 = 64;

/**
 * Orders the experts of each rank: what a search finds must not depend on which slots of a rank they are in.
 */
export function sortRanks(s: Adaptive): void {
  for (let rank = 0; rank < s.numRanks; rank++) {
    const first = firstOf(s, rank);
    const end = firstOf(s, rank + 1);
    if (end - first <= MOST_INSERTED) insertAll(s, first, end);
    else if (!isSorted(s, first, end)) countAll(s, first, end);
  }
}

function insertAll(s: Adaptive, first: i32, end: i32): void {
  for (let slot = first + 1; slot < end; slot++) {
    const expert = expertAt(s, slot);
    let to = slot;
    for (; to > first && expertAt(s, to - 1) > expert; to--) setExpertAt(s, to, expertAt(s, to - 1));
    setExpertAt(s, to, expert);
  }
}

function isSorted(s: Adaptive, first: i32, end: i32): bool {
  for (let slot = first + 1; slot < end; slot++) {
    if (expertAt(s, slot - 1) > expertAt(s, slot)) return false;
  }
  return true;
}

/** Counts in `head`, which is made anew whenever ranks were sorted. */
function countAll(s: Adaptive, first: i32, end: i32): void {
  memory.fill(s.head, 0, (<usize>s.numExperts) << 2);
  for (let slot = first; slot < end; slot++) addTo(s.head, expertAt(s, slot), 1);
  let slot = first;
  for (let expert = 0; expert < s.numExperts; expert++) {
    const past = slot + load<i32>(s.head + ((<usize>expert) << 2));
    for (; slot < past; slot++) setExpertAt(s, slot, expert);
  }
}

/** Experts that stay on a rank go back to their slots; replicas are numbered in slot order. */
export function finish(s: Adaptive, previous: usize, phyToLog: usize, replicaRank: usize): void {
  memory.fill(s.count, 0, (<usize>s.numExperts) << 2);
  for (let rank = 0; rank < s.numRanks; rank++) {
    const first = firstOf(s, rank);
    const size = firstOf(s, rank + 1) - first;
    const row = (<usize>(rank * s.stride)) << 2;
    memory.fill(phyToLog + row, 0xff, (<usize>s.stride) << 2);
    memory.copy(phyToLog + row, s.slots + ((<usize>first) << 2), (<usize>size) << 2);
    takeBack(s, previous + row, phyToLog + row, (<usize>size) << 2);
    for (let k = 0; k < s.stride; k++) {
      const at = row + ((<usize>k) << 2);
      if (k >= size) {
        store<i32>(replicaRank + at, 0);
        continue;
      }
      const expert = load<i32>(phyToLog + at);
      store<i32>(replicaRank + at, copiesOf(s, expert));
      addCopies(s, expert, 1);
    }
  }
}

/**
 * Exchanges slots of one rank, of so many bytes, until experts that were on it are where they were: each
 * comes from the first slot that has it and did not before. No such slot is before what `head` tells of its
 * expert, so that few are looked at.
 */
function takeBack(s: Adaptive, previous: usize, row: usize, bytes: usize): void {
  for (let k: usize = 0; k < bytes; k += 4) {
    const before = load<i32>(previous + k);
    if (before >= 0) setFrom(s, before, bytes);
    setFrom(s, load<i32>(row + k), bytes);
  }
  for (let k = bytes; k > 0; k -= 4) {
    const now = load<i32>(row + k - 4);
    if (now !== load<i32>(previous + k - 4)) setFrom(s, now, k - 4);
  }
  for (let at: usize = 0; at < bytes; at += 4) {
    const before = load<i32>(previous + at);
    const now = load<i32>(row + at);
    if (before < 0 || now === before) continue;
    let k = fromOf(s, before);
    while (k < bytes && (load<i32>(row + k) !== before || load<i32>(previous + k) === before)) k += 4;
    setFrom(s, before, k);
    if (k >= bytes) continue;
    store<i32>(row + k, now);
    store<i32>(row + at, before);
    if (load<i32>(previous + k) !== now && k < fromOf(s, now)) setFrom(s, now, k);
  }
}

function fromOf(s: Adaptive, expert: i32): usize {
  return load<i32>(s.head + ((<usize>expert) << 2));
}

function setFrom(s: Adaptive, expert: i32, from: usize): void {
  store<i32>(s.head + ((<usize>expert) << 2), <i32>from);
}
