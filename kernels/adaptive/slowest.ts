// How much slower the slowest rank makes each step of a layer than balance would.

import { costAt } from './curve';
import { place } from './layout';
import { high, low } from './preparation';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';
import { totalOf } from './vectors';

/** A view on scratch memory, never allocated. */
class Shares {
  /** f64[numSlots]: 1 / the copies of each slot's expert; 0 where a slot is empty. */
  shares: usize;
  /** i32[numSlots]: where a step's loads have the slot's expert, in bytes; 0 where the slot is empty. */
  places: usize;
  /** i32[numExperts]: copies. */
  counts: usize;
}

/** Lays the working space out; with no memory, 0, it only tells how many bytes that takes. */
export function placeShares(s: usize, numExperts: i32, numSlots: i32): usize {
  let end = offsetof<Shares>();
  end = place(s, offsetof<Shares>('shares'), end, 8 * <usize>numSlots);
  end = place(s, offsetof<Shares>('places'), end, 4 * <usize>numSlots);
  return place(s, offsetof<Shares>('counts'), end, 4 * <usize>numExperts);
}

/**
 * Finds the load of the slowest rank / the mean rank load of each step under a placement, by its speed; 1
 * where there is no load. With a curve: what its slots take, in the samples' unit. What was prepared or
 * searched in the scratch is lost.
 *
 * @param terms AdaptiveTerms: sizes, rankSpeed, fixedShare, steps, stride, curve, unit, scratch and placement
 * are read, slowest is written
 */
export function measureSlowest(terms: usize): void {
  const a = changetype<AdaptiveTerms>(terms);
  placeShares(a.scratch, a.numExperts, a.numSlots);
  const s = changetype<Shares>(a.scratch);
  findShares(a, s);
  if (a.curve !== 0) for (let t = 0; t < a.numSteps; t++) measureCost(a, s, t);
  else for (let t = 0; t < a.numSteps; t += 4) measureFour(a, s, t);
}

/** Of one step what the slots of the slowest rank take, in the samples' unit. */
function measureCost(a: AdaptiveTerms, s: Shares, t: i32): void {
  const row = a.steps + <usize>t * a.stride;
  const perRank = a.numSlots / a.numRanks;
  const total: f64 = a.fixedShare === 0 ? 0 : totalOf(row, a.numExperts);
  let most: f64 = 0;
  let at: usize = 0;
  for (let rank = 0; rank < a.numRanks; rank++) {
    let cost: f64 = total === 0 ? 0 : costOfFixed(a, rank, total);
    for (let k = 0; k < perRank; k++, at += 4) {
      const share = load<f64>(s.shares + 2 * at);
      if (share === 0) continue;
      const tokens = <f32>(<f64>load<f32>(row + <usize>load<i32>(s.places + at)) * share);
      cost += <f64>costAt(a.curve, tokens);
    }
    most = max(most, cost * paceOf(a, rank));
  }
  store<f64>(a.slowest + ((<usize>t) << 3), most / a.unit);
}

/** The tokens of a shared expert on a rank, where those of all routed ones are so many. */
function fixedOf(a: AdaptiveTerms, rank: i32, total: f64): f64 {
  return <f64>load<f32>(a.fixedShare + ((<usize>rank) << 2)) * total;
}

function costOfFixed(a: AdaptiveTerms, rank: i32, total: f64): f64 {
  const tokens = <f32>fixedOf(a, rank, total);
  return tokens === 0 ? 0 : <f64>costAt(a.curve, tokens);
}

/** The same of two steps at once. */
function fixedOfTwo(a: AdaptiveTerms, rank: i32, totals: v128): v128 {
  return f64x2.mul(f64x2.splat(<f64>load<f32>(a.fixedShare + ((<usize>rank) << 2))), totals);
}

/** The loads of all experts in two steps; 0 where there is no shared expert, and nobody asks. */
function totalOfTwo(a: AdaptiveTerms, first: usize, second: usize): v128 {
  if (a.fixedShare === 0) return f64x2.splat(0);
  return f64x2.replace_lane(f64x2.splat(totalOf(first, a.numExperts)), 1, totalOf(second, a.numExperts));
}

