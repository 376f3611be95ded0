// Random kicks of a placement that no single step betters. A kick takes the best of a few random steps, though it costs
// something, and then only what it touched is searched: a tenth of the work of a whole descent.

import { spend, watchSteps } from './bounds';
import { exchange, mayExchange, mayOverwrite, overwrite, pricedExchange, pricedOverwrite } from './changes';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, markAllClean } from './state';
import { hasFewSlots } from './steps';

const FIRST_RANDOM: u32 = 0x9e3779b9;
/** The best of 5, 20 and 80 random steps lead to placements alike good; one alone, and kicks of more steps, take longer to. */
const TRIES: i32 = 20;
const MOST_STEPS: i32 = 12;
/** Of ten kicks so many are overwrites: 1 is 0.002 worse on its own window, and 6 is the same. */
const OVERWRITES_IN_TEN: i32 = 3;

/** From here on the kicks are the same again. */
export function restartKicks(s: Adaptive): void {
  s.random = FIRST_RANDOM;
}

/** Returns whether anything was changed: now and then no random step may be. */
export function kick(s: Adaptive): bool {
  markAllClean(s);
  const isKicked = hasFewSlots(s) ? kickFar(s) : kickOnce(s, TRIES);
  watchSteps(s);
  return isKicked;
}

/** Of few slots the best of many steps would always be the same one: up to twelve random steps instead. */
function kickFar(s: Adaptive): bool {
  let isKicked = false;
  for (let left = 1 + nextRandom(s, MOST_STEPS); left > 0; left--) {
    if (kickOnce(s, 1)) isKicked = true;
  }
  return isKicked;
}

function kickOnce(s: Adaptive, tries: i32): bool {
  spend(s, tries);
  return nextRandom(s, 10) < OVERWRITES_IN_TEN ? kickOverwrite(s, tries) : kickExchange(s, tries);
}

function kickExchange(s: Adaptive, tries: i32): bool {
  let least = Infinity;
  let bestSlot = 0;
  let bestOther = 0;
  for (let n = 0; n < tries; n++) {
    const slot = nextRandom(s, s.numSlots);
    const other = nextRandom(s, s.numSlots);
    if (!mayExchange(s, slot, other)) continue;
    const cost = pricedExchange(s, slot, other);
    if (cost >= least) continue;
    least = cost;
    bestSlot = slot;
    bestOther = other;
  }
  if (!(least < Infinity)) return false;
  exchange(s, bestSlot, bestOther);
  return true;
}

function kickOverwrite(s: Adaptive, tries: i32): bool {
  let least = Infinity;
  let bestSlot = 0;
  let bestExpert = 0;
  for (let n = 0; n < tries; n++) {
    const slot = nextRandom(s, s.numSlots);
    const expert = nextRandom(s, s.numExperts);
    if (!mayOverwrite(s, slot, expert)) continue;
    const cost = pricedOverwrite(s, slot, expert);
    if (cost >= least) continue;
    least = cost;
    bestSlot = slot;
    bestExpert = expert;
  }
  if (!(least < Infinity)) return false;
  overwrite(s, bestSlot, bestExpert);
  return true;
}

function nextRandom(s: Adaptive, end: i32): i32 {
  s.random = s.random * 1664525 + 1013904223;
  // The low bits of such a sequence come again soon.
  return <i32>((<u64>s.random * <u64>end) >> 32);
}
