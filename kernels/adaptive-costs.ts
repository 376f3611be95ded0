// What placements and steps cost. The objective is the sum over samples of the 8-norm of the rank loads; steps are compared
// by its tangent at a recent placement, which is a sum over ranks: a step costs what it changes on the ranks it touches.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  copiesOf,
  copiesOn,
  dot,
  expertAt,
  firstOf,
  heldOn,
  isMarked,
  lanes,
  power8,
  rankCostOf,
  rankOf,
  root8,
  rowOf,
  setMark,
} from './adaptive-state';

/** Makes everything anew from the placement and its counts. */
export function rebuild(s: Adaptive): void {
  for (let expert = 0; expert < s.numExperts; expert++) splitLoad(s, expert);
  for (let rank = 0; rank < s.numRanks; rank++) sumRank(s, rank);
  s.moves = 0;
  for (let slot = 0; slot < s.numSlots; slot++) {
    if (heldOn(s, rankOf(s, slot), expertAt(s, slot)) === 0) s.moves++;
  }
  refresh(s);
}

export function splitLoad(s: Adaptive, expert: i32): void {
  splitInto(s, expert, copiesOf(s, expert), rowOf(s, s.copyLoad, expert));
  setMark(s.staleMore, expert, 1);
}

/** The load of one of `count` copies: its share, and what its spread adds. */
export function splitInto(s: Adaptive, expert: i32, count: i32, to: usize): void {
  const share: f32 = 1 / <f32>count;
  const parts = f32x4.splat(share);
  const more = f32x4.splat(load<f32>(s.spread + ((<usize>expert) << 2)) * (share * share));
  const from = rowOf(s, s.samples, expert);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    v128.store(to + t, f32x4.add(f32x4.mul(v128.load(from + t), parts), more));
  }
}

export function sumRank(s: Adaptive, rank: i32): void {
  const to = rowOf(s, s.rankLoad, rank);
  const end = firstOf(s, rank + 1);
  memory.fill(to, 0, s.rowBytes);
  for (let slot = firstOf(s, rank); slot < end; slot++) {
    const copy = rowOf(s, s.copyLoad, expertAt(s, slot));
    for (let t: usize = 0; t < s.rowBytes; t += 16) {
      v128.store(to + t, f32x4.add(v128.load(to + t), v128.load(copy + t)));
    }
  }
}

/** The eighth powers of the rank loads, added up, of the four samples at byte `t`. */
function powers(s: Adaptive, t: usize): v128 {
  let sum = f32x4.splat(0);
  let at = s.rankLoad + t;
  for (let rank = 0; rank < s.numRanks; rank++) {
    sum = f32x4.add(sum, power8(v128.load(at)));
    at += s.rowBytes;
  }
  return sum;
}

/** The objective without the price. */
export function objectiveOf(s: Adaptive): f64 {
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    sum = f32x4.add(sum, f32x4.mul(v128.load(s.weights + t), root8(powers(s, t))));
  }
  return lanes(sum);
}

/** Makes the tangent anew: the root is concave, so what the tangent gains is gained at least. */
export function refresh(s: Adaptive): void {
  const eighth = f32x4.splat(0.125);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const sum = powers(s, t);
    const weight = f32x4.mul(v128.load(s.weights + t), eighth);
    v128.store(s.slope + t, f32x4.div(f32x4.mul(weight, root8(sum)), sum));
  }
  for (let rank = 0; rank < s.numRanks; rank++) revalueRank(s, rank);
}

export function revalueRank(s: Adaptive, rank: i32): void {
  const row = rowOf(s, s.rankLoad, rank);
  const gradient = rowOf(s, s.rankGradient, rank);
  const eight = f32x4.splat(8);
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const x = v128.load(row + t);
    const slope = v128.load(s.slope + t);
    const square = f32x4.mul(x, x);
    const fourth = f32x4.mul(square, square);
    const seventh = f32x4.mul(f32x4.mul(fourth, square), x);
    v128.store(gradient + t, f32x4.mul(f32x4.mul(eight, slope), seventh));
    sum = f32x4.add(sum, f32x4.mul(slope, f32x4.mul(fourth, fourth)));
  }
  store<f64>(s.rankCost + ((<usize>rank) << 3), lanes(sum));
  setMark(s.staleFit, rank, 1);
  const end = firstOf(s, rank + 1);
  for (let slot = firstOf(s, rank); slot < end; slot++) setMark(s.staleRelief, expertAt(s, slot), 1);
}

/** What it changes on a rank when each of its copies of the expert has the loads of `row`. */
export function costWith(s: Adaptive, rank: i32, expert: i32, row: usize): f64 {
  const old = rowOf(s, s.rankLoad, rank);
  const copy = rowOf(s, s.copyLoad, expert);
  const copies = f32x4.splat(<f32>copiesOn(s, rank, expert));
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const change = f32x4.mul(copies, f32x4.sub(v128.load(row + t), v128.load(copy + t)));
    const x = f32x4.add(v128.load(old + t), change);
    sum = f32x4.add(sum, f32x4.mul(v128.load(s.slope + t), power8(x)));
  }
  return lanes(sum) - rankCostOf(s, rank);
}

/** As costWith, on all ranks but one. */
export function costElsewhere(s: Adaptive, except: i32, expert: i32, row: usize): f64 {
  let cost: f64 = 0;
  for (let rank = 0; rank < s.numRanks; rank++) {
    if (rank !== except && copiesOn(s, rank, expert) > 0) cost += costWith(s, rank, expert, row);
  }
  return cost;
}

