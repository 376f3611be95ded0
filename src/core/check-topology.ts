import { checkMultiple, checkWhole } from './checks.ts';
import { EplbRangeError } from './errors.ts';
import { checkNodes } from './nodes.ts';
import {
  checkDeadRanks,
  checkFailureDomains,
  checkLinkClasses,
  checkOpenSlots,
  checkRankSpeed,
} from './rank-options.ts';
import { checkFeasible } from './rule-book.ts';
import { checkRules, slotsToTake, withTakenSlots } from './rules.ts';
import { MAX_SIZE, type Topology } from './topology.ts';

/** How {@link checkTopology} names sizes, and what it does not let pass. */
export interface TopologyRules {
  /** A policy's arguments are named as the original names them. */
  readonly physical?: string;
  /** Whose problem it is that slots, ranks or experts are uneven: who says so, when they may not be. */
  readonly evenFor?: string | undefined;
  /**
   * Whether dead ranks are still to be named: which pins rest, and so whether rules can be kept, is not known
   * before.
   */
  readonly isWithoutDead?: boolean;
}

/**
 * Checks the sizes one by one and against each other, each read once.
 *
 * @returns the sizes, which cannot be changed any more; without what is as if it were left out
 * @throws EplbTypeError `EPLB_KIND` for anything but numbers; EplbRangeError `EPLB_NOT_WHOLE`, `EPLB_RANGE`,
 * `EPLB_SHAPE`, `EPLB_TOPOLOGY` or `EPLB_RULES`, each naming the field, the value and what would be right.
 */
export function checkTopology(topology: Topology, rules: TopologyRules = {}): Topology {
  const { physical = 'numPhysicalExperts', evenFor, isWithoutDead = false } = rules;
  const numLayers = checkWhole('numLayers', topology.numLayers, 1, MAX_SIZE);
  const numLogicalExperts = checkWhole('numLogicalExperts', topology.numLogicalExperts, 1, MAX_SIZE);
  const numSlots = checkWhole(physical, topology.numPhysicalExperts, 1, MAX_SIZE);
  const numRanks = checkWhole('numRanks', topology.numRanks, 1, MAX_SIZE);
  const numNodes = checkWhole('numNodes', topology.numNodes, 1, MAX_SIZE);
  const numGroups = checkWhole('numGroups', topology.numGroups, 1, MAX_SIZE);
  if (numSlots < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `${physical}: ${numSlots} is less than numLogicalExperts ${numLogicalExperts}: ` +
        'every expert needs a slot',
    );
  }
  const asGiven = { numLogicalExperts, numPhysicalExperts: numSlots, numRanks, numNodes, numGroups };
  if (evenFor !== undefined) checkEvenSizes(asGiven, evenFor, physical);
  const numPhysicalExperts = Math.ceil(numSlots / numRanks) * numRanks;
  checkWhole(`${physical}: ${numSlots} in whole ranks`, numPhysicalExperts, 1, MAX_SIZE);
  const sizes = { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups };
  const nodeOfRank = checkNodes(topology.nodeOfRank, sizes);
  if (evenFor !== undefined) checkEvenNodes({ nodeOfRank }, evenFor);
  const rankSpeed = ifGiven(topology.rankSpeed, (given) => checkRankSpeed(given, sizes));
  const deadRanks = ifGiven(topology.deadRanks, (given) => checkDeadRanks(given, sizes));
  const ownRules = ifGiven(topology.rules, (given) => checkRules(given, sizes));
  const taken = ownRules && slotsToTake(ownRules, numRanks);
  const { slotsPerRank: slots } = topology;
  const isOpen = numSlots === numPhysicalExperts && slots === undefined;
  const slotsPerRank =
    isOpen && deadRanks === undefined && taken === undefined
      ? undefined
      : checkOpenSlots(slots, { ...sizes, numSlots, deadRanks, taken });
  const failureDomains = ifGiven(topology.failureDomains, (given) => checkFailureDomains(given, sizes));
  const linkClasses = ifGiven(topology.linkClasses, (given) => checkLinkClasses(given, sizes));
  const checked = {
    ...sizes,
    ...(slotsPerRank && { slotsPerRank }),
    ...(rankSpeed && { rankSpeed }),
    ...(deadRanks && { deadRanks }),
    ...(nodeOfRank && { nodeOfRank }),
    ...(failureDomains && { failureDomains }),
    ...(linkClasses && { linkClasses }),
    ...(ownRules && { rules: withTakenSlots(ownRules) }),
  };
  if (ownRules !== undefined && !isWithoutDead) checkFeasible(checked);
  return Object.freeze(checked);
}

/** Few give what is of ranks: what checks it is read only then. */
function ifGiven<G, T>(given: G | undefined, check: (given: G) => T): T | undefined {
  return given === undefined ? undefined : check(given);
}

/** Sizes that may have to divide each other. */
type DealtSizes = Pick<
  Topology,
  'numLogicalExperts' | 'numPhysicalExperts' | 'numRanks' | 'numNodes' | 'numGroups'
>;

/**
 * @param sizes with the slots as they were given
 * @param evenFor why they have to be even
 * @throws EplbRangeError `EPLB_TOPOLOGY`
 */
export function checkEvenSizes(sizes: DealtSizes, evenFor: string, physical = 'numPhysicalExperts'): void {
  const { numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups } = sizes;
  checkMultiple(physical, numPhysicalExperts, 'numRanks', numRanks, evenFor);
  checkMultiple('numRanks', numRanks, 'numNodes', numNodes, evenFor);
  checkMultiple('numLogicalExperts', numLogicalExperts, 'numGroups', numGroups, evenFor);
}

/** @param nodes of a checked topology @throws EplbRangeError `EPLB_TOPOLOGY` */
export function checkEvenNodes(
  { nodeOfRank }: { readonly nodeOfRank?: readonly number[] | undefined },
  evenFor: string,
): void {
  if (nodeOfRank === undefined) return;
  const message = `nodeOfRank: nodes have not equally many ranks: ${evenFor}`;
  throw new EplbRangeError('EPLB_TOPOLOGY', message);
}
