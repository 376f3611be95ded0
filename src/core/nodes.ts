import { EplbRangeError } from './errors.ts';
import { checkGivenNodes } from './rank-options.ts';
import type { Topology } from './topology.ts';

// Which ranks share a node. Ranks of a node are consecutive.

type Nodes = Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank'>;

/**
 * A checked copy of the node of each rank; undefined when nodes have equally many ranks. Where none is given,
 * nodes are filled one after the other.
 *
 * @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_SHAPE`, `EPLB_RANGE`, `EPLB_NOT_WHOLE`,
 * `EPLB_TOPOLOGY` for a node without ranks
 */
export function checkNodes(given: unknown, { numRanks, numNodes }: Nodes): readonly number[] | undefined {
  const nodeOf =
    given === undefined ? filledNodes(numRanks, numNodes) : checkGivenNodes(given, numRanks, numNodes);
  const isEven = numRanks % numNodes === 0;
  const perNode = numRanks / numNodes;
  if (isEven && nodeOf.every((node, rank) => node === Math.floor(rank / perNode))) return undefined;
  return Object.freeze(nodeOf);
}

function filledNodes(numRanks: number, numNodes: number): number[] {
  const perNode = Math.ceil(numRanks / numNodes);
  const numFilled = Math.ceil(numRanks / perNode);
  if (numFilled === numNodes)
    return Array.from({ length: numRanks }, (_, rank) => Math.floor(rank / perNode));
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `numRanks: ${numRanks} is not a multiple of numNodes ${numNodes}, and ${perNode} ranks a node fill ` +
      `${numFilled}: say which node each rank is on (nodeOfRank)`,
  );
}

/** Int32Array[ranks]: the node of each rank. */
export function nodesOfRanks({ numRanks, numNodes, nodeOfRank }: Nodes): Int32Array {
  if (nodeOfRank !== undefined) return Int32Array.from(nodeOfRank);
  const perNode = numRanks / numNodes;
  return Int32Array.from({ length: numRanks }, (_, rank) => Math.floor(rank / perNode));
}

/** Int32Array[nodes + 1]: the first rank of each node, and at last the number of ranks. */
export function firstRanksOfNodes(nodes: Nodes): Int32Array {
  const firsts = new Int32Array(nodes.numNodes + 1);
  for (const node of nodesOfRanks(nodes)) firsts[node + 1]!++;
  for (let node = 0; node < nodes.numNodes; node++) firsts[node + 1]! += firsts[node]!;
  return firsts;
}
