import type { LinkProblem } from '../oracle/adaptive.ts';

/** The same nodes, where tokens take the nearest copy: whole numbers by expert and node, some of them 0. */
export function nearLinksOf(random: () => number, numExperts: number, links: LinkProblem): LinkProblem {
  const numNodes = 1 + Math.max(...links.nodeOfRank);
  const worth = new Float32Array(numNodes * Math.ceil(numExperts / 4) * 4);
  for (let at = 0; at < worth.length; at++)
    if (random() < 0.8) worth[at] = Math.floor(2 ** 19 * random() ** 3);
  return { ...links, near: { worth, total: worth.reduce((sum, value) => sum + value, 0) } };
}

/** Pairs in clusters or at random, at times many never together; nodes of ranks that follow each other. */
export function linksOf(
  random: () => number,
  numExperts: number,
  numRanks: number,
  price: number,
): LinkProblem {
  const perRow = Math.ceil(numExperts / 4) * 4;
  const pairs = new Float32Array(numExperts * perRow);
  const numClusters = 1 + Math.floor(random() * 5);
  const isSparse = random() < 0.5;
  for (let a = 0; a < numExperts; a++) {
    for (let b = 0; b < a; b++) {
      const isNear = a % numClusters === b % numClusters;
      const pair = isSparse && random() < 0.7 ? 0 : Math.floor((isNear ? 300 : 50) * random());
      pairs[a * perRow + b] = pair;
      pairs[b * perRow + a] = pair;
    }
  }
  let node = 0;
  const nodeOfRank = Int32Array.from({ length: numRanks }, (_, rank) => {
    if (rank > 0 && random() < 0.5) node++;
    return node;
  });
  return { pairs, nodeOfRank, price };
}
