import { checkMultiple } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkSlotsPerRank } from '../core/rank-options.ts';
import type { Topology } from '../core/topology.ts';

/** Sizes that options give. */
interface SizeOptions {
  readonly slots: number;
  readonly ranks: number;
  readonly nodes: number;
  readonly groups: number;
  readonly slotsPerRank?: readonly number[] | undefined;
}

/**
 * The topology of a recording's layers and experts on the devices that the options name.
 *
 * @throws EplbRangeError EPLB_TOPOLOGY, EPLB_SHAPE or EPLB_RANGE, naming the option
 */
export function topologyFrom(
  { numLayers, numLogicalExperts }: Pick<Topology, 'numLayers' | 'numLogicalExperts'>,
  { slots, ranks, nodes, groups, slotsPerRank: given }: SizeOptions,
): Topology {
  if (slots < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `--slots: ${slots} is less than the ${numLogicalExperts} logical experts; every expert needs ` +
        'a slot',
    );
  }
  checkMultiple('--slots', slots, '--ranks', ranks);
  checkMultiple('--ranks', ranks, '--nodes', nodes);
  if (numLogicalExperts % groups !== 0) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `--groups: ${groups} does not divide the ${numLogicalExperts} logical experts evenly`,
    );
  }
  const sizes = {
    numLayers,
    numLogicalExperts,
    numPhysicalExperts: slots,
    numRanks: ranks,
    numNodes: nodes,
    numGroups: groups,
  };
  const slotsPerRank = checkSlotsPerRank(given, sizes, '--slots-per-rank');
  return slotsPerRank === undefined ? sizes : { ...sizes, slotsPerRank };
}
