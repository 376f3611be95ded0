// The start of the adaptive policy's search: the live placement with its copies dealt out anew. From the
// live placement alone a descent by single steps gets stuck, as hardly one that gains changes how many
// copies experts have: this start brings 0.005 to 0.007, at fewer moves.

import { isCancelled, isOver, spend } from './bounds';
import { mostCopiesOf } from './rules';
import { meanFixedLoad } from './shared-expert';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  addCopies,
  addCopiesOn,
  addTo,
  at32,
  copiesOf,
  copiesOn,
  expertAt,
  firstOf,
  float32At,
  headOf,
  homeOf,
  nextOf,
  paceOf,
  rankOf,
  setExpertAt,
} from './state';
import { domainOf, exposedDomain, leastCopiesOf, mayLeave, NO_DOMAIN } from './survive';
import { meanOf } from './table';
import { indexOfLeast, indexOfMost } from './vectors';

/**
 * A copy is dealt to another expert while its load would be so many times the load it leaves behind; 1.03
 * to 1.3 are the same.
 */
const MARGIN: f32 = 1.1;
/** Of the cost of a copy, what one more may add to that of all. */
const MOST_ADDED: f32 = 0.5;

/** In place of the load of a copy, of an expert that has all it wants. */
const NOT_MISSING: f32 = -1;

/**
 * Deals copies of experts that need them less to those that need them more, at most so many. The slowest
 * ranks give up what is too much, and what is missing comes, the heaviest first, to the quickest ranks.
 * Where the search is cancelled meanwhile, nothing may follow.
 *
 * @returns whether any was dealt: then what follows from the slots is to be made anew
 */
export function dealCopies(s: Adaptive, most: i32): bool {
  memory.copy(s.wanted, s.count, (<usize>s.numExperts) << 2);
  let left = most;
  for (let node = 0; node < s.numNodes; node++) left = dealOnNode(s, node, left);
  if (left === most) return false;
  weighRanks(s);
  for (let expert = 0; expert < s.numExperts; expert++) {
    while (copiesOf(s, expert) > at32(s.wanted, expert)) takeAway(s, expert);
  }
  giveMissing(s);
  return true;
}

/** Gives experts as many copies as are wanted, the heaviest first; fewer where the search is cancelled. */
export function giveMissing(s: Adaptive): void {
  for (let expert = 0; expert < s.numExperts; expert++) {
    const isMissing = copiesOf(s, expert) !== at32(s.wanted, expert);
    setNeed(s, expert, isMissing ? <f32>loadOf(s, expert) : NOT_MISSING);
  }
  for (;;) {
    spend(s, 1 + (s.numExperts >> 5));
    const expert = indexOfMost(s.need, s.numExperts);
    if (!(float32At(s.need, expert) > NOT_MISSING)) return;
    setNeed(s, expert, NOT_MISSING);
    while (copiesOf(s, expert) < at32(s.wanted, expert) && !isCancelled(s)) give(s, expert);
  }
}

/** Changes how many copies are wanted of the experts of a node; returns how many more may be dealt. */
function dealOnNode(s: Adaptive, node: i32, most: i32): i32 {
  let left = isForTotal(s) ? dealForTotal(s, node, most) : most;
  rateAll(s, node);
  while (left > 0 && !isOver(s)) {
    spend(s, 1 + (s.numExperts >> 5));
    const to = indexOfMost(s.need, s.numExperts);
    const from = indexOfLeast(s.spareness, s.numExperts);
    if (to === from || !(float32At(s.need, to) > float32At(s.spareness, from) * MARGIN)) return left;
    addTo(s.wanted, to, 1);
    addTo(s.wanted, from, -1);
    rate(s, to);
    rate(s, from);
    left--;
  }
  return left;
}

function rateAll(s: Adaptive, node: i32): void {
  for (let expert = 0; expert < s.numExperts; expert++) {
    if (isOfNode(s, expert, node)) rate(s, expert);
    else setRates(s, expert, -1, Infinity);
  }
}

function isOfNode(s: Adaptive, expert: i32, node: i32): bool {
  return s.numNodes === 1 || homeOf(s, expert) === node;
}

/**
 * Only where moves are free. Paid ones did not pay: planned every 8 of 65 steps of 128 tokens on 16 ranks,
 * there were 59 moves in place of 2, and they lost 1.6 % of the time.
 */
function isForTotal(s: Adaptive): bool {
  return s.terms.curve !== 0 && s.price === 0;
}

/**
 * Where costs are not in proportion, a copy more or less changes what all copies of an expert cost
 * together: deals copies of experts that save most by one less to those that cost least by one more. Of
 * slots that wait for their weights those are the experts that seldom have a token. What is in proportion
 * is left alone.
 */
function dealForTotal(s: Adaptive, node: i32, most: i32): i32 {
  for (let expert = 0; expert < s.numExperts; expert++) {
    if (isOfNode(s, expert, node)) rateTotal(s, expert);
    else setRates(s, expert, -Infinity, Infinity);
  }
  let left = most;
  while (left > 0 && !isOver(s)) {
    spend(s, 1 + (s.numExperts >> 5));
    const to = indexOfMost(s.need, s.numExperts);
    const from = indexOfLeast(s.spareness, s.numExperts);
    const saving = -float32At(s.spareness, from);
    const cost = -float32At(s.need, to);
    if (to === from || !(saving > cost * MARGIN)) return left;
    addTo(s.wanted, to, 1);
    addTo(s.wanted, from, -1);
    rateTotal(s, to);
    rateTotal(s, from);
    left--;
  }
  return left;
}

