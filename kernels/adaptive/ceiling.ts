// A limit that no rank may come above with given loads: a constraint beside the objective, which a step may
// not break. What is above it already may only come down.

import { countReplicas } from '../shared/inverse';
import { rankLoads } from '../shared/rank-loads';
import { fixedForCeiling } from './shared-expert';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  copiesOf,
  copiesOn,
  expertAt,
  firstOf,
  float32At,
  headOf,
  nextElsewhere,
  paceOf,
  rankOf,
} from './state';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';
import { totalOf } from './vectors';

/** What one of `copies` of an expert has of its load. */
function shareOf(s: Adaptive, expert: i32, copies: i32): f64 {
  return <f64>load<f32>(s.terms.ceilingLoads + ((<usize>expert) << 2)) / <f64>copies;
}

function timeOf(s: Adaptive, rank: i32): f64 {
  return load<f64>(s.ceilingTime + ((<usize>rank) << 3));
}

/** Sums up what a rank takes. */
export function sumForCeiling(s: Adaptive, rank: i32): void {
  let sum = fixedForCeiling(s, rank);
  for (let slot = firstOf(s, rank), end = firstOf(s, rank + 1); slot < end; slot++) {
    const expert = expertAt(s, slot);
    sum += shareOf(s, expert, copiesOf(s, expert));
  }
  store<f64>(s.ceilingTime + ((<usize>rank) << 3), sum * paceOf(s, rank));
}

/** Whether all ranks are below the ceiling. */
export function isBelow(s: Adaptive): bool {
  if (s.terms.ceilingLoads === 0) return true;
  for (let rank = 0; rank < s.numRanks; rank++) if (!isRankBelow(s, rank)) return false;
  return true;
}

export function isRankBelow(s: Adaptive, rank: i32): bool {
  return timeOf(s, rank) <= s.terms.ceiling;
}

/** The rank that takes longest. */
export function highestRank(s: Adaptive): i32 {
  let highest = 0;
  for (let rank = 1; rank < s.numRanks; rank++) if (timeOf(s, rank) > timeOf(s, highest)) highest = rank;
  return highest;
}

/** What a step costs that leaves a relieved rank above the ceiling, for each time the ceiling. */
const OVERLOAD: f64 = 1e4;
/** A step that costs less leaves the rank that it relieves below the ceiling, or above it by a hair. */
export const BELOW: f64 = 1;

/** What an exchange costs by how far it relieves a rank; infinite where it does not. */
export function reliefOfExchange(s: Adaptive, slot: i32, other: i32): f64 {
  const i = expertAt(s, slot);
  const j = expertAt(s, other);
  const more = shareOf(s, j, copiesOf(s, j)) - shareOf(s, i, copiesOf(s, i));
  return overload(s, rankOf(s, slot) === s.relieved ? more : -more);
}

/** The same where expert j takes the place of a copy that can be spared. */
export function reliefOfOverwrite(s: Adaptive, slot: i32, j: i32): f64 {
  const i = expertAt(s, slot);
  const isHere = <i32>(rankOf(s, slot) === s.relieved);
  const copiesI = copiesOf(s, i);
  const copiesJ = copiesOf(s, j);
  const onI = copiesOn(s, s.relieved, i);
  const onJ = copiesOn(s, s.relieved, j);
  const before = <f64>onI * shareOf(s, i, copiesI) + <f64>onJ * shareOf(s, j, copiesJ);
  const after =
    <f64>(onI - isHere) * shareOf(s, i, copiesI - 1) + <f64>(onJ + isHere) * shareOf(s, j, copiesJ + 1);
  return overload(s, after - before);
}

function overload(s: Adaptive, more: f64): f64 {
  if (!(more < 0)) return Infinity;
  const time = timeOf(s, s.relieved) + more * paceOf(s, s.relieved);
  return OVERLOAD * max(0, time / s.terms.ceiling - 1);
}

/** Whether a rank may have so much load more. */
function mayTake(s: Adaptive, rank: i32, more: f64): bool {
  return more <= 0 || timeOf(s, rank) + more * paceOf(s, rank) <= s.terms.ceiling;
}

