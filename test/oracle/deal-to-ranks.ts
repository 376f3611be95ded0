import type { AdaptiveProblem } from './adaptive.ts';
import { openRows } from './adaptive.ts';

/**
 * Deals the copies of a placement to the ranks anew, in plain code: those of the heaviest experts first,
 * each to the rank with an open slot that takes least with it; see kernels/adaptive/deal.ts.
 *
 * @returns the experts of each rank; undefined where a copy has no place but beside another of its expert
 */
export function dealToRanks(placement: Int32Array, problem: AdaptiveProblem): number[][] | undefined {
  const rows = openRows(placement, problem);
  const { numExperts, weights, samples, spread } = problem;
  const speeds = problem.rankSpeed ?? rows.map(() => 1);
  const counts = Array.from(
    { length: numExperts },
    (_, expert) => rows.flat().filter((other) => other === expert).length,
  );
  const loads = counts.map((copies, expert) =>
    weights.reduce((sum, weight, t) => {
      const load = samples[expert * weights.length + t]! / copies + spread[expert]! / copies ** 2;
      return sum + weight * load;
    }, 0),
  );
  const order = loads.map((_, expert) => expert).sort((a, b) => loads[b]! - loads[a]! || a - b);
  const dealt: number[][] = rows.map(() => []);
  const sums = rows.map(() => 0);
  for (const expert of order) {
    for (let copy = 0; copy < counts[expert]!; copy++) {
      const open = rows.flatMap((row, rank) => (dealt[rank]!.length < row.length ? [rank] : []));
      const free = open.filter((rank) => !dealt[rank]!.includes(expert));
      if (free.length === 0) return undefined;
      const timeOn = (rank: number) => (sums[rank]! + loads[expert]!) / speeds[rank]!;
      const best = free.reduce((a, b) => (timeOn(b) < timeOn(a) ? b : a));
      dealt[best]!.push(expert);
      sums[best]! += loads[expert]!;
    }
  }
  return dealt;
}
