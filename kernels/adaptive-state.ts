// The state of the adaptive policy's search for one layer: the placement, the loads of its ranks in each sample, and what a
// copy costs on each rank. Loads over samples lie two by two in the lanes of a vector: their number is even.

/** A view on scratch memory, never allocated. All pointers are byte offsets. */
export class Adaptive {
  /** f64[numExperts * numSamples] */
  samples: usize;
  /** f64[numSamples] */
  weights: usize;
  numExperts: i32;
  numSlots: i32;
  numRanks: i32;
  numNodes: i32;
  slotsPerRank: i32;
  ranksPerNode: i32;
  /** Bytes of a row of samples. */
  rowBytes: usize;
  price: f64;
  maxMoves: i32;
  maxEvaluations: i32;

  /** f64[numExperts * numSamples]: the load of one copy. */
  copyLoad: usize;
  /** f64[numRanks * numSamples] */
  rankLoad: usize;
  /** f64[numSamples]: how much the objective grows with the sum of a sample's powers. */
  slope: usize;
  /** f64[numRanks * numSamples]: how much it grows with a rank's load. */
  rankGradient: usize;
  /** f64[numRanks]: the powers of a rank, each by its sample's slope. */
  rankCost: usize;
  /** f64[numRanks * numExperts]: what a copy costs on a rank, to first order. */
  gradient: usize;
  /** f64[numExperts], both: what one copy more, and one less, changes on the ranks that have the expert. */
  relief: usize;
  burden: usize;
  /** f64[numSlots]: what the slot's copy costs where it is, to first order. */
  own: usize;
  /** f64[numRanks * numRanks]: the least that a slot of the second rank costs more on the first. */
  low: usize;
  /** i32[numSlots] */
  slots: usize;
  bestSlots: usize;
  /** i32[numExperts], both: copies, and the node the expert stays on. */
  count: usize;
  home: usize;
  /** i32[numRanks * numExperts], both: copies on the rank, and 1 where the live placement has one. */
  on: usize;
  held: usize;
  /** i32[numRanks]: marks for the step at hand. */
  marks: usize;

  moves: i32;
  evaluations: i32;
  random: u32;
  /** The best step found: 1 for an exchange of two slots, 2 for a slot and the expert that overwrites it. */
  bestKind: i32;
  bestSlot: i32;
  bestOther: i32;
}

/**
 * Lays the state out from `scratch` on. It takes
 * 8 * T * (E + 2 * R + 1) + 8 * R * (E + R + 1) + 16 * E + 8 * P + 8 * (P + E + R * E) + 4 * R + 352 bytes
 * for E experts in P slots of R ranks and T samples.
 */
export function carveAdaptive(
  scratch: usize,
  numExperts: i32,
  numSlots: i32,
  numRanks: i32,
  numSamples: i32,
): Adaptive {
  const s = changetype<Adaptive>((scratch + 15) & ~15);
  s.numExperts = numExperts;
  s.numSlots = numSlots;
  s.numRanks = numRanks;
  s.rowBytes = (<usize>numSamples) << 3;
  const experts = <usize>numExperts;
  const slots = <usize>numSlots;
  const ranks = <usize>numRanks;
  s.copyLoad = changetype<usize>(s) + 320;
  s.rankLoad = s.copyLoad + experts * s.rowBytes;
  s.rankGradient = s.rankLoad + ranks * s.rowBytes;
  s.slope = s.rankGradient + ranks * s.rowBytes;
  s.gradient = s.slope + s.rowBytes;
  s.low = s.gradient + 8 * ranks * experts;
  s.rankCost = s.low + 8 * ranks * ranks;
  s.relief = s.rankCost + 8 * ranks;
  s.burden = s.relief + 8 * experts;
  s.own = s.burden + 8 * experts;
  s.slots = s.own + 8 * slots;
  s.bestSlots = s.slots + 4 * slots;
  s.count = s.bestSlots + 4 * slots;
  s.home = s.count + 4 * experts;
  s.on = s.home + 4 * experts;
  s.held = s.on + 4 * ranks * experts;
  s.marks = s.held + 4 * ranks * experts;
  return s;
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

export function gradientOf(s: Adaptive, rank: i32, expert: i32): f64 {
  return load<f64>(s.gradient + ((<usize>(rank * s.numExperts + expert)) << 3));
}

export function rankCostOf(s: Adaptive, rank: i32): f64 {
  return load<f64>(s.rankCost + ((<usize>rank) << 3));
}

export function reliefOf(s: Adaptive, expert: i32): f64 {
  return load<f64>(s.relief + ((<usize>expert) << 3));
}

export function burdenOf(s: Adaptive, expert: i32): f64 {
  return load<f64>(s.burden + ((<usize>expert) << 3));
}

export function ownOf(s: Adaptive, slot: i32): f64 {
  return load<f64>(s.own + ((<usize>slot) << 3));
}

/** The row of an expert, or of a rank, in a table [rows x numSamples]. */
export function rowOf(s: Adaptive, table: usize, row: i32): usize {
  return table + <usize>row * s.rowBytes;
}

export function power8(x: v128): v128 {
  const square = f64x2.mul(x, x);
  const fourth = f64x2.mul(square, square);
  return f64x2.mul(fourth, fourth);
}

export function root8(x: v128): v128 {
  return f64x2.sqrt(f64x2.sqrt(f64x2.sqrt(x)));
}

/** Adds up the two lanes. */
export function lanes(sum: v128): f64 {
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}