/** Whether the ceiling lets two slots be exchanged. */
export function mayWeigh(s: Adaptive, slot: i32, other: i32): bool {
  if (s.terms.ceilingLoads === 0) return true;
  const i = expertAt(s, slot);
  const j = expertAt(s, other);
  const more = shareOf(s, j, copiesOf(s, j)) - shareOf(s, i, copiesOf(s, i));
  return mayTake(s, rankOf(s, slot), more) && mayTake(s, rankOf(s, other), -more);
}

/** In place of the one rank that may spare its copy of an expert: any may, or none. */
export const ANY_RANK: i32 = -1;
const NO_RANK: i32 = -2;

/**
 * Which rank may spare its copy of an expert that has several, so that the others take its load. What they
 * may be relieved of by the expert that comes is left out.
 */
export function sparingRank(s: Adaptive, expert: i32): i32 {
  if (s.terms.ceilingLoads === 0) return ANY_RANK;
  const copies = copiesOf(s, expert);
  const more = shareOf(s, expert, copies - 1) - shareOf(s, expert, copies);
  let sparing = ANY_RANK;
  for (let at = headOf(s, expert); at >= 0; at = nextElsewhere(s, at)) {
    const rank = rankOf(s, at);
    if (mayTake(s, rank, <f64>copiesOn(s, rank, expert) * more)) continue;
    // Where two may take no more, one of them would have to.
    if (sparing !== ANY_RANK) return NO_RANK;
    sparing = rank;
  }
  return sparing;
}

/**
 * Whether the slot's own rank may take expert j in the place of a copy there: quick to tell, and false of
 * most places where many ranks are near the ceiling.
 */
export function mayHold(s: Adaptive, slot: i32, j: i32): bool {
  if (s.terms.ceilingLoads === 0) return true;
  const i = expertAt(s, slot);
  return mayTake(s, rankOf(s, slot), shareOf(s, j, copiesOf(s, j) + 1) - shareOf(s, i, copiesOf(s, i)));
}

/** Whether it lets expert j take the place of a copy that can be spared, whose load goes to the others. */
export function mayWeighMore(s: Adaptive, slot: i32, j: i32): bool {
  if (s.terms.ceilingLoads === 0) return true;
  const i = expertAt(s, slot);
  const rank = rankOf(s, slot);
  const copiesI = copiesOf(s, i);
  const copiesJ = copiesOf(s, j);
  const before = shareOf(s, i, copiesI);
  const after = shareOf(s, i, copiesI - 1);
  const less = shareOf(s, j, copiesJ + 1) - shareOf(s, j, copiesJ);
  const others = <f64>(copiesOn(s, rank, i) - 1) * (after - before);
  if (!mayTake(s, rank, shareOf(s, j, copiesJ + 1) - before + others)) return false;
  for (let at = headOf(s, i); at >= 0; at = nextElsewhere(s, at)) {
    const b = rankOf(s, at);
    if (b === rank) continue;
    const more = <f64>copiesOn(s, b, i) * (after - before) + <f64>copiesOn(s, b, j) * less;
    if (!mayTake(s, b, more)) return false;
  }
  return true;
}

/**
 * The longest that a rank takes with the loads of the ceiling.
 *
 * @param terms AdaptiveTerms: sizes, ceilingLoads, rankSpeed, fixedShare and scratch are read
 * @param slots i32[numSlots], -1 for an empty one
 */
export function longestTime(terms: usize, slots: usize): f64 {
  const a = changetype<AdaptiveTerms>(terms);
  const counts = a.scratch;
  const loads = (counts + ((<usize>a.numExperts) << 2) + 7) & ~7;
  const stats = loads + ((<usize>a.numRanks) << 3);
  countReplicas(slots, a.numSlots, a.numExperts, counts);
  rankLoads(a.ceilingLoads, slots, counts, a.numSlots, a.numRanks, loads, stats);
  if (a.rankSpeed === 0 && a.fixedShare === 0) return load<f64>(stats);
  const total = a.fixedShare === 0 ? 0 : totalOf(a.ceilingLoads, a.numExperts);
  let most: f64 = 0;
  for (let rank = 0; rank < a.numRanks; rank++) {
    const speed: f64 = a.rankSpeed === 0 ? 1 : <f64>float32At(a.rankSpeed, rank);
    const fixed: f64 = a.fixedShare === 0 ? 0 : <f64>float32At(a.fixedShare, rank) * total;
    most = max(most, (load<f64>(loads + ((<usize>rank) << 3)) + fixed) / speed);
  }
  return most;
}
