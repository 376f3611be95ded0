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
  /** f32[numSamples * width]: the samples, turned so that experts lie side by side. `width` is numExperts made a multiple of 16. */
  turned: usize;
  width: usize;
  /** f32[numRanks * width]: what the loads of an expert cost on a rank to first order. */
  pull: usize;
  /** f32[numRanks * width]: what a copy of it does, less the price of a move where the live placement has it there. */
  pricedPull: usize;
  /** f32[numRanks * width]: what a copy that comes to the rank adds to the price: infinite where one is, or none may come. */
  fee: usize;
  /** f32[numRanks]: what a load of 1 in each sample costs on a rank to first order, and, but for a factor, to second. */
  pullSum: usize;
  bendSum: usize;
  /** f32[width], each: a copy's share of its expert's load, and what its spread adds; and both with one copy more. */
  share: usize;
  part: usize;
  moreShare: usize;
  morePart: usize;
  /** f32[width], each: the mean load of an expert, of a copy, and of a copy when there is one more. */
  mean: usize;
  copyMean: usize;
  moreMean: usize;
  /** f32[width]: what one copy more changes on the ranks that have the expert. */
  relief: usize;
  /** f64[numRanks]: the powers of a rank, each by its sample's slope. */
  rankCost: usize;
  /** f64[numRanks]: the least that exchanges with a rank can cost. */
  bound: usize;
  /** f64[numExperts]: what one copy less changes on the ranks that have the expert; f64[numSlots]: on the rank of a slot. */
  lessSum: usize;
  lessCost: usize;
  /** f64[numSlots]: what it costs, to first order, to take the expert out of a slot. */
  base: usize;
  /** f32[numRanks]: the least that the rank gets with any expert's next copy. */
  leastOffer: usize;
  /** f32[stride made a multiple of 4], each: what the copies of two ranks cost more on the one than on the other, and their mean loads. */
  here: usize;
  there: usize;
  thereMean: usize;
  /** f32[4]: what four steps cost, about. */
  four: usize;
  /** i32[numSlots] */
  slots: usize;
  bestSlots: usize;
  /** i32[numExperts], both: copies, and the node the expert stays on. */
  count: usize;
  home: usize;
  /** i32[numRanks * numExperts]: copies on the rank. */
  on: usize;
  /** i32[numRanks * width]: 1 where the live placement has one. */
  held: usize;
  /** i32[numExperts], i32[numSlots]: the first slot of an expert, and its next one after a slot; -1 when there is none. */
  head: usize;
  next: usize;
  /**
   * i32[numRanks], each: experts that the live placement has on the rank, how many of them are not on it now, and slots whose expert it
   * does not have there.
   */
  numHeld: usize;
  left: usize;
  strangers: usize;
  /** i32[numRanks]: when a rank last changed, and when no exchange of its slots was left. */
  changedAt: usize;
  cleanAt: usize;
  /** i32, 1 where it is not up to date: relief[numExperts] and pull[numRanks]. */
  staleRelief: usize;
  stalePull: usize;
  /** i32[numRanks], both, of a search for a free slot: ranks to look at, and the slot whose expert would come to a rank. */
  queue: usize;
  cameFrom: usize;

  moves: i32;
  /** Steps looked at closely. */
  evaluations: i64;
  /** All that was done, in such steps: see adaptive-bounds.ts. */
  work: i64;
  maxWork: i64;
  nextLook: i64;
  /** i32: not 0 when the search is cancelled; 0, no pointer, when nothing cancels it. */
  cancelled: usize;
  isCancelled: bool;
  isOver: bool;
  /** Whether the last steps gained nothing but rounding; steps until that is looked at again, and costs and moves as they were. */
  isStalled: bool;
  stepsLeft: i32;
  watchedMoves: i32;
  watchedCost: f64;
  /** Counts the changes of ranks since the last descent or kick began. */
  time: i32;
  hasStepped: bool;
  random: u32;
  /** The best step found so far: what it costs, its slot, and the other slot or the expert that comes. */
  bestCost: f64;
  bestSlot: i32;
  bestOther: i32;
}

