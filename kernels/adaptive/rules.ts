// The user's own rules: experts that have to have copies on certain ranks, and experts that may have no more
// than so many. Of an expert that may have no more copies than it is pinned to, all are pinned. So what keeps
// pinned copies where they are, and counts all copies, keeps every rule.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, at32, copiesOf, copiesOn } from './state';

export function hasRules(s: Adaptive): bool {
  return s.terms.pinned !== 0;
}

/** Whether a copy of the expert has to be on the rank. */
export function isPinned(s: Adaptive, rank: i32, expert: i32): bool {
  return hasRules(s) && load<u8>(s.terms.pinned + <usize>(rank * s.numExperts + expert)) !== 0;
}

/** Whether the expert is pinned to the rank, and has no second copy there. */
export function isKept(s: Adaptive, rank: i32, expert: i32): bool {
  return isPinned(s, rank, expert) && copiesOn(s, rank, expert) < 2;
}

/** Ranks that an expert is pinned to. */
export function pinsOf(s: Adaptive, expert: i32): i32 {
  return hasRules(s) ? at32(s.terms.numPins, expert) : 0;
}

/** The most copies that an expert may have without doubles on a rank. */
export function mostCopiesOf(s: Adaptive, expert: i32): i32 {
  return hasRules(s) ? min(s.mostCopies, at32(s.terms.mostCopies, expert)) : s.mostCopies;
}

/** Whether a rule forbids one copy more of an expert, be it a double. */
export function isAtMost(s: Adaptive, expert: i32): bool {
  return hasRules(s) && copiesOf(s, expert) >= at32(s.terms.mostCopies, expert);
}
