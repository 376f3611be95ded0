/**
 * What the adaptive policy's search lowers, in plain code and from nothing: see kernels/adaptive/costs.ts.
 */

export interface AdaptiveProblem {
  /** [experts x samples], the number of samples a multiple of 4. */
  readonly samples: Float32Array;
  readonly spread: Float32Array;
  readonly weights: Float32Array;
  readonly numExperts: number;
  readonly numSlots: number;
  readonly numRanks: number;
  readonly numNodes: number;
  /** How many slots of each rank are open; all when left out. */
  readonly slotsPerRank?: Int32Array | undefined;
  /** What slots take, where that is not in proportion to their tokens. */
  readonly slots?: SlotProblem | undefined;
  /** 1 for experts that keep copies in two failure domains, and the domain of each rank. */
  readonly survivors?: Uint8Array | undefined;
  readonly domains?: Int32Array | undefined;
  /** How fast each rank is; 1 when left out. */
  readonly rankSpeed?: Float32Array | undefined;
  /** How often experts are picked together, and on which node each rank is. */
  readonly links?: LinkProblem | undefined;
  /** The load of a shared expert on each rank, as a share of that of all others. */
  readonly fixedShare?: Float32Array | undefined;
  /** Loads by which no rank may come above a time: load / speed. */
  readonly ceiling?: { readonly loads: Float32Array; readonly time: number } | undefined;
  readonly previous: Int32Array;
  readonly fresh?: Int32Array | undefined;
  readonly dealsCopies: boolean;
  readonly isSharp: boolean;
  readonly price: number;
  readonly leastGain: number;
  readonly maxMoves: number;
  readonly maxVisits: number;
  readonly maxPasses: number;
  readonly maxIdle: number;
  readonly maxEvaluations: number;
  readonly numKicks: number;
  /** Steps of a walk in a row that may lead nowhere; none when left out. */
  readonly walkPatience?: number;
}

export interface LinkProblem {
  /** [experts x experts made a multiple of 4], symmetric, whole numbers, 0 on the diagonal. */
  readonly pairs: Float32Array;
  readonly nodeOfRank: Int32Array;
  /** What it costs that no pair shares a node. */
  readonly price: number;
  /** In place of pairs: what each expert is worth on each node [nodes x experts made a multiple of 4]. */
  readonly near?: { readonly worth: Float32Array; readonly total: number } | undefined;
}

/** What shared nodes are worth to a pair: 1, a further one 1/4, a third one 1/16, others nothing. */
const WORTH = [0, 1, 1.25, 1.3125];

/** The sum over all pairs of what their shared nodes are worth; of all of them when each shares one. */
export function together(
  rows: readonly (readonly number[])[],
  { pairs, nodeOfRank }: LinkProblem,
  numExperts: number,
): { readonly sum: number; readonly total: number } {
  const nodes = Array.from({ length: numExperts }, () => new Set<number>());
  for (const [rank, row] of rows.entries()) for (const expert of row) nodes[expert]?.add(nodeOfRank[rank]!);
  const perRow = pairs.length / numExperts;
  let sum = 0;
  let total = 0;
  for (let a = 0; a < numExperts; a++) {
    for (let b = 0; b < a; b++) {
      const shared = [...nodes[a]!].filter((node) => nodes[b]!.has(node)).length;
      sum += pairs[a * perRow + b]! * WORTH[Math.min(shared, 3)]!;
      total += pairs[a * perRow + b]!;
    }
  }
  return { sum, total };
}

/** What links cost less than if no expert were on any node. */
function savedNearby(
  rows: readonly (readonly number[])[],
  { near, nodeOfRank, price }: LinkProblem,
  numExperts: number,
): number {
  const { worth, total } = near!;
  const perRow = Math.ceil(numExperts / 4) * 4;
  const found = new Set(
    rows.flatMap((row, rank) => row.map((expert) => nodeOfRank[rank]! * perRow + expert)),
  );
  return total === 0 ? 0 : (price * [...found].reduce((sum, at) => sum + worth[at]!, 0)) / total;
}

/** What links cost less than if no pair shared a node. */
export function savedByLinks(rows: readonly (readonly number[])[], problem: AdaptiveProblem): number {
  if (problem.links === undefined) return 0;
  if (problem.links.near !== undefined) return savedNearby(rows, problem.links, problem.numExperts);
  const { sum, total } = together(rows, problem.links, problem.numExperts);
  return total === 0 ? 0 : (problem.links.price * sum) / total;
}

/** The longest that a rank takes with the ceiling's loads. */
export function longestTime(
  rows: readonly (readonly number[])[],
  loads: Float32Array,
  rankSpeed: Float32Array | undefined,
  fixedShare?: Float32Array,
): number {
  const counts = new Map<number, number>();
  for (const expert of rows.flat()) counts.set(expert, (counts.get(expert) ?? 0) + 1);
  const total = loads.reduce((sum, load) => sum + load, 0);
  const times = rows.map(
    (row, rank) =>
      row.reduce(
        (sum, expert) => sum + (expert < 0 ? 0 : loads[expert]! / counts.get(expert)!),
        (fixedShare?.[rank] ?? 0) * total,
      ) / (rankSpeed?.[rank] ?? 1),
  );
  return Math.max(...times);
}

