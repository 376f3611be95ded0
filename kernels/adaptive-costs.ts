// What placements and steps cost. The objective is the sum over samples of the 8-norm of the rank loads; steps are compared
// by its tangent at a recent placement, which is a sum over ranks: a step costs what it changes on the ranks it touches.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  Adaptive,
  copiesOf,
  copiesOn,
  expertAt,
  gradientOf,
  heldOn,
  lanes,
  power8,
  rankCostOf,
  root8,
  rowOf,
} from './adaptive-state';

/** Makes everything anew from the placement and its counts. */
export function rebuild(s: Adaptive): void {
  for (let expert = 0; expert < s.numExperts; expert++) splitLoad(s, expert);
  for (let rank = 0; rank < s.numRanks; rank++) sumRank(s, rank);
  s.moves = 0;
  for (let slot = 0; slot < s.numSlots; slot++) {
    if (heldOn(s, slot / s.slotsPerRank, expertAt(s, slot)) === 0) s.moves++;
  }
  refresh(s);
}

export function splitLoad(s: Adaptive, expert: i32): void {
  const share = f64x2.splat(1 / <f64>copiesOf(s, expert));
  const from = rowOf(s, s.samples, expert);
  const to = rowOf(s, s.copyLoad, expert);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    v128.store(to + t, f64x2.mul(v128.load(from + t), share));
  }
}

export function sumRank(s: Adaptive, rank: i32): void {
  const to = rowOf(s, s.rankLoad, rank);
  const first = rank * s.slotsPerRank;
  memory.fill(to, 0, s.rowBytes);
  for (let slot = first; slot < first + s.slotsPerRank; slot++) {
    const copy = rowOf(s, s.copyLoad, expertAt(s, slot));
    for (let t: usize = 0; t < s.rowBytes; t += 16) {
      v128.store(to + t, f64x2.add(v128.load(to + t), v128.load(copy + t)));
    }
  }
}

/** The eighth powers of the rank loads, added up, of the two samples at byte `t`. */
function powers(s: Adaptive, t: usize): v128 {
  let sum = f64x2.splat(0);
  let at = s.rankLoad + t;
  for (let rank = 0; rank < s.numRanks; rank++) {
    sum = f64x2.add(sum, power8(v128.load(at)));
    at += s.rowBytes;
  }
  return sum;
}

/** The objective without the price. */
export function objectiveOf(s: Adaptive): f64 {
  let sum = f64x2.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    sum = f64x2.add(sum, f64x2.mul(v128.load(s.weights + t), root8(powers(s, t))));
  }
  return lanes(sum);
}

/** Makes the tangent anew: the root is concave, so what the tangent gains is gained at least. */
export function refresh(s: Adaptive): void {
  const eighth = f64x2.splat(0.125);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const sum = powers(s, t);
    const weight = f64x2.mul(v128.load(s.weights + t), eighth);
    v128.store(s.slope + t, f64x2.div(f64x2.mul(weight, root8(sum)), sum));
  }
  for (let rank = 0; rank < s.numRanks; rank++) revalueRank(s, rank);
  for (let rank = 0; rank < s.numRanks; rank++) {
    for (let expert = 0; expert < s.numExperts; expert++) revalueExpert(s, rank, expert);
  }
  for (let expert = 0; expert < s.numExperts; expert++) revalueCount(s, expert);
}

export function revalueRank(s: Adaptive, rank: i32): void {
  const row = rowOf(s, s.rankLoad, rank);
  const gradient = rowOf(s, s.rankGradient, rank);
  const eight = f64x2.splat(8);
  let sum = f64x2.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const x = v128.load(row + t);
    const slope = v128.load(s.slope + t);
    const square = f64x2.mul(x, x);
    const seventh = f64x2.mul(f64x2.mul(f64x2.mul(square, square), square), x);
    v128.store(gradient + t, f64x2.mul(f64x2.mul(eight, slope), seventh));
    sum = f64x2.add(sum, f64x2.mul(slope, power8(x)));
  }
  store<f64>(s.rankCost + ((<usize>rank) << 3), lanes(sum));
}

/** What a copy of the expert costs on the rank, to first order: as the power is convex, it costs no less. */
export function revalueExpert(s: Adaptive, rank: i32, expert: i32): void {
  const gradient = rowOf(s, s.rankGradient, rank);
  const copy = rowOf(s, s.copyLoad, expert);
  let sum = f64x2.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    sum = f64x2.add(sum, f64x2.mul(v128.load(gradient + t), v128.load(copy + t)));
  }
  store<f64>(s.gradient + ((<usize>(rank * s.numExperts + expert)) << 3), lanes(sum));
}

