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
  /** What each rank's power counts as; 1 when left out. */
  readonly rankPower?: Float32Array | undefined;
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
  return load / copies + problem.spread[expert]! / copies ** 2;
}

/** The load of each rank in a sample. */
function loadsOf(rows: readonly (readonly number[])[], problem: AdaptiveProblem, sample: number): number[] {
  const counts = new Map<number, number>();
  for (const expert of rows.flat()) counts.set(expert, (counts.get(expert) ?? 0) + 1);
  return rows.map((row) =>
    row.reduce((sum, expert) => sum + costOfCopy(problem, expert, counts.get(expert)!, sample), 0),
  );
}

/** The sum of the powers of the rank loads in a sample. */
function powersOf(rows: readonly (readonly number[])[], problem: AdaptiveProblem, sample: number): number {
  const norm = problem.isSharp ? 16 : 8;
  return loadsOf(rows, problem, sample).reduce(
    (sum, load, rank) => sum + (problem.rankPower?.[rank] ?? 1) * load ** norm,
    0,
  );
}

/** The objective without the price: the weighted sum over samples of the norm of the rank loads. */
export function objectiveOf(rows: readonly (readonly number[])[], problem: AdaptiveProblem): number {
  const norm = problem.isSharp ? 16 : 8;
  return problem.weights.reduce(
    (sum, weight, t) => (weight === 0 ? sum : sum + weight * powersOf(rows, problem, t) ** (1 / norm)),
    0,
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
  }, 0);
}

/** Slots whose expert the live placement has not on that rank, in an open slot or a closed one. */
export function movesTo(table: Int32Array, { previous, numRanks, numSlots }: AdaptiveProblem): number {
  const stride = numSlots / numRanks;
  return table.filter((expert, slot) => {
    const first = slot - (slot % stride);
    return expert >= 0 && !previous.subarray(first, first + stride).includes(expert);
  }).length;
}
