// What the copies of a shared expert cost on each rank in each sample: their tokens are a share of those of
// the layer. No placement changes it, but ranks are balanced with it.

import { costAt } from './curve';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, float32At, rankRow } from './state';
import { totalOf } from './vectors';

/** Fills `fixedLoad`, and what the ceiling's loads come to, where there is such an expert. */
export function writeFixedLoads(s: Adaptive): void {
  const a = s.terms;
  s.ceilingTotal = 0;
  if (a.fixedShare === 0) return;
  if (a.ceilingLoads !== 0) s.ceilingTotal = totalOf(a.ceilingLoads, s.numExperts);
  for (let t: usize = 0; t < s.rowBytes; t += 4) {
    let total: f32 = 0;
    for (let expert = 0; expert < s.numExperts; expert++) {
      total += load<f32>(a.samples + <usize>expert * s.rowBytes + t);
    }
    for (let rank = 0; rank < s.numRanks; rank++) {
      const share = total * float32At(a.fixedShare, rank);
      store<f32>(rankRow(s, a.fixedLoad, rank) + t, s.scale * (a.curve === 0 ? share : costOf(s, share, t)));
    }
  }
}

/** What so large a share of a rank's mean load takes, in the samples' unit. */
function costOf(s: Adaptive, share: f32, t: usize): f32 {
  if (share === 0) return 0;
  return costAt(s.terms.curve, share * load<f32>(s.terms.tokens + t)) / <f32>s.terms.unit;
}

/** Adds it to the loads of a rank. */
export function addFixedLoad(s: Adaptive, rank: i32, loads: usize): void {
  if (s.terms.fixedShare === 0) return;
  const fixed = rankRow(s, s.terms.fixedLoad, rank);
  for (let t: usize = 0; t < s.rowBytes; t += 16) {
    v128.store(loads + t, f32x4.add(v128.load(loads + t), v128.load(fixed + t)));
  }
}

/** The weighted mean of it. */
export function meanFixedLoad(s: Adaptive, rank: i32): f64 {
  if (s.terms.fixedShare === 0) return 0;
  const fixed = rankRow(s, s.terms.fixedLoad, rank);
  let mean: f64 = 0;
  for (let t: usize = 0; t < s.rowBytes; t += 4) {
    mean += <f64>load<f32>(fixed + t) * <f64>load<f32>(s.terms.weights + t);
  }
  return mean;
}

/** What it adds to a rank with the loads of the ceiling. */
export function fixedForCeiling(s: Adaptive, rank: i32): f64 {
  return s.terms.fixedShare === 0 ? 0 : <f64>float32At(s.terms.fixedShare, rank) * s.ceilingTotal;
}
