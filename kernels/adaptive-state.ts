// The state of the adaptive policy's search for one layer: the placement, the loads of its ranks in each sample, and what they
// cost. Loads over samples lie four by four in the lanes of a vector: their number is a multiple of 4. Slots that are closed are in
// the tables that come and go, and not in here: the slots of all ranks lie one after the other, so that nothing can put an expert
// into a closed one.

/** A view on scratch memory, never allocated. All pointers are byte offsets. */
export class Adaptive {
  /** f32[numExperts * numSamples] */
  samples: usize;
  /** f32[numExperts] */
  spread: usize;
  /** f32[numSamples] */
  weights: usize;
  numExperts: i32;
  /** Slots that are open, of all ranks. */
  numSlots: i32;
  numRanks: i32;
  numNodes: i32;
  ranksPerNode: i32;
  /** Slots of a rank in tables from outside, open and closed. */
  stride: i32;
  /** i32[numRanks + 1]: where the slots of a rank begin. */
  firstSlot: usize;
  /** i32[numSlots] */
  rankOfSlot: usize;
  /** Bytes of a row of samples. */
  rowBytes: usize;
  price: f64;
  maxMoves: i32;
  maxEvaluations: i32;

  /** f32[numExperts * numSamples]: the load of one copy. */
  copyLoad: usize;
  /** f32[numRanks * numSamples] */
  rankLoad: usize;
  /** f32[numRanks * numSamples]: how much the objective grows with a rank's load. */
  rankGradient: usize;
  /** f32[numSamples]: how much it grows with the sum of a sample's powers. */
  slope: usize;
  /** f32[numExperts * numSamples]: the load of one copy when there is one more. */
  morePer: usize;
  /** f32[numSamples], each for the step at hand: the load of a copy when there is one less, one more; a difference of gradients. */
  less: usize;
  more: usize;
  difference: usize;
  /** f64[numRanks]: the powers of a rank, each by its sample's slope. */
  rankCost: usize;
  /** f64[numExperts]: what one copy more changes on the ranks that have the expert. */
  relief: usize;
  /** f64[numRanks * numExperts]: what the rank gets with one copy more, to first order. */
  fit: usize;
  /** f64[numRanks]: the least sum of an expert's relief and fit. */
  leastFit: usize;
  /** f64[stride], both: what the copies of two ranks cost more on the one than on the other, to first order. */
  here: usize;
  there: usize;
  /** i32[numSlots] */
  slots: usize;
  bestSlots: usize;
  /** i32[numExperts], both: copies, and the node the expert stays on. */
  count: usize;
  home: usize;
  /** i32[numRanks * numExperts], both: copies on the rank, and 1 where the live placement has one. */
  on: usize;
  held: usize;
  /** i32[numRanks]: 1 where a rank has changed since its exchanges were last looked at. */
  dirty: usize;
  /** i32, 1 where it is not up to date: morePer[numExperts], relief[numExperts] and fit[numRanks]. */
  staleMore: usize;
  staleRelief: usize;
  staleFit: usize;
  /** i32[numRanks], both, of a search for a free slot: ranks to look at, and the slot whose expert would come to a rank. */
  queue: usize;
  cameFrom: usize;

  moves: i32;
  evaluations: i32;
  hasStepped: bool;
  random: u32;
}

/**
 * Lays the state out from `scratch` on. It takes
 * 4 * T * (2 * E + 2 * R + 4) + 8 * (R + E + 2 * P / R) + 8 * P + 16 * E + 16 * R * E + 28 * R + 4 * P + 352 bytes
 * for E experts in P slots of R ranks and T samples.
 *
 * @param slotsPerRank i32[numRanks]: how many slots of a rank are open, its first ones; 0: all are
 */
export function carveAdaptive(
  scratch: usize,
  numExperts: i32,
  numSlots: i32,
  numRanks: i32,
  numSamples: i32,
  slotsPerRank: usize,
): Adaptive {
  const s = changetype<Adaptive>((scratch + 15) & ~15);
  s.numExperts = numExperts;
  s.numRanks = numRanks;
  s.stride = numSlots / numRanks;
  s.rowBytes = (<usize>numSamples) << 2;
  const experts = <usize>numExperts;
  const slots = <usize>numSlots;
  const ranks = <usize>numRanks;
  s.copyLoad = changetype<usize>(s) + 320;
  s.morePer = s.copyLoad + experts * s.rowBytes;
  s.rankLoad = s.morePer + experts * s.rowBytes;
  s.rankGradient = s.rankLoad + ranks * s.rowBytes;
  s.slope = s.rankGradient + ranks * s.rowBytes;
  s.less = s.slope + s.rowBytes;
  s.more = s.less + s.rowBytes;
  s.difference = s.more + s.rowBytes;
  s.rankCost = s.difference + s.rowBytes;
  s.relief = s.rankCost + 8 * ranks;
  s.fit = s.relief + 8 * experts;
  s.leastFit = s.fit + 8 * ranks * experts;
  s.here = s.leastFit + 8 * ranks;
  s.there = s.here + 8 * (slots / ranks);
  s.slots = s.there + 8 * (slots / ranks);
  s.bestSlots = s.slots + 4 * slots;
  s.count = s.bestSlots + 4 * slots;
  s.home = s.count + 4 * experts;
  s.on = s.home + 4 * experts;
  s.held = s.on + 4 * ranks * experts;
  s.dirty = s.held + 4 * ranks * experts;
  s.staleMore = s.dirty + 4 * ranks;
  s.staleRelief = s.staleMore + 4 * experts;
  s.staleFit = s.staleRelief + 4 * experts;
  s.queue = s.staleFit + 4 * ranks;
  s.cameFrom = s.queue + 4 * ranks;
  s.firstSlot = s.cameFrom + 4 * ranks;
  s.rankOfSlot = s.firstSlot + 4 * ranks + 4;
  numberSlots(s, slotsPerRank);
  return s;
}

