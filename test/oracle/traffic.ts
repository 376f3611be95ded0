import type { DispatchProblem } from './dispatch.ts';

/** `[ranks]`: the share of a token of an expert that goes to each rank from one. */
function sharesOf(problem: DispatchProblem, layer: number, expert: number, source: number): number[] {
  const { rows, numRanks, nodeOf, dispatch } = problem;
  const perRank = rows[layer]!.length / numRanks;
  const copies = rows[layer]!.flatMap((other, slot) =>
    other === expert ? [Math.floor(slot / perRank)] : [],
  );
  const near = [
    copies.filter((rank) => rank === source),
    copies.filter((rank) => nodeOf[rank] === nodeOf[source]),
  ].find((ranks) => ranks.length > 0);
  const taken = dispatch === 'nearest' ? (near ?? copies) : copies;
  return Array.from(
    { length: numRanks },
    (_, rank) => taken.filter((other) => other === rank).length / taken.length,
  );
}

/** `[ranks][ranks]`: tokens of loads `[layers][ranks][experts]`, each token of an expert on its own. */
export function tokensOfLoads(
  problem: DispatchProblem,
  loads: readonly (readonly (readonly number[])[])[],
): number[][] {
  const { rows, numRanks } = problem;
  return Array.from({ length: numRanks }, (_, source) =>
    Array.from({ length: numRanks }, (_, target) =>
      rows.reduce(
        (sum, _, layer) =>
          loads[layer]![source]!.reduce(
            (all, load, expert) => all + load * sharesOf(problem, layer, expert, source)[target]!,
            sum,
          ),
        0,
      ),
    ),
  );
}

/**
 * `[ranks][ranks]`: of routes [tokens][layers][topK], by adding up over all ways in which each token may take
 * its copies. A rank gets a token once.
 */
export function tokensOfRoutes(
  problem: DispatchProblem,
  routes: readonly (readonly (readonly number[])[])[],
  sources: readonly (readonly { rank: number; share: number }[])[],
): number[][] {
  const { numRanks } = problem;
  const tokens = Array.from({ length: numRanks }, () => new Array<number>(numRanks).fill(0));
  for (const [token, layers] of routes.entries()) {
    for (const [layer, experts] of layers.entries()) {
      for (const { rank: source, share } of sources[token]!) {
        const choose = (k: number, chance: number, ranks: ReadonlySet<number>): void => {
          if (chance === 0) return;
          if (k === experts.length) {
            for (const rank of ranks) tokens[source]![rank]! += share * chance;
            return;
          }
          const shares = sharesOf(problem, layer, experts[k]!, source);
          for (const [rank, part] of shares.entries())
            choose(k + 1, chance * part, new Set([...ranks, rank]));
        };
        choose(0, 1, new Set());
      }
    }
  }
  return tokens;
}
