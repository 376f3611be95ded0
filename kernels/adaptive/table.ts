// What one copy of an expert that has so many costs in each sample. All that the search knows of loads, it
// reads here: a row is filled when it is first needed.

import { costAt } from './curve';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, at32, copiesOf } from './state';
import { sumOf } from './vectors';

/**
 * The row, f32[numSamples], of one of `copies` of an expert. It stays what it is while rows of no count 3 or
 * more apart are asked for.
 */
export function rowOf(s: Adaptive, expert: i32, copies: i32): usize {
  const index = indexOf(s, expert, copies);
  const row = s.table + <usize>index * s.rowBytes;
  if (at32(s.rowCopies, index) !== copies) fill(s, expert, copies, index, row);
  return row;
}

/** The mean of a row. */
export function meanOf(s: Adaptive, expert: i32, copies: i32): f32 {
  rowOf(s, expert, copies);
  return load<f32>(s.rowMean + ((<usize>indexOf(s, expert, copies)) << 2));
}

/** And its variance. */
export function varianceOf(s: Adaptive, expert: i32, copies: i32): f32 {
  return load<f32>(s.rowVariance + ((<usize>indexOf(s, expert, copies)) << 2));
}

/** Has the expert's row be that of as many copies as there are now. */
export function turnToRow(s: Adaptive, expert: i32): void {
  const copies = copiesOf(s, expert);
  const at = (<usize>expert) << 2;
  store<usize>(s.copyRow + at, rowOf(s, expert, copies));
  const index = (<usize>indexOf(s, expert, copies)) << 2;
  store<f32>(s.copyMean + at, load<f32>(s.rowMean + index));
  store<f32>(s.copyVariance + at, load<f32>(s.rowVariance + index));
}

function indexOf(s: Adaptive, expert: i32, copies: i32): i32 {
  const rows = s.rowsPerExpert;
  // Rows for as many copies lie together: few of the others are ever filled.
  return (copies <= rows ? copies - 1 : (copies - 1) % rows) * s.numExperts + expert;
}

function fill(s: Adaptive, expert: i32, copies: i32, index: i32, row: usize): void {
  store<i32>(s.rowCopies + ((<usize>index) << 2), copies);
  if (s.terms.curve === 0) fillInProportion(s, expert, copies, row);
  else fillByCurve(s, expert, copies, row);
  let sum = f32x4.splat(0);
  let squares = f32x4.splat(0);
  for (let t: usize = 0, end = s.rowBytes; t < end; t += 16) {
    const cost = v128.load(row + t);
    const weighted = f32x4.mul(cost, v128.load(s.terms.weights + t));
    sum = f32x4.add(sum, weighted);
    squares = f32x4.add(squares, f32x4.mul(weighted, cost));
  }
  const mean = sumOf(sum);
  store<f32>(s.rowMean + ((<usize>index) << 2), mean);
  store<f32>(s.rowVariance + ((<usize>index) << 2), max(0, sumOf(squares) - mean * mean));
}

/** A copy has its share of the expert's load, and of the variance that does not even out. */
function fillInProportion(s: Adaptive, expert: i32, copies: i32, row: usize): void {
  const share: f32 = 1 / <f32>copies;
  const spread = load<f32>(s.terms.spread + ((<usize>expert) << 2)) * (share * share);
  const shares = f32x4.splat(share * s.scale);
  const spreads = f32x4.splat(spread * s.scale);
  const samples = s.terms.samples + <usize>expert * s.rowBytes;
  for (let t: usize = 0, end = s.rowBytes; t < end; t += 16) {
    v128.store(row + t, f32x4.add(f32x4.mul(v128.load(samples + t), shares), spreads));
  }
}

/**
 * A copy takes what its tokens take; its variance is that of the time that as many tokens more take as they
 * deviate by.
 */
function fillByCurve(s: Adaptive, expert: i32, copies: i32, row: usize): void {
  const curve = s.terms.curve;
  const share: f32 = 1 / <f32>copies;
  const perUnit: f32 = 1 / <f32>s.terms.unit;
  const deviation = sqrt<f32>(load<f32>(s.terms.spread + ((<usize>expert) << 2))) * share;
  const samples = s.terms.samples + <usize>expert * s.rowBytes;
  for (let t: usize = 0, end = s.rowBytes; t < end; t += 4) {
    const ofRank = load<f32>(s.terms.tokens + t);
    const tokens = load<f32>(samples + t) * ofRank * share;
    const cost = costAt(curve, tokens);
    const more = (costAt(curve, tokens + deviation * ofRank) - cost) * perUnit;
    store<f32>(row + t, (cost * perUnit + more * more) * s.scale);
  }
}
