// The state of the adaptive policy's search for one layer: the placement, the loads of its ranks in each
// sample, and what they cost. Loads over samples lie four by four in the lanes of a vector: their number is a
// multiple of 4. Slots that are closed are in the tables that come and go, and not in here: the slots of all
// ranks lie one after the other, so that nothing can put an expert into a closed one.

import { place } from './layout';
import { pairsRowBytes } from './pairs';
import { placePreparation } from './preparation';
import { placeShares } from './slowest';
import { isSharpFor, writeSpeeds } from './speeds';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/**
 * Tables of what copies cost take no more than this: rows beyond it take the place of others of their expert.
 */
const MOST_TABLE_BYTES: i32 = 1 << 24;
/** Of each expert the rows of one copy less, of now, and of one more are always there together. */
const LEAST_ROWS: i32 = 3;
/** Entries behind tables that are read four at a time. */
const SPARE: usize = 4;
/** Of an entry of `places`. */
const HELD: u16 = 0x8000;

/**
 * A view on scratch memory, never allocated. All pointers are byte offsets. Ranks and slots that are read
 * four at a time have room behind.
 */
export class Adaptive {
  price: f64;
  leastGain: f64;
  /** All that was done, see bounds.ts; steps looked at closely. */
  work: i64;
  maxWork: i64;
  nextLook: i64;
  evaluations: i64;
  /** The best step found so far: what it costs, its slot, and the other slot, or the expert that comes. */
  bestCost: f64;
  bestSlot: i32;
  bestOther: i32;
  isOverwrite: bool;

  terms: AdaptiveTerms;
  numExperts: i32;
  /** Slots that are open, of all ranks. */
  numSlots: i32;
  numRanks: i32;
  numNodes: i32;
  ranksPerNode: i32;
  /** Slots of a rank in tables from outside, open and closed. */
  stride: i32;
  /** Copies of one expert there may be without doubles on a rank. */
  mostCopies: i32;
  /** Bytes of a row of samples. */
  rowBytes: usize;
  isSharp: bool;
  /** Half the second derivative of the power at 1: 28 or 120. */
  bend: f32;
  /** What loads are scaled by: the powers of norm 16 would leave float32 else. */
  scale: f32;
  /** What one of `pairs` costs whose experts share no node. */
  linkPrice: f32;
  /** The sum over all pairs of what their shared nodes are worth, see links.ts. */
  together: f64;
  moves: i32;
  maxMoves: i32;
  visits: i32;
  maxVisits: i32;
  maxEvaluations: i32;
  isCancelled: bool;
  isOver: bool;
  /**
   * Whether the last steps gained nothing but rounding; steps until that is looked at again, and costs and
   * moves as they were.
   */
  isStalled: bool;
  hasStepped: bool;
  stepsLeft: i32;
  watchedMoves: i32;
  watchedCost: f64;
  /** Counts the changes of ranks since the last descent or kick began. */
  time: i32;
  random: u32;
  /**
   * f32[rowsPerExpert * numExperts * numSamples]: what one of so many copies of an expert costs; and each
   * row's mean and variance.
   */
  table: usize;
  rowMean: usize;
  rowVariance: usize;
  /** i32[rowsPerExpert * numExperts]: how many copies the row is for; 0: none yet. */
  rowCopies: usize;
  rowsPerExpert: i32;
  /** Of each expert: its row as it is now, with its mean and variance. */
  copyRow: usize;
  copyMean: usize;
  copyVariance: usize;
  /** The same of each slot's expert. */
  slotRow: usize;
  slotMean: usize;
  slotVariance: usize;
  /** And what it adds that the copy is on its rank, and not there already: the price of a move, or 0. */
  slotFee: usize;

  /** f32[numRanks * numSamples]: loads, and how much the objective grows with them. */
  rankLoad: usize;
  rankGradient: usize;
  /** f32[numSamples]: how much it grows with the sum of a sample's powers. */
  slope: usize;
  /**
   * f32[numRanks]: what the power of the rank's load counts as, see speeds.ts; its powers, each by its
   * sample's slope; and what its loads to the norm less 2 are.
   */
  rankPower: usize;
  rankCost: usize;
  rankBend: usize;
  /** f32[numRanks]: how fast the rank is; f64[numRanks]: what it takes for a load of 1. */
  rankSpeed: usize;
  rankPace: usize;
  /** f32[numRanks]: the least that exchanges with a rank can cost. */
  bound: usize;
  /** i32[numRanks]: when a rank last changed, and when no step of its slots was found. */
  changedAt: usize;
  cleanAt: usize;
  /**
   * i32[numRanks], of a search for a free slot: ranks to look at, and the slot whose expert would come to a
   * rank.
   */
  queue: usize;
  cameFrom: usize;
  /** i32[numRanks + 1]: where the slots of a rank begin. */
  firstSlot: usize;
  /** f64[numRanks], while copies are dealt out: the mean load of each rank. */
  dealtLoad: usize;