export function costOfExchange(s: Adaptive, a: i32, i: i32, b: i32, j: i32): f64 {
  s.evaluations++;
  const rowA = rowOf(s, s.rankLoad, a);
  const rowB = rowOf(s, s.rankLoad, b);
  const copyI = rowOf(s, s.copyLoad, i);
  const copyJ = rowOf(s, s.copyLoad, j);
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const shift = f32x4.sub(v128.load(copyI + t), v128.load(copyJ + t));
    const lighter = power8(f32x4.sub(v128.load(rowA + t), shift));
    const heavier = power8(f32x4.add(v128.load(rowB + t), shift));
    sum = f32x4.add(sum, f32x4.mul(v128.load(s.slope + t), f32x4.add(lighter, heavier)));
  }
  return lanes(sum) - rankCostOf(s, a) - rankCostOf(s, b);
}

/** The least that an exchange between two ranks can cost: if both came to the same loads. */
export function leastOfRanks(s: Adaptive, a: i32, b: i32): f64 {
  const rowA = rowOf(s, s.rankLoad, a);
  const rowB = rowOf(s, s.rankLoad, b);
  const half = f32x4.splat(0.5);
  let sum = f32x4.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const middle = f32x4.mul(half, f32x4.add(v128.load(rowA + t), v128.load(rowB + t)));
    sum = f32x4.add(sum, f32x4.mul(v128.load(s.slope + t), power8(middle)));
  }
  return 2 * lanes(sum) - rankCostOf(s, a) - rankCostOf(s, b);
}

/**
 * What it costs to put expert j, whose copies then have the loads of `more`, into a slot of rank a that has expert i, whose other copies
 * then have the loads of s.less.
 */
export function costOfOverwrite(s: Adaptive, a: i32, i: i32, j: i32, more: usize): f64 {
  s.evaluations++;
  const copyI = rowOf(s, s.copyLoad, i);
  const copyJ = rowOf(s, s.copyLoad, j);
  let cost: f64 = 0;
  for (let rank = 0; rank < s.numRanks; rank++) {
    const copiesI = copiesOn(s, rank, i);
    const copiesJ = copiesOn(s, rank, j);
    if (copiesI === 0 && copiesJ === 0) continue;
    const here = rank === a ? 1 : 0;
    const oldI = f32x4.splat(<f32>copiesI);
    const oldJ = f32x4.splat(<f32>copiesJ);
    const newI = f32x4.splat(<f32>(copiesI - here));
    const newJ = f32x4.splat(<f32>(copiesJ + here));
    const row = rowOf(s, s.rankLoad, rank);
    let sum = f32x4.splat(0);
    for (let t: usize = 0; t < s.rowBytes; t += 16) {
      const i1 = f32x4.mul(newI, v128.load(s.less + t));
      const j1 = f32x4.mul(newJ, v128.load(more + t));
      const changeI = f32x4.sub(i1, f32x4.mul(oldI, v128.load(copyI + t)));
      const changeJ = f32x4.sub(j1, f32x4.mul(oldJ, v128.load(copyJ + t)));
      const x = f32x4.add(v128.load(row + t), f32x4.add(changeI, changeJ));
      sum = f32x4.add(sum, f32x4.mul(v128.load(s.slope + t), power8(x)));
    }
    cost += lanes(sum) - rankCostOf(s, rank);
  }
  return cost;
}

/** Brings up to date what one copy more of each expert is like, and changes on the ranks that have it. */
export function relieve(s: Adaptive): void {
  for (let expert = 0; expert < s.numExperts; expert++) {
    const more = rowOf(s, s.morePer, expert);
    if (isMarked(s.staleMore, expert)) {
      setMark(s.staleMore, expert, 0);
      splitInto(s, expert, copiesOf(s, expert) + 1, more);
      for (let rank = 0; rank < s.numRanks; rank++) {
        if (!isMarked(s.staleFit, rank)) fitOne(s, rank, expert);
      }
    }
    if (!isMarked(s.staleRelief, expert)) continue;
    setMark(s.staleRelief, expert, 0);
    store<f64>(s.relief + ((<usize>expert) << 3), costElsewhere(s, -1, expert, more));
  }
  for (let rank = 0; rank < s.numRanks; rank++) fitRank(s, rank);
}

/** Brings up to date what a rank gets with one copy more of each expert. */
function fitRank(s: Adaptive, rank: i32): void {
  if (isMarked(s.staleFit, rank)) {
    setMark(s.staleFit, rank, 0);
    for (let expert = 0; expert < s.numExperts; expert++) fitOne(s, rank, expert);
  }
  const fits = s.fit + ((<usize>(rank * s.numExperts)) << 3);
  let least = f64x2.splat(Infinity);
  const pairs = (<usize>(s.numExperts & ~1)) << 3;
  for (let at: usize = 0; at < pairs; at += 16) {
    least = f64x2.min(least, f64x2.add(v128.load(s.relief + at), v128.load(fits + at)));
  }
  let last = min(f64x2.extract_lane(least, 0), f64x2.extract_lane(least, 1));
  if (s.numExperts & 1) last = min(last, load<f64>(s.relief + pairs) + load<f64>(fits + pairs));
  store<f64>(s.leastFit + ((<usize>rank) << 3), last);
}

function fitOne(s: Adaptive, rank: i32, expert: i32): void {
  const fit = dot(s, rowOf(s, s.rankGradient, rank), rowOf(s, s.morePer, expert));
  store<f64>(s.fit + ((<usize>(rank * s.numExperts + expert)) << 3), fit);
}