/** Numbers the open slots, rank by rank. */
function numberSlots(s: Adaptive, slotsPerRank: usize): void {
  let slot = 0;
  for (let rank = 0; rank < s.numRanks; rank++) {
    const at = (<usize>rank) << 2;
    store<i32>(s.firstSlot + at, slot);
    const end = slot + (slotsPerRank === 0 ? s.stride : load<i32>(slotsPerRank + at));
    for (; slot < end; slot++) store<i32>(s.rankOfSlot + ((<usize>slot) << 2), rank);
  }
  store<i32>(s.firstSlot + ((<usize>s.numRanks) << 2), slot);
  s.numSlots = slot;
}

/** The first slot of a rank; of the rank behind the last, the number of slots. */
export function firstOf(s: Adaptive, rank: i32): i32 {
  return load<i32>(s.firstSlot + ((<usize>rank) << 2));
}

export function rankOf(s: Adaptive, slot: i32): i32 {
  return load<i32>(s.rankOfSlot + ((<usize>slot) << 2));
}

export function expertAt(s: Adaptive, slot: i32): i32 {
  return load<i32>(s.slots + ((<usize>slot) << 2));
}

export function setExpertAt(s: Adaptive, slot: i32, expert: i32): void {
  store<i32>(s.slots + ((<usize>slot) << 2), expert);
}

export function copiesOf(s: Adaptive, expert: i32): i32 {
  return load<i32>(s.count + ((<usize>expert) << 2));
}

export function addCopies(s: Adaptive, expert: i32, copies: i32): void {
  const at = s.count + ((<usize>expert) << 2);
  store<i32>(at, load<i32>(at) + copies);
}

/** Copies of the expert on the rank. */
export function copiesOn(s: Adaptive, rank: i32, expert: i32): i32 {
  return load<i32>(s.on + ((<usize>(rank * s.numExperts + expert)) << 2));
}

export function addCopiesOn(s: Adaptive, rank: i32, expert: i32, copies: i32): void {
  const at = s.on + ((<usize>(rank * s.numExperts + expert)) << 2);
  store<i32>(at, load<i32>(at) + copies);
}

/** 1 where the live placement has the expert on the rank, else 0. */
export function heldOn(s: Adaptive, rank: i32, expert: i32): i32 {
  return load<i32>(s.held + ((<usize>(rank * s.numExperts + expert)) << 2));
}

export function homeOf(s: Adaptive, expert: i32): i32 {
  return load<i32>(s.home + ((<usize>expert) << 2));
}

export function isMarked(marks: usize, index: i32): bool {
  return load<i32>(marks + ((<usize>index) << 2)) === 1;
}

export function setMark(marks: usize, index: i32, value: i32): void {
  store<i32>(marks + ((<usize>index) << 2), value);
}

export function isDirty(s: Adaptive, rank: i32): bool {
  return load<i32>(s.dirty + ((<usize>rank) << 2)) === 1;
}

export function setDirty(s: Adaptive, rank: i32, value: i32): void {
  store<i32>(s.dirty + ((<usize>rank) << 2), value);
}

export function rankCostOf(s: Adaptive, rank: i32): f64 {
  return load<f64>(s.rankCost + ((<usize>rank) << 3));
}

export function reliefOf(s: Adaptive, expert: i32): f64 {
  return load<f64>(s.relief + ((<usize>expert) << 3));
}

/** The row of an expert, or of a rank, in a table [rows x numSamples]. */
export function rowOf(s: Adaptive, table: usize, row: i32): usize {
  return table + <usize>row * s.rowBytes;
}

export function power8(x: v128): v128 {
  const square = f32x4.mul(x, x);
  const fourth = f32x4.mul(square, square);
  return f32x4.mul(fourth, fourth);
}

export function root8(x: v128): v128 {
  return f32x4.sqrt(f32x4.sqrt(f32x4.sqrt(x)));
}

/** Adds up the four lanes. */
export function lanes(sum: v128): f64 {
  const low = <f64>f32x4.extract_lane(sum, 0) + <f64>f32x4.extract_lane(sum, 1);
  return low + (<f64>f32x4.extract_lane(sum, 2) + <f64>f32x4.extract_lane(sum, 3));
}

/** The sum over samples of the products of two rows. */
export function dot(s: Adaptive, a: usize, b: usize): f64 {
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    sum = f32x4.add(sum, f32x4.mul(v128.load(a + t), v128.load(b + t)));
  }
  return lanes(sum);
}
