import { checkMultiple, checkWhole, show } from './checks.ts';
import { EplbRangeError, EplbTypeError } from './errors.ts';

/** The largest size of anything: layers, experts, slots, ranks, steps. Float32 counts are exact up to it. */
export const MAX_SIZE = 2 ** 24;

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
  /**
   * `[ranks]`: how many slots of each rank may hold an expert, from 0 to `numPhysicalExperts / numRanks`,
   * together at least `numLogicalExperts`: the first ones. The others are closed: they stay empty, -1, in
   * every layer. All are open when left out.
   */
  readonly slotsPerRank?: readonly number[];
}

/** Names the sizes have in messages; a policy's arguments are named as the original names them. */
export interface TopologyTitles {
  readonly physical: string;
}

/**
 * Checks the sizes one by one and against each other, each read once.
 *
 * @returns the sizes, which cannot be changed any more; without `slotsPerRank` when all slots are open
 * @throws EplbTypeError `EPLB_KIND` for anything but numbers; EplbRangeError `EPLB_NOT_WHOLE`, `EPLB_RANGE`,
 * `EPLB_SHAPE` or `EPLB_TOPOLOGY`, each naming the field, the value and what would be right.
 */
export function checkTopology(
  topology: Topology,
  titles: TopologyTitles = { physical: 'numPhysicalExperts' },
): Topology {
  const numLayers = checkWhole('numLayers', topology.numLayers, 1, MAX_SIZE);
  const numLogicalExperts = checkWhole('numLogicalExperts', topology.numLogicalExperts, 1, MAX_SIZE);
  const numPhysicalExperts = checkWhole(titles.physical, topology.numPhysicalExperts, 1, MAX_SIZE);
  const numRanks = checkWhole('numRanks', topology.numRanks, 1, MAX_SIZE);
  const numNodes = checkWhole('numNodes', topology.numNodes, 1, MAX_SIZE);
  const numGroups = checkWhole('numGroups', topology.numGroups, 1, MAX_SIZE);
  if (numPhysicalExperts < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `${titles.physical}: ${numPhysicalExperts} is less than numLogicalExperts ${numLogicalExperts}: ` +
        'every expert needs a slot',
    );
  }
  checkMultiple(titles.physical, numPhysicalExperts, 'numRanks', numRanks);
  checkMultiple('numRanks', numRanks, 'numNodes', numNodes);
  checkMultiple('numLogicalExperts', numLogicalExperts, 'numGroups', numGroups);
  const sizes = { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups };
  const slotsPerRank = checkSlotsPerRank(topology.slotsPerRank, sizes);
  return Object.freeze(slotsPerRank === undefined ? sizes : { ...sizes, slotsPerRank });
}

/** A checked copy; undefined when all slots are open. @throws as {@link checkTopology} */
export function checkSlotsPerRank(
  given: unknown,
  sizes: Pick<Topology, 'numPhysicalExperts' | 'numRanks' | 'numLogicalExperts'>,
  title = 'slotsPerRank',
): readonly number[] | undefined {
  if (given === undefined) return undefined;
  const { numPhysicalExperts, numRanks, numLogicalExperts } = sizes;
  if (!Array.isArray(given)) {
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(given)} is not an array of numbers, one a rank`);
  }
  const { length } = given;
  if (length !== numRanks) {
    throw new EplbRangeError('EPLB_SHAPE', `${title}: has ${length} numbers, not ${numRanks}, one a rank`);
  }
  const most = numPhysicalExperts / numRanks;
  // Not map(), which passes over holes, and not by its iterator, which may give any number of values.
  const slotsPerRank = Array.from({ length: numRanks }, (_, rank) =>
    checkWhole(`${title}: rank ${rank}`, given[rank], 0, most),
  );
  const total = slotsPerRank.reduce((sum, slots) => sum + slots, 0);
  if (total < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `${title}: ${total} slots are less than numLogicalExperts ${numLogicalExperts}: ` +
        'every expert needs a slot',
    );
  }
  return total === numPhysicalExperts ? undefined : Object.freeze(slotsPerRank);
}

/** Sizes in a message about memory. */
export function describeTopology({ numLayers, numLogicalExperts, numPhysicalExperts }: Topology): string {
  return `topology: ${numLayers} layers, ${numLogicalExperts} experts in ${numPhysicalExperts} slots`;
}