  /** i32[numSlots], each. */
  slots: usize;
  bestSlots: usize;
  rankOfSlot: usize;
  /** The next slot of the same expert; -1 when there is none. */
  next: usize;
  /** f32[numSlots]: what the copy costs on its rank to first order. */
  own: usize;
  /** f32[numSlots]: what it changes on the slot's rank when its expert has one copy less, or one more. */
  less: usize;
  more: usize;
  /** u8[numSlots]: which of own, less and more are up to date. */
  known: usize;
  /**
   * f32[numSlots]: what it changes, with fees and to first order, to take the expert out; infinite where it
   * has no copy to spare.
   */
  base: usize;
  /** f32[numRanks]: the least of a rank's bases; u8[numRanks]: 1 where these are up to date. */
  leastBase: usize;
  knownBase: usize;

  /** i32[numExperts], each: copies; the node it stays on; its first slot, -1 when it has none. */
  count: usize;
  home: usize;
  head: usize;
  /** f32[numExperts]: the sums of `less` and of `more`. */
  lessSum: usize;
  moreSum: usize;
  /** i32[numExperts]: which rank the ceiling lets spare a copy, see ceiling.ts. */
  sparing: usize;
  /** u8[numExperts]: which of these three are up to date. */
  knownSums: usize;
  /** f32[numExperts] each, i32[numExperts], i32[numRanks]: while copies are dealt out, see starts.ts. */
  need: usize;
  spareness: usize;
  wanted: usize;
  numEmpty: usize;
  /** u16[numRanks * numExperts]: copies on the rank, and whether the live placement has one. */
  places: usize;

  /** What the terms say of pairs; 0 where links do not count. And bytes of a row. */
  pairs: usize;
  pairBytes: usize;
  /** Whether it says what experts are worth on nodes in place of pairs. */
  isNearest: bool;
  /** f32[nodes * numExperts made a multiple of 4]: what experts are worth on nodes. */
  linkValue: usize;
  /** u64[numExperts]: the nodes of each, a bit each. */
  nodeSet: usize;
  /** u16[nodes * numExperts]: copies. */
  onNode: usize;
  /** u64[nodes + 1][words of a bit for each expert]: those on a node, and on several; and bytes of each. */
  nodeExperts: usize;
  setBytes: usize;
  /** i32[nodes], i32[numRanks]: the first rank of a node, and the next of the same; -1 behind the last. */
  firstRank: usize;
  nextRank: usize;
  /** f32[nodes]: the most that links save on each by what is looked at, for a while and of all. */
  savedTo: usize;
  savedAll: usize;
  /** i32[nodes * numExperts]: the step until which an expert may not come to a node, see walk.ts. */
  tabu: usize;
  isWalking: bool;
  /** How far a rank looks for a step: at least at so many ranks, at so many in all until one is found, ... */
  leastRanks: i32;
  mostRanks: i32;
  /** ... on so many other nodes, and at further copies of so many of its experts. */
  mostNodes: i32;
  copiedExperts: i32;
  step: i32;
  tenure: i32;
  /** f32[nodes * stride]: the same of each slot of the rank that is looked at. */
  savedGoing: usize;
  /** f32[numRanks]: what they save by a further copy on each. */
  savedOn: usize;
  /** The rank that steps have to bring down towards the ceiling; -1: none. */
  relieved: i32;
  /** f64[numRanks]: what each rank takes with the loads of the ceiling. */
  ceilingTime: usize;
  /** What these come to, where a shared expert has a share of it; else 0. */
  ceilingTotal: f64;

  /** f32[stride], each: what the copies of two ranks cost more on the one than on the other. */
  here: usize;
  there: usize;
  /** f32[4], each: what four steps cost, about; and a copy on each of four ranks. */
  four: usize;
  fourRanks: usize;
}

/**
 * Lays the state out; with no memory, 0, it only tells how many bytes that takes, which grow with each of the
 * numbers.
 *
 * @param numSlots of all ranks, open and closed
 */
