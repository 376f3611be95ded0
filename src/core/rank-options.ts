import { checkNumber, checkNumbered, checkObject, checkText, checkWhole, listOf } from './checks.ts';
import { EplbRangeError } from './errors.ts';
import { printable } from './printable.ts';
import { takeSlots } from './rules.ts';
import { type FailureDomains, LEAST_SPEED, MOST_SPEED, type Topology } from './topology.ts';

// What a topology may say of its ranks. Each is checked, copied and frozen; undefined where it says nothing.
// Most say nothing: this is read when one does.

type Sizes = Pick<Topology, 'numPhysicalExperts' | 'numRanks' | 'numLogicalExperts'>;

/** The slots of a topology as they were given, and what else decides which of them are open. */
export interface OpenSlotsOptions extends Sizes {
  /** Slots that there are: fewer than in the tables where ranks do not divide them. */
  readonly numSlots: number;
  readonly deadRanks: readonly number[] | undefined;
  /** `[ranks]`: how many of its slots a shared expert takes. */
  readonly taken?: readonly number[] | undefined;
}

/**
 * The node of each rank.
 *
 * @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_SHAPE`, `EPLB_RANGE`, `EPLB_NOT_WHOLE`,
 * `EPLB_TOPOLOGY` for a node without ranks
 */
export function checkGivenNodes(given: unknown, numRanks: number, numNodes: number): number[] {
  const nodeOf = listOf('nodeOfRank', given, numRanks, 'numbers', (title, value) =>
    checkWhole(title, value, 0, numNodes - 1),
  );
  nodeOf.forEach((node, rank) => {
    const before = rank === 0 ? -1 : nodeOf[rank - 1]!;
    if (node === before || node === before + 1) return;
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `nodeOfRank: rank ${rank} is on node ${node} after node ${before}: ranks of a node follow each other, ` +
        'and nodes are numbered in their order',
    );
  });
  const numFound = nodeOf.at(-1)! + 1;
  if (numFound === numNodes) return nodeOf;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `nodeOfRank: names ${numFound} nodes, not numNodes ${numNodes}: every node needs a rank`,
  );
}

/** @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_SHAPE`, `EPLB_RANGE` */
export function checkRankSpeed(
  given: unknown,
  { numRanks }: Pick<Topology, 'numRanks'>,
): readonly number[] | undefined {
  if (given === undefined) return undefined;
  const speeds = listOf('rankSpeed', given, numRanks, 'numbers', checkSpeed);
  return speeds.every((speed) => speed === 1) ? undefined : Object.freeze(speeds);
}

export function checkSpeed(title: string, value: unknown): number {
  const speed = checkNumber(title, value);
  if (speed >= LEAST_SPEED && speed <= MOST_SPEED) return speed;
  const range = `from ${LEAST_SPEED} to ${MOST_SPEED}`;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${speed} is not ${range}: 1 is a rank as usual`);
}

/** @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE` */
export function checkDeadRanks(
  given: unknown,
  { numRanks }: Pick<Topology, 'numRanks'>,
): readonly number[] | undefined {
  if (given === undefined) return undefined;
  const dead = checkNumbered('deadRanks', given, 'ranks', numRanks);
  return dead.length === 0 ? undefined : Object.freeze(dead);
}

/** How many slots of each rank are open, none of dead ones; undefined when all slots of all ranks are. */
export function checkOpenSlots(given: unknown, options: OpenSlotsOptions): readonly number[] | undefined {
  const { numPhysicalExperts, numRanks, numLogicalExperts, numSlots, deadRanks, taken } = options;
  const slots = givenSlots(given, options);
  const open = [...(slots ?? dealtSlots(numSlots, numRanks))];
  if (taken !== undefined) takeSlots(open, taken, options);
  for (const rank of deadRanks ?? []) open[rank] = 0;
  const total = open.reduce((sum, count) => sum + count, 0);
  if (total < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `deadRanks: the live ranks have ${total} open slots for ${numLogicalExperts} experts, ` +
        `${numLogicalExperts - total} too few`,
    );
  }
  return total === numPhysicalExperts ? undefined : Object.freeze(open);
}

function givenSlots(given: unknown, options: OpenSlotsOptions): readonly number[] | undefined {
  const slots = checkSlotsPerRank(given, options);
  if (slots === undefined && given === undefined) return undefined;
  const { numSlots, numRanks, numPhysicalExperts } = options;
  const total = slots?.reduce((sum, count) => sum + count, 0) ?? numPhysicalExperts;
  if (total <= numSlots) return slots;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `slotsPerRank: ${total} slots are more than the ${numSlots} of ${numRanks} ranks`,
  );
}

/** Slots that ranks do not divide: the first ranks have one more. */
function dealtSlots(numSlots: number, numRanks: number): number[] {
  const least = Math.floor(numSlots / numRanks);
  return Array.from({ length: numRanks }, (_, rank) => least + (rank < numSlots % numRanks ? 1 : 0));
}

/** A checked copy; undefined when all slots are open. @throws as `checkTopology` */
export function checkSlotsPerRank(
  given: unknown,
  sizes: Sizes,
  title = 'slotsPerRank',
): readonly number[] | undefined {
  if (given === undefined) return undefined;
  const { numPhysicalExperts, numRanks, numLogicalExperts } = sizes;
  const most = Math.ceil(numPhysicalExperts / numRanks);
  const slotsPerRank = listOf(title, given, numRanks, 'numbers', (name, value) =>
    checkWhole(name, value, 0, most),
  );
  const total = slotsPerRank.reduce((sum, slots) => sum + slots, 0);
  if (total < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `${title}: ${total} slots are less than numLogicalExperts ${numLogicalExperts}: ` +
        'every expert needs a slot',
    );
  }
  return total === most * numRanks ? undefined : Object.freeze(slotsPerRank);
}

/** @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_SHAPE`, `EPLB_RANGE`, `EPLB_NOT_WHOLE` */
export function checkFailureDomains(
  given: unknown,
  { numRanks }: Pick<Topology, 'numRanks'>,
): FailureDomains | undefined {
  if (given === undefined) return undefined;
  const levels = Object.entries(checkObject('failureDomains', given as object)).map(([level, domains]) => {
    const title = `failureDomains.${printable(level)}`;
    if (level === 'rank' || level === 'node') {
      const message = `${title}: is a level that there is already; give what it names another name`;
      throw new EplbRangeError('EPLB_RANGE', message);
    }
    const numbers = listOf(title, domains, numRanks, 'numbers', (name, value) =>
      checkWhole(name, value, 0, numRanks - 1),
    );
    return [level, Object.freeze(numbers)] as const;
  });
  return levels.length === 0 ? undefined : Object.freeze(Object.fromEntries(levels));
}

/** @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_SHAPE` */
export function checkLinkClasses(
  given: unknown,
  { numRanks }: Pick<Topology, 'numRanks'>,
): readonly (readonly string[])[] | undefined {
  if (given === undefined) return undefined;
  const rows = listOf('linkClasses', given, numRanks, 'rows', (title, row) =>
    Object.freeze(listOf(title, row, numRanks, 'names', checkText)),
  );
  return Object.freeze(rows);
}