/** What a rank takes for a load of 1. */
function paceOf(a: AdaptiveTerms, rank: i32): f64 {
  return a.rankSpeed === 0 ? 1 : 1 / <f64>load<f32>(a.rankSpeed + ((<usize>rank) << 2));
}

function findShares(a: AdaptiveTerms, s: Shares): void {
  memory.fill(s.counts, 0, (<usize>a.numExperts) << 2);
  const end = a.placement + ((<usize>a.numSlots) << 2);
  for (let at = a.placement; at < end; at += 4) {
    const expert = load<i32>(at);
    if (expert < 0) continue;
    const count = s.counts + ((<usize>expert) << 2);
    store<i32>(count, load<i32>(count) + 1);
  }
  let share = s.shares;
  let to = s.places;
  for (let at = a.placement; at < end; at += 4) {
    const expert = load<i32>(at);
    const offset = expert < 0 ? 0 : (<usize>expert) << 2;
    store<f64>(share, expert < 0 ? 0 : 1 / <f64>load<i32>(s.counts + offset));
    store<i32>(to, <i32>offset);
    share += 8;
    to += 4;
  }
}

/** Of the four steps from `first` on; the newest one again in place of those that there are not. */
function measureFour(a: AdaptiveTerms, s: Shares, first: i32): void {
  const last = a.numSteps - 1;
  const row0 = a.steps + <usize>first * a.stride;
  const row1 = a.steps + <usize>min(first + 1, last) * a.stride;
  const row2 = a.steps + <usize>min(first + 2, last) * a.stride;
  const row3 = a.steps + <usize>min(first + 3, last) * a.stride;
  let most0 = f64x2.splat(0);
  let most1 = f64x2.splat(0);
  let total0 = f64x2.splat(0);
  let total1 = f64x2.splat(0);
  const all0 = totalOfTwo(a, row0, row1);
  const all1 = totalOfTwo(a, row2, row3);
  let slot = s.places;
  let share = s.shares;
  const bytes = (<usize>(a.numSlots / a.numRanks)) << 2;
  for (let rank = 0; rank < a.numRanks; rank++) {
    let load0 = f64x2.splat(0);
    let load1 = f64x2.splat(0);
    for (const end = slot + bytes; slot < end; slot += 4) {
      const at = <usize>load<i32>(slot);
      let loads = v128.load32_zero(row0 + at);
      loads = v128.load32_lane(row1 + at, loads, 1);
      loads = v128.load32_lane(row2 + at, loads, 2);
      loads = v128.load32_lane(row3 + at, loads, 3);
      const shares = v128.load64_splat(share);
      load0 = f64x2.add(load0, f64x2.mul(low(loads), shares));
      load1 = f64x2.add(load1, f64x2.mul(high(loads), shares));
      share += 8;
    }
    const pace = f64x2.splat(paceOf(a, rank));
    total0 = f64x2.add(total0, load0);
    total1 = f64x2.add(total1, load1);
    if (a.fixedShare !== 0) {
      load0 = f64x2.add(load0, fixedOfTwo(a, rank, all0));
      load1 = f64x2.add(load1, fixedOfTwo(a, rank, all1));
    }
    most0 = f64x2.pmax(most0, f64x2.mul(load0, pace));
    most1 = f64x2.pmax(most1, f64x2.mul(load1, pace));
  }
  storeTwo(a, first, most0, total0);
  storeTwo(a, first + 2, most1, total1);
}

function storeTwo(a: AdaptiveTerms, first: i32, most: v128, total: v128): void {
  const ranks = f64x2.splat(<f64>a.numRanks);
  const slowest = f64x2.div(f64x2.mul(most, ranks), total);
  const isLoaded = f64x2.gt(total, f64x2.splat(0));
  const told = v128.bitselect(slowest, f64x2.splat(1), isLoaded);
  const at = a.slowest + ((<usize>first) << 3);
  if (first < a.numSteps) store<f64>(at, f64x2.extract_lane(told, 0));
  if (first + 1 < a.numSteps) store<f64>(at, f64x2.extract_lane(told, 1), 8);
}
