/** What decides where tokens go, in plain code. */
export interface DispatchProblem {
  /** `[layers][slots]`, -1 for an empty one. */
  readonly rows: readonly (readonly number[])[];
  readonly numRanks: number;
  /** `[ranks]` */
  readonly nodeOf: readonly number[];
  readonly deadRanks: readonly number[];
  readonly dispatch: 'even' | 'nearest';
}

/** The slots that a token of an expert may take from a rank. */
function slotsNear({ rows, numRanks, nodeOf, dispatch }: DispatchProblem, layer: number) {
  const row = rows[layer]!;
  const rankOf = (slot: number) => Math.floor(slot / (row.length / numRanks));
  return (expert: number, source: number): number[] => {
    const all = row.flatMap((other, slot) => (other === expert ? [slot] : []));
    if (dispatch === 'even') return all;
    const onRank = all.filter((slot) => rankOf(slot) === source);
    if (onRank.length > 0) return onRank;
    const onNode = all.filter((slot) => nodeOf[rankOf(slot)] === nodeOf[source]);
    return onNode.length > 0 ? onNode : all;
  };
}

/**
 * `[slots]`: the tokens that each slot of a layer gets, dispatched one after the other. The tokens of an
 * expert on a rank take the slots that they may take in turn.
 *
 * @param tokens `[ranks][experts]`: whole numbers
 */
export function dispatchTokens(
  problem: DispatchProblem,
  layer: number,
  tokens: readonly (readonly number[])[],
): number[] {
  const near = slotsNear(problem, layer);
  const got = problem.rows[layer]!.map(() => 0);
  tokens.forEach((row, source) => {
    row.forEach((count, expert) => {
      const slots = near(expert, source);
      for (let token = 0; token < count; token++) got[slots[token % slots.length]!]! += 1;
    });
  });
  return got;
}
