import { checkTopology } from '../../core/check-topology.ts';
import { checkNumber, checkObject, checkText, checkWhole, show } from '../../core/checks.ts';
import { EplbRangeError, EplbTypeError, isOwnError } from '../../core/errors.ts';
import { checkOptions } from '../../core/known-keys.ts';
import { MAX_SIZE, type RankOptions } from '../../core/topology.ts';
import { isList } from '../json/value.ts';
import { quote } from '../text.ts';
import { linkClassesOf } from './link-classes.ts';
import { type RankSet, ranksOfSet, setOfRanks } from './rank-set.ts';

/** What a topology file says, in its own words: `schemas/topology.schema.json`. Only `ranks` is needed. */
export interface TopologyFile {
  /** Where its JSON Schema is, for editors; not looked at. */
  readonly $schema?: string;
  /** Devices. */
  readonly ranks: number;
  /** How many nodes, of equally many ranks; or the ranks of each. Default 1. */
  readonly nodes?: number | readonly RankSet[];
  /** Slots of a layer over all ranks, or those of every rank, or of each. */
  readonly slots?: number;
  readonly slotsPerRank?: number | readonly number[];
  /** Groups of experts that routing picks together. */
  readonly groups?: number;
  /** Of each rank, or of those that are not as fast as others, by rank or range of ranks. */
  readonly rankSpeed?: readonly number[] | Readonly<Record<string, number>>;
  readonly deadRanks?: RankSet;
  /** Levels above the node, by name: the ranks of each domain. */
  readonly failureDomains?: Readonly<Record<string, readonly RankSet[]>>;
  /** By level, the first that two ranks share, with `other` for the rest; or `[ranks][ranks]`. */
  readonly linkClasses?: Readonly<Record<string, string>> | readonly (readonly string[])[];
}

/** What a topology file says, in the library's words; sizes that it does not name are left out. */
export interface DeviceTopology extends RankOptions {
  readonly numRanks: number;
  readonly numNodes?: number;
  readonly numPhysicalExperts?: number;
  readonly numGroups?: number;
}

/** The names of what a topology file may hold. */
const TOPOLOGY_FIELDS = [
  '$schema',
  'ranks',
  'nodes',
  'slots',
  'slotsPerRank',
  'groups',
  'rankSpeed',
  'deadRanks',
  'failureDomains',
  'linkClasses',
];

/** Most ranks of a file: a range in it is a list in memory. */
const MOST_RANKS = 2 ** 16;

/** The library's names for what a file calls otherwise. */
const FILE_NAMES: Readonly<Record<string, string>> = {
  numPhysicalExperts: 'slots',
  numRanks: 'ranks',
  numNodes: 'nodes',
  nodeOfRank: 'nodes',
  numGroups: 'groups',
};

/**
 * Reads the content of a topology file.
 *
 * @param value the parsed content
 * @param title its name in messages
 * @returns the given properties, for the options of a balancer, `replay`, `repair`, or `planTransfer`'s
 *   topology
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`,
 *   `EPLB_SHAPE`, `EPLB_TOPOLOGY`, naming the field
 * @example
 * ```ts
 * topologyFromJson({ ranks: 4, nodes: ['0-1', '2-3'], slotsPerRank: 5, rankSpeed: { 3: 0.9 } });
 * // { numRanks: 4, numNodes: 2, numPhysicalExperts: 20, rankSpeed: [1, 1, 1, 0.9] }
 * ```
 */
export function topologyFromJson(value: unknown, title = 'topology'): DeviceTopology {
  try {
    const given = readFields(value);
    checkRoom(given);
    // With sizes that every topology has room for, where the file does not name them.
    const { numRanks, numNodes = 1, numPhysicalExperts = numRanks, numGroups = 1, ...more } = given;
    const sizes = { numLayers: 1, numLogicalExperts: 1, numRanks, numNodes, numPhysicalExperts, numGroups };
    const { nodeOfRank, rankSpeed, deadRanks, failureDomains, linkClasses } = checkTopology({
      ...sizes,
      ...more,
    });
    const { slotsPerRank } = more;
    return Object.freeze({
      numRanks,
      ...(given.numNodes === undefined ? {} : { numNodes }),
      ...(given.numPhysicalExperts === undefined ? {} : { numPhysicalExperts }),
      ...(given.numGroups === undefined ? {} : { numGroups }),
      ...(slotsPerRank && { slotsPerRank: Object.freeze(slotsPerRank) }),
      ...(rankSpeed && { rankSpeed }),
      ...(deadRanks && { deadRanks }),
      ...(nodeOfRank && { nodeOfRank }),
      ...(failureDomains && { failureDomains }),
      ...(linkClasses && { linkClasses }),
    });
  } catch (error) {
    if (!isOwnError(error)) throw error;
    const own = error.message.replace(/\b(?:num|node)[A-Z]\w+/g, (name) => FILE_NAMES[name] ?? name);
    error.message = `${title}: ${own}`;
    throw error;
  }
}

/** A file does not know how many experts there are; without a slot there is no room for any. */
function checkRoom({
  numRanks,
  numPhysicalExperts = numRanks,
  slotsPerRank,
  deadRanks,
}: DeviceTopology): void {
  const dead = new Set(deadRanks);
  if (dead.size === numRanks)
    throw new EplbRangeError('EPLB_TOPOLOGY', `deadRanks: none of the ${numRanks} ranks lives`);
  for (let rank = 0; rank < numRanks; rank++) {
    // Where ranks do not divide the slots, the first ones have one more.
    const slots = slotsPerRank?.[rank] ?? numPhysicalExperts - rank;
    if (slots > 0 && !dead.has(rank)) return;
  }
  throw new EplbRangeError('EPLB_TOPOLOGY', 'slots: no rank that lives has one');
}

