import { checkMultiple, checkWhole } from './checks.ts';
import { EplbRangeError } from './errors.ts';

/** The sizes of a placement problem: the same for every layer. */
export interface Topology {
  /** MoE layers. */
  readonly numLayers: number;
  /** Experts of the model, per layer. */
  readonly numLogicalExperts: number;
  /** Slots, per layer, over all ranks: a multiple of `numRanks`, at least `numLogicalExperts`. */
  readonly numPhysicalExperts: number;
  /** Devices. */
  readonly numRanks: number;
  /** Fast-network domains: `numRanks` is a multiple. */
  readonly numNodes: number;
  /** Groups of experts that routing picks together: they divide `numLogicalExperts` evenly. */
  readonly numGroups: number;
}

/** Names the sizes have in messages; a policy's arguments are named as the original names them. */
export interface TopologyTitles {
  readonly physical: string;
}

/**
 * Checks the sizes one by one and against each other.
 *
 * @throws EplbTypeError `EPLB_KIND` for anything but numbers; EplbRangeError `EPLB_NOT_WHOLE`, `EPLB_RANGE` or
 * `EPLB_TOPOLOGY`, each naming the field, the value and what would be right.
 */
export function checkTopology(
  topology: Topology,
  titles: TopologyTitles = { physical: 'numPhysicalExperts' },
): Topology {
  const most = 2 ** 24;
  const numLayers = checkWhole('numLayers', topology.numLayers, 1, most);
  const numLogicalExperts = checkWhole('numLogicalExperts', topology.numLogicalExperts, 1, most);
  const numPhysicalExperts = checkWhole(titles.physical, topology.numPhysicalExperts, 1, most);
  const numRanks = checkWhole('numRanks', topology.numRanks, 1, most);
  const numNodes = checkWhole('numNodes', topology.numNodes, 1, most);
  const numGroups = checkWhole('numGroups', topology.numGroups, 1, most);
  if (numPhysicalExperts < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `${titles.physical}: ${numPhysicalExperts} is less than numLogicalExperts ${numLogicalExperts}: every expert needs a slot`,
    );
  }
  checkMultiple(titles.physical, numPhysicalExperts, 'numRanks', numRanks);
  checkMultiple('numRanks', numRanks, 'numNodes', numNodes);
  checkMultiple('numLogicalExperts', numLogicalExperts, 'numGroups', numGroups);
  return { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups };
}