export interface SlotProblem {
  /** Seconds at each point, and its tokens. */
  readonly curve: Float32Array;
  readonly points: readonly number[];
  /** The mean tokens of a rank in each sample. */
  readonly tokens: Float32Array;
  /** Seconds that count as 1. */
  readonly unit: number;
}

/** On the straight line between two points, and on the last one beyond them. */
export function secondsAt({ curve, points }: Pick<SlotProblem, 'curve' | 'points'>, tokens: number): number {
  const next = points.findIndex((point) => point > tokens);
  const above = next < 0 ? points.length - 1 : next;
  const share = (tokens - points[above - 1]!) / (points[above]! - points[above - 1]!);
  return curve[above - 1]! + share * (curve[above]! - curve[above - 1]!);
}

/** The experts in the open slots of each rank. */
export function openRows(table: Int32Array, problem: AdaptiveProblem): number[][] {
  const { numRanks, numSlots, slotsPerRank } = problem;
  const stride = numSlots / numRanks;
  return Array.from({ length: numRanks }, (_, rank) =>
    Array.from(table.subarray(rank * stride, rank * stride + (slotsPerRank?.[rank] ?? stride))),
  );
}

/** What one of so many copies of an expert costs in a sample. */
function costOfCopy(problem: AdaptiveProblem, expert: number, copies: number, sample: number): number {
  const load = problem.samples[expert * problem.weights.length + sample]!;
  const { slots } = problem;
  if (slots !== undefined) {
    const ofRank = slots.tokens[sample]!;
    const seconds = secondsAt(slots, (load * ofRank) / copies);
    const deviation = (Math.sqrt(problem.spread[expert]!) * ofRank) / copies;
    const more = secondsAt(slots, (load * ofRank) / copies + deviation) - seconds;
    return seconds / slots.unit + (more / slots.unit) ** 2;
  }
  return load / copies + problem.spread[expert]! / copies ** 2;
}

/** What a shared expert adds to a rank in a sample, where slots have no costs of their own. */
function fixedLoad({ fixedShare, samples, weights }: AdaptiveProblem, rank: number, sample: number): number {
  if (fixedShare === undefined) return 0;
  let total = 0;
  for (let at = sample; at < samples.length; at += weights.length) total += samples[at]!;
  return total * fixedShare[rank]!;
}

/** The load of each rank in a sample. */
function loadsOf(rows: readonly (readonly number[])[], problem: AdaptiveProblem, sample: number): number[] {
  const counts = new Map<number, number>();
  for (const expert of rows.flat()) counts.set(expert, (counts.get(expert) ?? 0) + 1);
  return rows.map((row, rank) =>
    row.reduce(
      (sum, expert) => sum + costOfCopy(problem, expert, counts.get(expert)!, sample),
      fixedLoad(problem, rank, sample),
    ),
  );
}

/** The sum of the powers of the rank times in a sample, load / speed, each by the rank's speed. */
function powersOf(rows: readonly (readonly number[])[], problem: AdaptiveProblem, sample: number): number {
  const norm = problem.isSharp ? 16 : 8;
  return loadsOf(rows, problem, sample).reduce((sum, load, rank) => {
    const speed = problem.rankSpeed?.[rank] ?? 1;
    return sum + speed * (load / speed) ** norm;
  }, 0);
}

/**
 * The objective without the price: the weighted sum over samples of the norm of the rank times, less what
 * links save.
 */
export function objectiveOf(rows: readonly (readonly number[])[], problem: AdaptiveProblem): number {
  const norm = problem.isSharp ? 16 : 8;
  return problem.weights.reduce(
    (sum, weight, t) => (weight === 0 ? sum : sum + weight * powersOf(rows, problem, t) ** (1 / norm)),
    -savedByLinks(rows, problem),
  );
}

/** What another placement costs by the tangent at one. */
export function tangentCost(
  from: readonly (readonly number[])[],
  to: readonly (readonly number[])[],
  problem: AdaptiveProblem,
): number {
  const norm = problem.isSharp ? 16 : 8;
  return problem.weights.reduce((sum, weight, t) => {
    if (weight === 0) return sum;
    const before = powersOf(from, problem, t);
    const slope = (weight / norm) * before ** (1 / norm - 1);
    return sum + slope * (powersOf(to, problem, t) - before);
  }, savedByLinks(from, problem) - savedByLinks(to, problem));
}

/** Slots whose expert the live placement has not on that rank, in an open slot or a closed one. */
export function movesTo(table: Int32Array, { previous, numRanks, numSlots }: AdaptiveProblem): number {
  const stride = numSlots / numRanks;
  return table.filter((expert, slot) => {
    const first = slot - (slot % stride);
    return expert >= 0 && !previous.subarray(first, first + stride).includes(expert);
  }).length;
}

/** Experts that are to keep copies in two failure domains, and have them in one. */
export function exposedExperts(table: Int32Array, problem: AdaptiveProblem): number[] {
  const { survivors = new Uint8Array(), domains = new Int32Array() } = problem;
  const rows = openRows(table, problem);
  return Array.from(survivors.keys()).filter((expert) => {
    const held = new Set(domains.filter((_, rank) => rows[rank]!.includes(expert)));
    return survivors[expert] === 1 && held.size < 2;
  });
}