function readFields(value: unknown): DeviceTopology {
  if (isList(value)) throw new EplbTypeError('EPLB_KIND', 'is a list, not an object of fields');
  const file = checkOptions('its content', checkObject('its content', value as object), TOPOLOGY_FIELDS);
  // A map of a file has no prototype, and one of somebody's own may have any: only its own fields count.
  const field = (name: string): unknown => (Object.hasOwn(file, name) ? Reflect.get(file, name) : undefined);
  if (field('$schema') !== undefined) checkText('$schema', field('$schema'));
  if (field('ranks') === undefined)
    throw new EplbTypeError('EPLB_KIND', 'ranks: how many there are is missing');
  const numRanks = checkWhole('ranks', field('ranks'), 1, MOST_RANKS);
  const nodes = readNodes(field('nodes'), numRanks);
  const slots = readSlots(field('slots'), field('slotsPerRank'), numRanks);
  const groups = field('groups');
  const failureDomains = readDomains(field('failureDomains'), numRanks);
  const levels = new Map([
    ['node', nodes.nodeOfRank ?? evenNodes(numRanks, nodes.numNodes ?? 1)],
    ...Object.entries(failureDomains ?? {}),
  ]);
  const links = field('linkClasses');
  const dead = field('deadRanks');
  return {
    numRanks,
    ...nodes,
    ...slots,
    ...(groups === undefined ? {} : { numGroups: checkWhole('groups', groups, 1, MAX_SIZE) }),
    ...readSpeeds(field('rankSpeed'), numRanks),
    ...(dead === undefined ? {} : { deadRanks: ranksOfSet('deadRanks', dead, numRanks) }),
    ...(failureDomains && { failureDomains }),
    ...(links === undefined ? {} : { linkClasses: linkClassesOf('linkClasses', links, levels, numRanks) }),
  };
}

function readNodes(given: unknown, numRanks: number): Pick<DeviceTopology, 'numNodes' | 'nodeOfRank'> {
  if (given === undefined) return {};
  if (!isList(given)) return { numNodes: checkWhole('nodes', given, 1, numRanks) };
  const nodeOfRank = setOfRanks('nodes', given, 'node', numRanks);
  return { numNodes: given.length, nodeOfRank };
}

function evenNodes(numRanks: number, numNodes: number): number[] {
  const perNode = Math.ceil(numRanks / numNodes);
  return Array.from({ length: numRanks }, (_, rank) => Math.floor(rank / perNode));
}

function readSlots(
  slots: unknown,
  perRank: unknown,
  numRanks: number,
): Pick<DeviceTopology, 'numPhysicalExperts' | 'slotsPerRank'> {
  const told = slots === undefined ? undefined : checkWhole('slots', slots, 1, MAX_SIZE);
  if (perRank === undefined) return told === undefined ? {} : { numPhysicalExperts: told };
  if (!isList(perRank)) {
    const all = checkWhole('slotsPerRank', perRank, 1, Math.floor(MAX_SIZE / numRanks)) * numRanks;
    if (told === undefined || told === all) return { numPhysicalExperts: all };
    const message = `slots: ${told}, but ${numRanks} ranks of slotsPerRank ${perRank} have ${all}`;
    throw new EplbRangeError('EPLB_TOPOLOGY', message);
  }
  if (perRank.length !== numRanks) {
    const message = `slotsPerRank: has ${perRank.length} numbers, not ${numRanks}, one a rank`;
    throw new EplbRangeError('EPLB_SHAPE', message);
  }
  const most = Math.floor(MAX_SIZE / numRanks);
  const slotsPerRank = Array.from(perRank, (count, rank) =>
    checkWhole(`slotsPerRank: rank ${rank}`, count, 0, most),
  );
  // Of ranks without any slot, the check of all sizes says so.
  const all = Math.max(1, ...slotsPerRank) * numRanks;
  return { numPhysicalExperts: told ?? all, slotsPerRank };
}

function readSpeeds(given: unknown, numRanks: number): Pick<DeviceTopology, 'rankSpeed'> {
  if (given === undefined) return {};
  if (isList(given)) return { rankSpeed: Array.from(given) as number[] };
  const rankSpeed = new Array<number>(numRanks).fill(1);
  const isTold = new Uint8Array(numRanks);
  for (const [ranks, speed] of Object.entries(checkObject('rankSpeed', given as object))) {
    const title = `rankSpeed: ${quote(ranks)}`;
    for (const rank of ranksOfSet(title, ranks, numRanks)) {
      if (isTold[rank] === 1) {
        throw new EplbRangeError('EPLB_RANGE', `${title}: rank ${rank} is there twice`);
      }
      isTold[rank] = 1;
      rankSpeed[rank] = checkNumber(title, speed);
    }
  }
  return { rankSpeed };
}

function readDomains(given: unknown, numRanks: number): Record<string, number[]> | undefined {
  if (given === undefined) return undefined;
  if (isList(given)) {
    throw new EplbTypeError('EPLB_KIND', `failureDomains: ${show(given)} is not an object of levels`);
  }
  const levels = Object.entries(checkObject('failureDomains', given as object)).map(([level, sets]) => {
    const title = `failureDomains.${quote(level).slice(1, -1)}`;
    if (['rank', 'node', 'other'].includes(level)) {
      throw new EplbRangeError('EPLB_RANGE', `${title}: ${level} is a level anyway; name it otherwise`);
    }
    return [level, setOfRanks(title, sets, 'domain', numRanks)] as const;
  });
  return Object.fromEntries(levels);
}
