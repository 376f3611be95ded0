// Slot preservation: a new placement decides which experts a rank holds, and where on the rank they lie is
// free. An expert that stays on its rank stays in its slot, so its weights are not copied inside the device.

/**
 * Reorders each rank of `phyToLog` and `replicaRank` in place: every old slot, in order, takes back the first
 * copy of its expert that is not placed yet; what is new fills the other slots in order.
 *
 * @param previous i32[numPhysical], -1 where a slot was empty
 * @param phyToLog i32[numPhysical], in and out
 * @param replicaRank i32[numPhysical], in and out, moved along
 * @param scratch {@link preserveSlotsScratchBytes}
 */
export function preserveSlots(
  previous: usize,
  phyToLog: usize,
  replicaRank: usize,
  numPhysical: i32,
  numRanks: i32,
  numLogical: i32,
  scratch: usize,
): void {
  // i32[numLogical]: 1 + the first slot of an expert that is not placed yet, 0 for none
  const firstCopy = scratch;
  // i32[numPhysical]: 1 + the next slot of the same expert
  const nextCopy = firstCopy + ((<usize>numLogical) << 2);
  const rest = nextCopy + ((<usize>numPhysical) << 2);
  chainCopies(phyToLog, numPhysical, numLogical, firstCopy, nextCopy);
  const slotsPerRank = numPhysical / numRanks;
  for (let start = 0; start < numPhysical; start += slotsPerRank) {
    const numKept = matchRank(previous, start, slotsPerRank, firstCopy, nextCopy, rest);
    if (numKept > 0) reorderRank(phyToLog, replicaRank, start, slotsPerRank, rest);
  }
}

/** Links the slots of each expert, the lowest first. */
function chainCopies(
  phyToLog: usize,
  numPhysical: i32,
  numLogical: i32,
  firstCopy: usize,
  nextCopy: usize,
): void {
  memory.fill(firstCopy, 0, (<usize>numLogical) << 2);
  for (let slot = numPhysical - 1; slot >= 0; slot--) {
    const at = (<usize>slot) << 2;
    const expert = load<i32>(phyToLog + at);
    if (expert < 0) continue;
    const first = firstCopy + ((<usize>expert) << 2);
    store<i32>(nextCopy + at, load<i32>(first));
    store<i32>(first, slot + 1);
  }
}

/**
 * Finds for each old slot of the rank that begins at `start` the copy it takes back.
 *
 * @param match i32[2 * slotsPerRank], out: for each old slot the place on the rank of its copy, or -1; then
 * for each new place whether it was taken
 * @returns how many were found
 */
function matchRank(
  previous: usize,
  start: i32,
  slotsPerRank: i32,
  firstCopy: usize,
  nextCopy: usize,
  match: usize,
): i32 {
  const taken = match + ((<usize>slotsPerRank) << 2);
  memory.fill(taken, 0, (<usize>slotsPerRank) << 2);
  let numKept = 0;
  for (let place = 0; place < slotsPerRank; place++) {
    const expert = load<i32>(previous + ((<usize>(start + place)) << 2));
    let found = -1;
    if (expert >= 0) {
      const first = firstCopy + ((<usize>expert) << 2);
      let copy = load<i32>(first);
      // Copies on ranks that are done are of no use any more: ranks come in order.
      while (copy > 0 && copy <= start) copy = load<i32>(nextCopy + ((<usize>(copy - 1)) << 2));
      if (copy > 0 && copy <= start + slotsPerRank) {
        found = copy - 1 - start;
        store<i32>(taken + ((<usize>found) << 2), 1);
        copy = load<i32>(nextCopy + ((<usize>(copy - 1)) << 2));
        numKept++;
      }
      store<i32>(first, copy);
    }
    store<i32>(match + ((<usize>place) << 2), found);
  }
  return numKept;
}

/** Puts the copies of a rank where `match` wants them, and the others into the free slots, in order. */
function reorderRank(phyToLog: usize, replicaRank: usize, start: i32, slotsPerRank: i32, match: usize): void {
  const bytes = (<usize>slotsPerRank) << 2;
  const taken = match + bytes;
  const experts = taken + bytes;
  const ranks = experts + bytes;
  const table = phyToLog + ((<usize>start) << 2);
  const tableRanks = replicaRank + ((<usize>start) << 2);
  memory.copy(experts, table, bytes);
  memory.copy(ranks, tableRanks, bytes);
  let free: usize = 0;
  for (let at: usize = 0; at < bytes; at += 4) {
    const found = load<i32>(match + at);
    let from = (<usize>found) << 2;
    if (found < 0) {
      while (load<i32>(taken + free) !== 0) free += 4;
      from = free;
      free += 4;
    }
    store<i32>(table + at, load<i32>(experts + from));
    store<i32>(tableRanks + at, load<i32>(ranks + from));
  }
}

/** Scratch of {@link preserveSlots}. */
export function preserveSlotsScratchBytes(numPhysical: i32, numRanks: i32, numLogical: i32): f64 {
  return 4 * (<f64>numLogical + <f64>numPhysical + 4 * <f64>(numPhysical / numRanks));
}