function placeAdaptive(
  s: usize,
  numExperts: i32,
  numSlots: i32,
  numRanks: i32,
  maxSamples: i32,
  numLinkNodes: i32,
): usize {
  const experts = <usize>numExperts;
  const slots = <usize>numSlots + SPARE;
  const ranks = <usize>numRanks + SPARE;
  const stride = <usize>(numSlots / numRanks) + SPARE;
  const rowBytes = ((<usize>maxSamples + 3) & ~3) << 2;
  const rows = experts * <usize>rowsFor(numExperts, numSlots, numRanks, maxSamples);
  let end = offsetof<Adaptive>();
  end = place(s, offsetof<Adaptive>('rowMean'), end, 4 * rows);
  end = place(s, offsetof<Adaptive>('rowVariance'), end, 4 * rows);
  end = place(s, offsetof<Adaptive>('rowCopies'), end, 4 * rows);
  end = place(s, offsetof<Adaptive>('copyRow'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('copyMean'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('copyVariance'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('slotRow'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('slotMean'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('slotVariance'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('slotFee'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('rankLoad'), end, rowBytes * ranks);
  end = place(s, offsetof<Adaptive>('rankGradient'), end, rowBytes * ranks);
  end = place(s, offsetof<Adaptive>('slope'), end, rowBytes);
  end = place(s, offsetof<Adaptive>('rankPower'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('rankCost'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('rankBend'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('rankPace'), end, 8 * ranks);
  end = place(s, offsetof<Adaptive>('rankSpeed'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('bound'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('changedAt'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('cleanAt'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('queue'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('cameFrom'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('firstSlot'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('dealtLoad'), end, 8 * ranks);
  end = place(s, offsetof<Adaptive>('slots'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('bestSlots'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('rankOfSlot'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('next'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('own'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('less'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('more'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('known'), end, slots);
  end = place(s, offsetof<Adaptive>('base'), end, 4 * slots);
  end = place(s, offsetof<Adaptive>('knownBase'), end, (ranks + 15) & ~15);
  end = place(s, offsetof<Adaptive>('leastBase'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('count'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('home'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('head'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('lessSum'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('moreSum'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('sparing'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('knownSums'), end, experts);
  end = place(s, offsetof<Adaptive>('need'), end, 4 * (experts + SPARE));
  end = place(s, offsetof<Adaptive>('spareness'), end, 4 * (experts + SPARE));
  end = place(s, offsetof<Adaptive>('wanted'), end, 4 * experts);
  end = place(s, offsetof<Adaptive>('numEmpty'), end, 4 * ranks);
  end = place(s, offsetof<Adaptive>('places'), end, (2 * <usize>numRanks * experts + 15) & ~15);
  end = place(s, offsetof<Adaptive>('here'), end, 4 * stride);
  end = place(s, offsetof<Adaptive>('there'), end, 4 * stride);
  end = place(s, offsetof<Adaptive>('four'), end, 16);
  end = place(s, offsetof<Adaptive>('fourRanks'), end, 16);
  end = place(s, offsetof<Adaptive>('ceilingTime'), end, 8 * ranks);
  const nodes = <usize>numLinkNodes;
  const linked = nodes > 0 ? experts : 0;
  end = place(s, offsetof<Adaptive>('linkValue'), end, nodes * pairsRowBytes(numExperts));
  end = place(s, offsetof<Adaptive>('nodeSet'), end, 8 * linked);
  end = place(s, offsetof<Adaptive>('onNode'), end, 2 * nodes * experts);
  end = place(
    s,
    offsetof<Adaptive>('nodeExperts'),
    end,
    nodes > 0 ? (nodes + 1) * setBytesFor(numExperts) : 0,
  );
  end = place(s, offsetof<Adaptive>('firstRank'), end, 4 * nodes);
  end = place(s, offsetof<Adaptive>('nextRank'), end, nodes > 0 ? 4 * ranks : 0);
  end = place(s, offsetof<Adaptive>('savedTo'), end, 4 * nodes);
  end = place(s, offsetof<Adaptive>('savedAll'), end, 4 * (nodes + SPARE));
  end = place(s, offsetof<Adaptive>('tabu'), end, 4 * nodes * experts);
  end = place(s, offsetof<Adaptive>('savedGoing'), end, 4 * nodes * stride);
  end = place(s, offsetof<Adaptive>('savedOn'), end, nodes > 0 ? 4 * ranks : 0);
  return place(s, offsetof<Adaptive>('table'), end, rows * rowBytes);
}

/**
 * Bytes of scratch that prepareSamples, searchAdaptive and measureSlowest need, with room for so many
 * samples. `numSlots`: open and closed; `numLinkNodes`: 0 where links do not count.
 */
export function adaptiveScratchBytes(
  numExperts: i32,
  numSlots: i32,
  numRanks: i32,
  maxSamples: i32,
  numLinkNodes: i32,
): f64 {
  const search = placeAdaptive(0, numExperts, numSlots, numRanks, maxSamples, numLinkNodes);
  const others = max(placePreparation(0, numExperts, maxSamples), placeShares(0, numExperts, numSlots));
  return <f64>max(search, others);
}

/** Bytes of a bit for each expert. */
function setBytesFor(numExperts: i32): usize {
  return (<usize>((numExperts + 63) >> 6)) << 3;
}

/** Rows of an expert in the table: for as many copies as can be, unless these are too many. */
function rowsFor(numExperts: i32, numSlots: i32, numRanks: i32, maxSamples: i32): i32 {
  const most = min(numSlots - numExperts + 1, numRanks) + 1;
  const room = MOST_TABLE_BYTES / (numExperts * ((maxSamples + 3) & ~3) * 4);
  return max(LEAST_ROWS, min(most, room));
}

/** Lays the state out in the scratch of the terms, for the samples that are prepared. */
export function carveAdaptive(terms: AdaptiveTerms): Adaptive {
  const numExperts = terms.numExperts;
  const numSlots = terms.numSlots;
  const numRanks = terms.numRanks;
  const numLinkNodes = terms.pairs === 0 ? 0 : terms.numLinkNodes;
  placeAdaptive(terms.scratch, numExperts, numSlots, numRanks, terms.maxSamples, numLinkNodes);
  const s = changetype<Adaptive>(terms.scratch);
  s.terms = terms;
  s.numExperts = numExperts;
  s.numRanks = numRanks;
  s.numNodes = terms.numNodes;
  s.ranksPerNode = numRanks / terms.numNodes;
  s.stride = numSlots / numRanks;
  s.rowBytes = (<usize>terms.numSamples) << 2;
  s.rowsPerExpert = rowsFor(numExperts, numSlots, numRanks, terms.maxSamples);
  s.isSharp = isSharpFor(terms);
  s.bend = s.isSharp ? 120 : 28;
  s.scale = s.isSharp ? 0.0625 : 1;
  memory.fill(s.rowCopies, 0, (<usize>(numExperts * s.rowsPerExpert)) << 2);
  numberSlots(s, terms.slotsPerRank);
  s.mostCopies = min(s.numSlots - numExperts + 1, numRanks);
  writeSpeeds(terms, s.isSharp, s.rankSpeed, s.rankPower, s.rankPace);
  s.pairs = terms.pairsTotal > 0 ? terms.pairs : 0;
  s.pairBytes = pairsRowBytes(numExperts);
  s.isNearest = terms.isNearest !== 0;
  s.setBytes = setBytesFor(numExperts);
  s.linkPrice = s.pairs === 0 ? 0 : <f32>(terms.linkPrice / terms.pairsTotal);
  s.together = 0;
  lookUsually(s);
  return s;
}

/**
 * Ranks that a bound says most of: so many are looked at, and so many in all until an exchange is found. To
 * look at all of them is no better.
 */
const FIRST_RANKS: i32 = 2;
const MORE_RANKS: i32 = 4;
/** Nodes that exchanges are looked at with: those on which an expert of the rank would save most. */
const NODES: i32 = 2;
/** Experts of a rank of which further copies are looked at. */
const COPIED_EXPERTS: i32 = 2;

/** Ranks that a relieved one is at first to exchange with. */
const RELIEF_RANKS: i32 = 16;

/** Steps are looked for that gain. */
export function lookUsually(s: Adaptive): void {
  s.isWalking = false;
  s.relieved = -1;
  s.leastRanks = FIRST_RANKS;
  s.mostRanks = MORE_RANKS;
  s.mostNodes = NODES;
  s.copiedExperts = COPIED_EXPERTS;
}

/** The best step is looked for, be it one that costs more: at twice as much. */
export function lookOnWalk(s: Adaptive): void {
  lookUsually(s);
  s.isWalking = true;
  s.leastRanks = 2 * FIRST_RANKS;
  s.mostRanks = 2 * MORE_RANKS;
  s.mostNodes = 2 * NODES;
}

/** A step is looked for that brings a rank down towards the ceiling: where it costs least, or everywhere. */
export function lookForRelief(s: Adaptive, rank: i32, isEverywhere: bool): void {
  lookUsually(s);
  s.relieved = rank;
  if (!isEverywhere) {
    s.leastRanks = s.mostRanks = RELIEF_RANKS;
    return;
  }
  s.leastRanks = s.mostRanks = s.numRanks;
  s.mostNodes = s.terms.numLinkNodes;
  s.copiedExperts = i32.MAX_VALUE;
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
  addTo(s.count, expert, copies);
}

/** Where `places` has an expert on a rank. */
export function placeOf(s: Adaptive, rank: i32, expert: i32): usize {
  return s.places + ((<usize>(rank * s.numExperts + expert)) << 1);
}

/** Copies of the expert on the rank. */
export function copiesOn(s: Adaptive, rank: i32, expert: i32): i32 {
  return load<u16>(placeOf(s, rank, expert)) & ~HELD;
}

export function addCopiesOn(s: Adaptive, rank: i32, expert: i32, copies: i32): void {
  const at = placeOf(s, rank, expert);
  store<u16>(at, <u16>(<i32>load<u16>(at) + copies));
}

/** 1 where the live placement has the expert on the rank, else 0. */
export function heldOn(s: Adaptive, rank: i32, expert: i32): i32 {
  return load<u16>(placeOf(s, rank, expert)) >> 15;
}

/** The live placement has the expert on the rank. */
export function setHeld(s: Adaptive, rank: i32, expert: i32): void {
  const at = placeOf(s, rank, expert);
  store<u16>(at, load<u16>(at) | HELD);
}

export function clearPlaces(s: Adaptive): void {
  memory.fill(s.places, 0, (<usize>(s.numRanks * s.numExperts)) << 1);
}

/** Whether an entry of `places` has a copy on the rank. */
export function isOn(place: u16): bool {
  return (place & ~HELD) !== 0;
}

/** What it adds to the objective, beside what its loads cost, that a copy comes: the price of the move. */
export function feeAt(place: u16, price: f32): f32 {
  return (place & HELD) === 0 ? price : 0;
}

/** The same, of an expert on a rank. */
export function feeOf(s: Adaptive, rank: i32, expert: i32): f64 {
  return heldOn(s, rank, expert) === 0 ? s.price : 0;
}

/** Whether the expert may have a copy more on the rank. */
export function mayCome(s: Adaptive, rank: i32, expert: i32): bool {
  if (copiesOn(s, rank, expert) > 0) return false;
  return s.numNodes === 1 || homeOf(s, expert) === rank / s.ranksPerNode;
}

export function homeOf(s: Adaptive, expert: i32): i32 {
  return load<i32>(s.home + ((<usize>expert) << 2));
}

/** Adds to an entry of a table of i32. */
export function addTo(table: usize, index: i32, number: i32): void {
  const at = table + ((<usize>index) << 2);
  store<i32>(at, load<i32>(at) + number);
}

/** An entry of a table of i32, of f32. */
export function at32(table: usize, index: i32): i32 {
  return load<i32>(table + ((<usize>index) << 2));
}

export function float32At(table: usize, index: i32): f32 {
  return load<f32>(table + ((<usize>index) << 2));
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

/** The row of a rank in a table [numRanks * numSamples]. */
export function rankRow(s: Adaptive, table: usize, rank: i32): usize {
  return table + <usize>rank * s.rowBytes;
}

export function rankCostOf(s: Adaptive, rank: i32): f32 {
  return load<f32>(s.rankCost + ((<usize>rank) << 2));
}

export function powerOf(s: Adaptive, rank: i32): f32 {
  return load<f32>(s.rankPower + ((<usize>rank) << 2));
}

/** The least that exchanges with a rank can cost. */
export function setBound(s: Adaptive, rank: i32, bound: f32): void {
  store<f32>(s.bound + ((<usize>rank) << 2), bound);
}

/** What links cost less than if no pair shared a node. */
export function savedByLinks(s: Adaptive): f64 {
  return s.together * <f64>s.linkPrice;
}

/** What a rank takes for a load of 1. */
export function paceOf(s: Adaptive, rank: i32): f64 {
  return load<f64>(s.rankPace + ((<usize>rank) << 3));
}
