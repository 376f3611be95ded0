import { createRequire } from 'node:module';

/** Its declarations are of this build; they are not of the one that an import finds. */
const highsLoader: typeof import('highs').default = createRequire(import.meta.url)('highs');

/** One layer of which the slowest rank's time is to be bounded. */
export interface BoundProblem {
  /** [experts] */
  readonly loads: readonly number[];
  /** `[ranks]` each: how fast it is, and how many slots of it are open. */
  readonly speeds: readonly number[];
  readonly slots: readonly number[];
}

/**
 * No placement has a slowest rank below this time: the least T of a linear program of which every placement
 * is a solution, found by HiGHS.
 *
 * y[e, r] is 1 where rank r has a copy of expert e, and x[e, r] the share of the expert's load that the
 * copy gets. A placement without two copies of an expert on a rank has
 * - of every rank all open slots filled: the sum over e of y[e, r] is its slots,
 * - of every expert all load: the sum over r of x[e, r] is 1,
 * - of copies that share it evenly, from 1 to C = min(ranks, slots - experts + 1) of them, shares of at
 *   least 1 / C and at most 1: y / C <= x <= y,
 * - rank times of at most T: the sum over e of load[e] x[e, r] is at most T speed[r].
 *
 * The program lets y be anything from 0 to 1. So it knows that a fast rank has no more slots than others,
 * and that light experts do not fill its time, but not that copies are whole. Ranks of one speed and as
 * many slots count as one of all their slots and all their speed: the mean over such ranks of a solution is
 * one too.
 */
export async function leastSlowestTime({ loads, speeds, slots }: BoundProblem): Promise<number> {
  const numSlots = slots.reduce((sum, count) => sum + count, 0);
  const most = Math.min(speeds.length, numSlots - loads.length + 1);
  const kinds = kindsOf(speeds, slots);
  const mean = loads.reduce((sum, load) => sum + load, 0) / speeds.length;
  const sumOver = (values: readonly unknown[], name: (index: number) => string) =>
    values.map((_, index) => name(index)).join(' + ');
  const rows = [
    ...kinds.map(
      ({ speed }, k) => `${sumOver(loads, (e) => `${loads[e]! / mean} x${e}_${k}`)} - ${speed} T <= 0`,
    ),
    ...kinds.map((kind, k) => `${sumOver(loads, (e) => `y${e}_${k}`)} = ${kind.slots}`),
    ...loads.map((_, e) => `${sumOver(kinds, (k) => `x${e}_${k}`)} = 1`),
    ...loads.flatMap((_, e) =>
      kinds.flatMap((_, k) => [`x${e}_${k} - y${e}_${k} <= 0`, `${most} x${e}_${k} - y${e}_${k} >= 0`]),
    ),
  ];
  const bounds = loads.flatMap((_, e) => kinds.map(({ numRanks }, k) => `y${e}_${k} <= ${numRanks}`));
  const highs = await highsLoader();
  const text = `Minimize\n T\nSubject To\n ${rows.join('\n ')}\nBounds\n ${bounds.join('\n ')}\nEnd`;
  const { Status, ObjectiveValue } = highs.solve(text);
  if (Status !== 'Optimal') throw new Error(`no bound: ${Status}`);
  return ObjectiveValue * mean;
}

/** Ranks that are alike, as one: how many they are, and what they have together. */
function kindsOf(speeds: readonly number[], slots: readonly number[]) {
  const kinds = new Map<string, { numRanks: number; speed: number; slots: number }>();
  for (const [rank, speed] of speeds.entries()) {
    const name = `${speed} ${slots[rank]}`;
    const { numRanks, ...sums } = kinds.get(name) ?? { numRanks: 0, speed: 0, slots: 0 };
    kinds.set(name, { numRanks: numRanks + 1, speed: sums.speed + speed, slots: sums.slots + slots[rank]! });
  }
  return [...kinds.values()];
}
