import { heaviestFirst } from './flashlb-deploy.ts';

/** Groups that experts are decided in, and how far from the first guess each group looks for its copies. */
const DEPTH = 4;
const WIDTH = 8;

/**
 * Finds how many copies each expert gets. Experts are decided in groups, those of the largest risk first: the
 * first guess of a group's spare copies is what handing them all out by the largest risk a copy gives it; its
 * neighbours are tried by placing all experts.
 *
 * @param risk of each expert
 * @param scoreOf what a placement of these copies is like: the less the better
 */
export function findCopies(
  risk: Float64Array,
  numSlots: number,
  numRanks: number,
  scoreOf: (copies: Int32Array) => number,
): Int32Array {
  const order = heaviestFirst(risk);
  const groupSize = Math.ceil(order.length / DEPTH);
  const fit = (copies: Int32Array) => fitToRanks(copies, order, numSlots, numRanks);
  let spare = numSlots - order.length;
  let found = new Int32Array(order.length).fill(1);
  for (let node = 0; node < DEPTH - 1 && spare > 0; node++) {
    const open = order.slice(node * groupSize);
    const group = open.slice(0, groupSize);
    const rest = open.slice(groupSize);
    if (rest.length === 0) return fit(handOut(found, risk, group, spare).at(-1)!);
    const guess = handOut(found, risk, open, spare).at(-1)!;
    const byGroup = handOut(found, risk, group, spare);
    const byRest = handOut(found, risk, rest, spare);
    const total = spare;
    const withSpare = (ofGroup: number) => {
      const copies = byGroup[ofGroup]!.slice();
      for (const expert of rest) copies[expert] = byRest[total - ofGroup]![expert]!;
      return copies;
    };
    const first = group.reduce((sum, expert) => sum + guess[expert]! - 1, 0);
    const best = bestNear(first, total, (ofGroup) => scoreOf(fit(withSpare(ofGroup))));
    found = node === DEPTH - 2 ? withSpare(best) : byGroup[best]!.slice();
    spare -= best;
  }
  return fit(found);
}

/** The best of a number and its neighbours from 0 to `most`; the nearest of equal ones, the lower first. */
function bestNear(first: number, most: number, scoreOf: (value: number) => number): number {
  let best = first;
  let least = scoreOf(first);
  for (let distance = 1; distance <= WIDTH; distance++) {
    for (const value of [first - distance, first + distance]) {
      if (value < 0 || value > most) continue;
      const score = scoreOf(value);
      if (score < least) [best, least] = [value, score];
    }
  }
  return best;
}

/**
 * Hands out spare copies one by one, each to the expert of the largest risk a copy.
 *
 * @returns the copies of all experts after none, one, ... all
 */
function handOut(
  copies: Int32Array,
  risk: Float64Array,
  experts: readonly number[],
  spare: number,
): Int32Array<ArrayBuffer>[] {
  const after = [copies.slice()];
  for (let i = 0; i < spare; i++) {
    const next = after[i]!.slice();
    let neediest = experts[0]!;
    for (const expert of experts) {
      if (risk[expert]! / next[expert]! > risk[neediest]! / next[neediest]!) neediest = expert;
    }
    next[neediest]!++;
    after.push(next);
  }
  return after;
}

/**
 * More copies than ranks are of no use: what is too much goes to the others, those of the largest risk first.
 * Published is no rule for that.
 */
function fitToRanks(
  copies: Int32Array,
  order: readonly number[],
  numSlots: number,
  numRanks: number,
): Int32Array<ArrayBuffer> {
  const most = Math.max(numRanks, Math.ceil(numSlots / copies.length));
  const fitted = Int32Array.from(copies, (count) => Math.min(count, most));
  let left = numSlots - fitted.reduce((sum, count) => sum + count, 0);
  for (let i = 0; left > 0; i = (i + 1) % order.length) {
    const expert = order[i]!;
    if (fitted[expert]! >= most) continue;
    fitted[expert]!++;
    left--;
  }
  return fitted;
}