/** Finds what an expert's copies cost less together by one more than wanted, and by one less. */
function rateTotal(s: Adaptive, expert: i32): void {
  const copies = at32(s.wanted, expert);
  const all = <f32>copies * meanOf(s, expert, copies);
  const need: f32 =
    copies < mostCopiesOf(s, expert) ? all - <f32>(copies + 1) * meanOf(s, expert, copies + 1) : -Infinity;
  const isSpare = copies > leastCopiesOf(s, expert) && isAtHome(s, expert);
  setRates(s, expert, need, isSpare ? <f32>(copies - 1) * meanOf(s, expert, copies - 1) - all : Infinity);
}

/**
 * Finds the load of a copy, were there one more than wanted to need it, and were there one less. A copy
 * that mostly adds to what all cost together is not needed.
 */
function rate(s: Adaptive, expert: i32): void {
  const copies = at32(s.wanted, expert);
  let need: f32 = copies < mostCopiesOf(s, expert) ? meanOf(s, expert, copies) : -1;
  if (need > 0 && isForTotal(s)) {
    const added = <f32>(copies + 1) * meanOf(s, expert, copies + 1) - <f32>copies * need;
    if (added > need * MOST_ADDED) need = -1;
  }
  const isSpare = copies > leastCopiesOf(s, expert) && isAtHome(s, expert);
  setRates(s, expert, need, isSpare ? meanOf(s, expert, copies - 1) : Infinity);
}

function setRates(s: Adaptive, expert: i32, need: f32, spareness: f32): void {
  setNeed(s, expert, need);
  store<f32>(s.spareness + ((<usize>expert) << 2), spareness);
}

function setNeed(s: Adaptive, expert: i32, need: f32): void {
  store<f32>(s.need + ((<usize>expert) << 2), need);
}

/** Whether all copies are on the expert's node: only what is given up there makes room there. */
function isAtHome(s: Adaptive, expert: i32): bool {
  if (s.numNodes === 1) return true;
  for (let slot = headOf(s, expert); slot >= 0; slot = nextOf(s, slot)) {
    if (rankOf(s, slot) / s.ranksPerNode !== homeOf(s, expert)) return false;
  }
  return true;
}

/** The mean loads of the ranks, were copies as many as wanted, and how many of their slots are empty. */
function weighRanks(s: Adaptive): void {
  memory.fill(s.numEmpty, 0, (<usize>s.numRanks) << 2);
  for (let rank = 0; rank < s.numRanks; rank++) {
    let sum = meanFixedLoad(s, rank);
    for (let slot = firstOf(s, rank), end = firstOf(s, rank + 1); slot < end; slot++)
      sum += loadOf(s, expertAt(s, slot));
    store<f64>(s.dealtLoad + ((<usize>rank) << 3), sum);
  }
}

/** The load of a copy, were there as many as wanted. */
export function loadOf(s: Adaptive, expert: i32): f64 {
  return <f64>meanOf(s, expert, at32(s.wanted, expert));
}

function loadOfRank(s: Adaptive, rank: i32): f64 {
  return load<f64>(s.dealtLoad + ((<usize>rank) << 3));
}

/** What a rank's mean load takes. */
function timeOfRank(s: Adaptive, rank: i32): f64 {
  return loadOfRank(s, rank) * paceOf(s, rank);
}

/**
 * The same with a load more, less what that takes of a usual rank: so ranks that are alike compare alike.
 */
function timeWith(s: Adaptive, rank: i32, more: f64): f64 {
  return timeOfRank(s, rank) + more * (paceOf(s, rank) - 1);
}

function addLoad(s: Adaptive, rank: i32, amount: f64): void {
  store<f64>(s.dealtLoad + ((<usize>rank) << 3), loadOfRank(s, rank) + amount);
}

/** Empties the slot of an expert on its slowest rank. */
function takeAway(s: Adaptive, expert: i32): void {
  spend(s, 1);
  let best = -1;
  for (let slot = headOf(s, expert); slot >= 0; slot = nextOf(s, slot)) {
    if (expertAt(s, slot) < 0 || !mayLeave(s, rankOf(s, slot), expert)) continue;
    if (best < 0 || timeOfRank(s, rankOf(s, slot)) > timeOfRank(s, rankOf(s, best))) best = slot;
  }
  const rank = rankOf(s, best);
  setExpertAt(s, best, -1);
  addCopies(s, expert, -1);
  addCopiesOn(s, rank, expert, -1);
  addLoad(s, rank, -loadOf(s, expert));
  addTo(s.numEmpty, rank, 1);
}

/**
 * Puts a copy into an empty slot of the rank of the expert's node that takes least with it, if it can be of
 * one that has none yet, and of one in a second failure domain where the expert has to survive.
 */
function give(s: Adaptive, expert: i32): void {
  spend(s, 1 + (s.numRanks >> 5));
  const copy = loadOf(s, expert);
  let best = -1;
  let least: f64 = 0;
  let mostFit = 0;
  const exposed = exposedDomain(s, expert);
  for (let rank = 0; rank < s.numRanks; rank++) {
    if (at32(s.numEmpty, rank) === 0) continue;
    if (s.numNodes > 1 && homeOf(s, expert) !== rank / s.ranksPerNode) continue;
    const isSecured = exposed !== NO_DOMAIN && domainOf(s, rank) !== exposed;
    const fit = copiesOn(s, rank, expert) > 0 ? 0 : isSecured ? 2 : 1;
    if (fit < mostFit) continue;
    const time = timeWith(s, rank, copy);
    if (best >= 0 && fit === mostFit && !(time < least)) continue;
    best = rank;
    least = time;
    mostFit = fit;
  }
  let slot = firstOf(s, best);
  while (expertAt(s, slot) >= 0) slot++;
  setExpertAt(s, slot, expert);
  addCopies(s, expert, 1);
  addCopiesOn(s, best, expert, 1);
  addLoad(s, best, copy);
  addTo(s.numEmpty, best, -1);
}