/** What one copy more, and one less, of the expert changes on the ranks that have it. */
export function revalueCount(s: Adaptive, expert: i32): void {
  const count = copiesOf(s, expert);
  let relief: f64 = 0;
  let burden: f64 = 0;
  for (let rank = 0; rank < s.numRanks; rank++) {
    const copies = copiesOn(s, rank, expert);
    if (copies === 0) continue;
    const share = <f64>copies / <f64>count;
    relief += costWith(s, rank, expert, <f64>copies / <f64>(count + 1) - share) - rankCostOf(s, rank);
    if (count === 1) continue;
    burden += costWith(s, rank, expert, <f64>copies / <f64>(count - 1) - share) - rankCostOf(s, rank);
  }
  store<f64>(s.relief + ((<usize>expert) << 3), relief);
  store<f64>(s.burden + ((<usize>expert) << 3), burden);
}

/** The cost of a rank with a share of an expert's load added to it. */
export function costWith(s: Adaptive, rank: i32, expert: i32, share: f64): f64 {
  const row = rowOf(s, s.rankLoad, rank);
  const sample = rowOf(s, s.samples, expert);
  const part = f64x2.splat(share);
  let sum = f64x2.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const x = f64x2.add(v128.load(row + t), f64x2.mul(part, v128.load(sample + t)));
    sum = f64x2.add(sum, f64x2.mul(v128.load(s.slope + t), power8(x)));
  }
  return lanes(sum);
}

export function costOfExchange(s: Adaptive, a: i32, i: i32, b: i32, j: i32): f64 {
  s.evaluations++;
  const rowA = rowOf(s, s.rankLoad, a);
  const rowB = rowOf(s, s.rankLoad, b);
  const copyI = rowOf(s, s.copyLoad, i);
  const copyJ = rowOf(s, s.copyLoad, j);
  let sum = f64x2.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const shift = f64x2.sub(v128.load(copyI + t), v128.load(copyJ + t));
    const lighter = power8(f64x2.sub(v128.load(rowA + t), shift));
    const heavier = power8(f64x2.add(v128.load(rowB + t), shift));
    sum = f64x2.add(sum, f64x2.mul(v128.load(s.slope + t), f64x2.add(lighter, heavier)));
  }
  return lanes(sum) - rankCostOf(s, a) - rankCostOf(s, b);
}

/** What it costs to put expert j into a slot of rank a that has expert i. */
export function costOfOverwrite(s: Adaptive, a: i32, i: i32, j: i32): f64 {
  s.evaluations++;
  const countI = copiesOf(s, i);
  const countJ = copiesOf(s, j);
  let cost: f64 = 0;
  for (let rank = 0; rank < s.numRanks; rank++) {
    const copiesI = copiesOn(s, rank, i);
    const copiesJ = copiesOn(s, rank, j);
    if (copiesI === 0 && copiesJ === 0) continue;
    const here = rank === a ? 1 : 0;
    const shareI = <f64>(copiesI - here) / <f64>(countI - 1) - <f64>copiesI / <f64>countI;
    const shareJ = <f64>(copiesJ + here) / <f64>(countJ + 1) - <f64>copiesJ / <f64>countJ;
    cost += costWithBoth(s, rank, i, shareI, j, shareJ) - rankCostOf(s, rank);
  }
  return cost;
}

/** What that costs on rank a alone. */
export function costOfReplacing(s: Adaptive, a: i32, i: i32, j: i32): f64 {
  const countI = copiesOf(s, i);
  const copies = copiesOn(s, a, i);
  const shareI = <f64>(copies - 1) / <f64>(countI - 1) - <f64>copies / <f64>countI;
  return costWithBoth(s, a, i, shareI, j, 1 / <f64>(copiesOf(s, j) + 1)) - rankCostOf(s, a);
}

function costWithBoth(s: Adaptive, rank: i32, i: i32, shareI: f64, j: i32, shareJ: f64): f64 {
  const row = rowOf(s, s.rankLoad, rank);
  const sampleI = rowOf(s, s.samples, i);
  const sampleJ = rowOf(s, s.samples, j);
  const partI = f64x2.splat(shareI);
  const partJ = f64x2.splat(shareJ);
  let sum = f64x2.splat(0);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    const changeI = f64x2.mul(partI, v128.load(sampleI + t));
    const change = f64x2.add(changeI, f64x2.mul(partJ, v128.load(sampleJ + t)));
    const x = f64x2.add(v128.load(row + t), change);
    sum = f64x2.add(sum, f64x2.mul(v128.load(s.slope + t), power8(x)));
  }
  return lanes(sum);
}

/** What a slot's copy costs where it is, and for each pair of ranks the least that a slot of one costs more on the other. */
export function boundRanks(s: Adaptive): void {
  for (let slot = 0; slot < s.numSlots; slot++) {
    store<f64>(s.own + ((<usize>slot) << 3), gradientOf(s, slot / s.slotsPerRank, expertAt(s, slot)));
  }
  for (let a = 0; a < s.numRanks; a++) {
    for (let b = a + 1; b < s.numRanks; b++) {
      let least = Infinity;
      for (let k = b * s.slotsPerRank; k < (b + 1) * s.slotsPerRank; k++) {
        least = min(least, gradientOf(s, a, expertAt(s, k)) - load<f64>(s.own + ((<usize>k) << 3)));
      }
      store<f64>(s.low + ((<usize>(a * s.numRanks + b)) << 3), least);
    }
  }
}
