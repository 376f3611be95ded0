// Random kicks of a placement that no single step betters: a few random steps, and then only what they
// touched is searched. Of ranks that differ in speed the slowest one is kicked: that ends half as far above
// the bound of a linear program as kicks of any rank.

import { spend } from './bounds';
import { exchange, hasMoves, mayExchange, mayOverwrite, movesOf, overwrite } from './changes';
import { refresh } from './costs';
import { markAllClean } from './descent';
import { hasFewSlots } from './polish';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, expertAt, firstOf, float32At, rankCostOf, rankOf } from './state';

const FIRST_RANDOM: u32 = 0x9e3779b9;
/**
 * Steps of a kick; of few slots more, as single steps would always lead back. And tries of each to find one
 * that may be.
 */
const MOST_STEPS: i32 = 3;
const MOST_STEPS_OF_FEW: i32 = 12;
const TRIES: i32 = 20;
/** So many at the slowest rank: it may have no slot that may change. */
const TRIES_AT_SLOWEST: i32 = 10;
/** Of ten steps so many are overwrites. */
const OVERWRITES_IN_TEN: i32 = 3;

/** From here on the kicks are the same again. */
export function restartKicks(s: Adaptive): void {
  s.random = FIRST_RANDOM;
}

/** Returns whether anything was changed: now and then no random step may be. */
export function kick(s: Adaptive): bool {
  refresh(s);
  markAllClean(s);
  let isKicked = false;
  const isUneven = s.terms.rankSpeed !== 0;
  for (let left = 1 + nextRandom(s, hasFewSlots(s) ? MOST_STEPS_OF_FEW : MOST_STEPS); left > 0; left--) {
    const isOverwrite = nextRandom(s, 10) < OVERWRITES_IN_TEN;
    spend(s, 1);
    for (let n = 0; n < TRIES; n++) {
      if (isOverwrite ? !overwriteAny(s) : !exchangeAny(s, isUneven && !isKicked && n < TRIES_AT_SLOWEST))
        continue;
      isKicked = true;
      break;
    }
  }
  return isKicked;
}

function exchangeAny(s: Adaptive, isOfSlowest: bool): bool {
  const slot = isOfSlowest ? slotOfSlowest(s) : nextRandom(s, s.numSlots);
  const other = nextRandom(s, s.numSlots);
  if (!mayExchange(s, slot, other)) return false;
  const i = expertAt(s, slot);
  const j = expertAt(s, other);
  if (!hasMoves(s, movesOf(s, rankOf(s, slot), i, j) + movesOf(s, rankOf(s, other), j, i))) return false;
  exchange(s, slot, other);
  return true;
}

/** Any slot of the rank that takes longest. */
function slotOfSlowest(s: Adaptive): i32 {
  spend(s, s.numRanks >> 4);
  let slowest = 0;
  let most: f32 = -1;
  for (let rank = 0; rank < s.numRanks; rank++) {
    // Of powers of loads that count by the speed: so it is the power of the time.
    const cost = rankCostOf(s, rank) / float32At(s.rankSpeed, rank);
    if (!(cost > most) || firstOf(s, rank) === firstOf(s, rank + 1)) continue;
    most = cost;
    slowest = rank;
  }
  const first = firstOf(s, slowest);
  return first + nextRandom(s, firstOf(s, slowest + 1) - first);
}

function overwriteAny(s: Adaptive): bool {
  const slot = nextRandom(s, s.numSlots);
  const expert = nextRandom(s, s.numExperts);
  if (!mayOverwrite(s, slot, expert)) return false;
  if (!hasMoves(s, movesOf(s, rankOf(s, slot), expertAt(s, slot), expert))) return false;
  overwrite(s, slot, expert);
  return true;
}

function nextRandom(s: Adaptive, end: i32): i32 {
  s.random = s.random * 1664525 + 1013904223;
  // The low bits of such a sequence come again soon.
  return <i32>((<u64>s.random * <u64>end) >> 32);
}
