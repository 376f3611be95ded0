import type { Topology } from './default-policy.ts';

export interface LocalityProblem extends Topology {
  weight: readonly number[];
  /** [experts x experts]; without it, the experts of a group belong together. */
  coactivation?: ArrayLike<number> | undefined;
  tolerance: number;
  /** 0: as many as suit the number of experts. */
  maxEvaluations: number;
}

const HIGHEST_CONNECTION = 2 ** 20;

/** How much each two experts belong together, as a whole number up to 2 ** 20. */
export function connections({ weight, coactivation, numGroups }: LocalityProblem): number[] {
  const n = weight.length;
  const groupSize = n / numGroups;
  const mean = weight.reduce((sum, load) => sum + Math.fround(load), 0) / n;
  const together = (a: number, b: number): number => {
    if (a === b) return 0;
    if (coactivation) {
      const both = coactivation[a * n + b]! + coactivation[b * n + a]!;
      return both > 0 && both < Infinity ? both : 0;
    }
    if (numGroups === 1 || Math.floor(a / groupSize) !== Math.floor(b / groupSize)) return 0;
    return (Math.fround(weight[a]!) + mean) * (Math.fround(weight[b]!) + mean);
  };
  const exact = Array.from({ length: n * n }, (_, i) => together(Math.floor(i / n), i % n));
  const highest = exact.reduce((most, value) => Math.max(most, value), 0);
  if (highest === 0) return exact;
  return exact.map((value) => Math.floor(value * (HIGHEST_CONNECTION / highest)));
}

/** What one more shared node is worth to two experts that share `shared` nodes already. */
export function worth(shared: number): number {
  return shared > 6 ? 0 : 4 ** -shared;
}
