// Whether a layer's loads are still those that its live placement was made for.

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { carvePreparation, FOUR, high, low, Preparation, rowOfStep, sumOfLanes } from './preparation';
import { averageRuns, chooseSteps, measureNoise, scale } from './samples';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { AdaptiveTerms } from './terms';

/**
 * Measures how far the mean of a layer's newest steps is from the loads that were expected.
 *
 * @param terms AdaptiveTerms: sizes, steps, stride, their lengths, scratch, expected and firstNew are read,
 * and these written:
 *
 * - distance: squared, in shares of the mean rank load, over all experts
 * - numNewSteps: of how many steps that mean is; 0 when there are none with load
 * - noise and numVarying: see samples.ts
 */
export function measureChange(terms: usize): void {
  const a = changetype<AdaptiveTerms>(terms);
  const p = carvePreparation(a);
  chooseSteps(a, p);
  scale(a, p);
  averageRuns(p);
  measureNoise(a, p);
  const first = firstNewStep(a, p);
  a.numNewSteps = 0;
  for (let t = first; t < p.numSteps; t++) a.numNewSteps += load<f64>(p.lengths + ((<usize>t) << 3));
  a.distance = a.numNewSteps > 0 ? distanceOf(a, p, first) : 0;
}

function firstNewStep(a: AdaptiveTerms, p: Preparation): i32 {
  let t = 0;
  while (t < p.numSteps && load<i32>(p.kept + ((<usize>t) << 2)) < a.firstNew) t++;
  return t;
}

/** The squared distance of the mean from step `first` on to the loads expected. */
function distanceOf(a: AdaptiveTerms, p: Preparation, first: i32): f64 {
  const total = f64x2.splat(a.numNewSteps);
  let sum0 = f64x2.splat(0);
  let sum1 = f64x2.splat(0);
  for (let e = 0; e < p.width; e += FOUR) {
    let mean0 = f64x2.splat(0);
    let mean1 = f64x2.splat(0);
    for (let t = first; t < p.numSteps; t++) {
      const x = v128.load(rowOfStep(p, t) + ((<usize>e) << 2));
      const length = f64x2.splat(load<f64>(p.lengths + ((<usize>t) << 3)));
      mean0 = f64x2.add(mean0, f64x2.mul(length, low(x)));
      mean1 = f64x2.add(mean1, f64x2.mul(length, high(x)));
    }
    const expected = v128.load(a.expected + ((<usize>e) << 2));
    const off0 = f64x2.sub(f64x2.div(mean0, total), low(expected));
    const off1 = f64x2.sub(f64x2.div(mean1, total), high(expected));
    sum0 = f64x2.add(sum0, f64x2.mul(off0, off0));
    sum1 = f64x2.add(sum1, f64x2.mul(off1, off1));
  }
  return sumOfLanes(sum0, sum1);
}