/**
 * Lays the state out from `scratch` on. It takes
 * 4 * T * (E + W + 2 * R + 1) + 4 * R * (4 * W + E) + 32 * W + 24 * E + 12 * S + 32 * P + 64 * R + 448 bytes
 * for E experts, W = E made a multiple of 16, P slots of R ranks, S = P / R made a multiple of 4, and T samples.
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
  const width = (experts + 15) & ~15;
  const stride = (<usize>s.stride + 3) & ~3;
  s.width = width;
  s.copyLoad = changetype<usize>(s) + 400;
  s.turned = s.copyLoad + experts * s.rowBytes;
  s.rankLoad = s.turned + width * s.rowBytes;
  s.rankGradient = s.rankLoad + ranks * s.rowBytes;
  s.slope = s.rankGradient + ranks * s.rowBytes;
  s.pull = s.slope + s.rowBytes;
  s.pricedPull = s.pull + 4 * ranks * width;
  s.fee = s.pricedPull + 4 * ranks * width;
  s.held = s.fee + 4 * ranks * width;
  s.share = s.held + 4 * ranks * width;
  s.part = s.share + 4 * width;
  s.moreShare = s.part + 4 * width;
  s.morePart = s.moreShare + 4 * width;
  s.mean = s.morePart + 4 * width;
  s.copyMean = s.mean + 4 * width;
  s.moreMean = s.copyMean + 4 * width;
  s.relief = s.moreMean + 4 * width;
  s.here = s.relief + 4 * width;
  s.there = s.here + 4 * stride;
  s.thereMean = s.there + 4 * stride;
  s.four = s.thereMean + 4 * stride;
  s.rankCost = s.four + 16;
  s.bound = s.rankCost + 8 * ranks;
  s.lessSum = s.bound + 8 * ranks;
  s.lessCost = s.lessSum + 8 * experts;
  s.base = s.lessCost + 8 * slots;
  s.pullSum = s.base + 8 * slots;
  s.bendSum = s.pullSum + 4 * ranks;
  s.leastOffer = s.bendSum + 4 * ranks;
  s.slots = s.leastOffer + 4 * ranks;
  s.bestSlots = s.slots + 4 * slots;
  s.next = s.bestSlots + 4 * slots;
  s.rankOfSlot = s.next + 4 * slots;
  s.count = s.rankOfSlot + 4 * slots;
  s.home = s.count + 4 * experts;
  s.head = s.home + 4 * experts;
  s.staleRelief = s.head + 4 * experts;
  s.on = s.staleRelief + 4 * experts;
  s.numHeld = s.on + 4 * ranks * experts;
  s.left = s.numHeld + 4 * ranks;
  s.strangers = s.left + 4 * ranks;
  s.changedAt = s.strangers + 4 * ranks;
  s.cleanAt = s.changedAt + 4 * ranks;
  s.stalePull = s.cleanAt + 4 * ranks;
  s.queue = s.stalePull + 4 * ranks;
  s.cameFrom = s.queue + 4 * ranks;
  s.firstSlot = s.cameFrom + 4 * ranks;
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
  return load<i32>(wideRow(s, s.held, rank) + ((<usize>expert) << 2));
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

/** The live placement has the expert on the rank. */
export function setHeld(s: Adaptive, rank: i32, expert: i32): void {
  if (heldOn(s, rank, expert) > 0) return;
  store<i32>(wideRow(s, s.held, rank) + ((<usize>expert) << 2), 1);
  addTo(s.numHeld, rank, 1);
}

/** Adds to an entry of a table of i32. */
export function addTo(table: usize, index: i32, number: i32): void {
  const at = table + ((<usize>index) << 2);
  store<i32>(at, load<i32>(at) + number);
}

export function isDirty(s: Adaptive, rank: i32): bool {
  const at = (<usize>rank) << 2;
  return load<i32>(s.cleanAt + at) < load<i32>(s.changedAt + at);
}

/** All exchanges are to be looked at. */
export function markAllDirty(s: Adaptive): void {
  markAllClean(s);
  memory.fill(s.cleanAt, 0xff, (<usize>s.numRanks) << 2);
}

/** No exchange is left, until ranks change. */
export function markAllClean(s: Adaptive): void {
  s.time = 0;
  memory.fill(s.changedAt, 0, (<usize>s.numRanks) << 2);
  memory.fill(s.cleanAt, 0, (<usize>s.numRanks) << 2);
}

export function markClean(s: Adaptive, rank: i32): void {
  store<i32>(s.cleanAt + ((<usize>rank) << 2), s.time);
}

export function markChanged(s: Adaptive, rank: i32): void {
  s.time++;
  store<i32>(s.changedAt + ((<usize>rank) << 2), s.time);
}

/** Whether rank b was looked at, and neither has changed since: then there is no exchange of the two. */
export function isKnown(s: Adaptive, a: i32, b: i32): bool {
  const changed = load<i32>(s.changedAt + ((<usize>a) << 2));
  return !isDirty(s, b) && changed <= load<i32>(s.cleanAt + ((<usize>b) << 2));
}

/** The first slot of an expert, in slot order; -1 when it has none. */
export function headOf(s: Adaptive, expert: i32): i32 {
  return load<i32>(s.head + ((<usize>expert) << 2));
}

/** The next slot of the same expert; -1 when there is none. */
export function nextOf(s: Adaptive, slot: i32): i32 {
  return load<i32>(s.next + ((<usize>slot) << 2));
}

/** The expert's next slot on another rank. */
export function nextElsewhere(s: Adaptive, slot: i32): i32 {
  const rank = rankOf(s, slot);
  let next = nextOf(s, slot);
  while (next >= 0 && rankOf(s, next) === rank) next = nextOf(s, next);
  return next;
}

/** Puts a slot among those of its expert. */
export function link(s: Adaptive, slot: i32, expert: i32): void {
  let at = s.head + ((<usize>expert) << 2);
  let next = load<i32>(at);
  while (next >= 0 && next < slot) {
    at = s.next + ((<usize>next) << 2);
    next = load<i32>(at);
  }
  store<i32>(at, slot);
  store<i32>(s.next + ((<usize>slot) << 2), next);
}

/** Takes a slot from among those of its expert. */
export function unlink(s: Adaptive, slot: i32, expert: i32): void {
  let at = s.head + ((<usize>expert) << 2);
  while (load<i32>(at) !== slot) at = s.next + ((<usize>load<i32>(at)) << 2);
  store<i32>(at, nextOf(s, slot));
}

export function rankCostOf(s: Adaptive, rank: i32): f64 {
  return load<f64>(s.rankCost + ((<usize>rank) << 3));
}

/** An entry of a table of f32. */
export function at32(table: usize, index: i32): f32 {
  return load<f32>(table + ((<usize>index) << 2));
}

/** The row of a rank in a table f32[numRanks * width]. */
export function wideRow(s: Adaptive, table: usize, rank: i32): usize {
  return table + ((<usize>rank * s.width) << 2);
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
