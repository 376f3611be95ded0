import { checkTopology } from '../core/check-topology.ts';
import { checkWhole } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import { openSlotsOfRanks } from '../core/open-slots.ts';
import type { BrokenRule } from '../core/rule-book.ts';
import { rulesWithin, slotsToTake } from '../core/rules.ts';
import { MAX_SIZE, RANK_OPTIONS, type RankOptions, type Topology } from '../core/topology.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { OrphanLoad } from '../policy/repair/repair.ts';

/**
 * What becomes of a live balancer's ranks: what is left out stays as it is.
 *
 * With more ranks than before the last ones are new: they have as many slots as a rank has in the tables, the
 * usual speed, and are on nodes as large as the others. With fewer ranks the last ones are gone.
 */
export interface TopologyChange extends RankOptions {
  readonly numRanks?: number;
  readonly numNodes?: number;
}

/** What a change of the topology made of the live mapping. */
export interface TopologyChanged {
  /** The live mapping now: experts that no rank had any more are in slots that others could spare. */
  readonly mapping: ExpertMapping;
  /** How often the live mapping was replaced: one more than before. */
  readonly generation: number;
  /** Weights to load from the host, or from disk: until then nobody has these experts. */
  readonly hostLoads: readonly OrphanLoad[];
  /** Where the live mapping breaks rules until the next plan: no slot could be spared for them. */
  readonly brokenRules: readonly BrokenRule[];
}

/** A topology, and the same if no rank were dead. */
export interface TopologyPair {
  readonly topology: Topology;
  readonly whole: Topology;
}

const NAMES = ['numRanks', 'numNodes', ...RANK_OPTIONS];

/**
 * The topology that a change leads to.
 *
 * @throws EplbTypeError, EplbRangeError, naming the option; EplbRangeError `EPLB_TOPOLOGY` when the live
 * ranks have fewer open slots than there are experts
 */
export function changedTopology({ topology, whole }: TopologyPair, change: TopologyChange): TopologyPair {
  // Each is read once.
  const given = { ...checkOptions('change', change, NAMES) };
  const numRanks = checkWhole('numRanks', given.numRanks ?? whole.numRanks, 1, MAX_SIZE);
  const stride = whole.numPhysicalExperts / whole.numRanks;
  const slotsPerRank = given.slotsPerRank ?? lengthened(slotsWithTaken(whole), numRanks, stride);
  const rules = given.rules ?? (whole.rules && rulesWithin(whole.rules, numRanks));
  const most = Array.isArray(slotsPerRank) ? slotsPerRank.filter(Number.isSafeInteger) : [];
  const { numLayers, numLogicalExperts, numGroups } = whole;
  const deadRanks = given.deadRanks ?? topology.deadRanks?.filter((rank) => rank < numRanks);
  const sizes = {
    ...{ numLayers, numLogicalExperts, numGroups, numRanks },
    numPhysicalExperts: Math.max(stride, ...most) * numRanks,
    slotsPerRank,
    rankSpeed: given.rankSpeed ?? lengthened(whole.rankSpeed, numRanks, 1),
    ...(rules && { rules }),
    ...changedNodes(whole, numRanks, given),
    ...changedPairs(whole, numRanks, given),
  };
  const next = checkTopology(sizes, { isWithoutDead: deadRanks !== undefined });
  return { whole: next, topology: deadRanks === undefined ? next : checkTopology({ ...next, deadRanks }) };
}

/** `[ranks]`: the open slots with those that a shared expert has taken; undefined where all are open. */
function slotsWithTaken(whole: Topology): number[] | undefined {
  const { rules, numRanks } = whole;
  const taken = rules && slotsToTake(rulesWithin(rules, numRanks), numRanks);
  if (taken === undefined) return whole.slotsPerRank && [...whole.slotsPerRank];
  return openSlotsOfRanks(whole).map((open, rank) => open + taken[rank]!);
}

/** A list of all ranks, made as long as there are ranks now. */
function lengthened(list: readonly number[] | undefined, numRanks: number, usual: number): number[] {
  return Array.from({ length: numRanks }, (_, rank) => list?.[rank] ?? usual);
}

function changedNodes(
  whole: Topology,
  numRanks: number,
  { numNodes, nodeOfRank }: TopologyChange,
): Pick<Topology, 'numNodes' | 'nodeOfRank'> {
  if (nodeOfRank !== undefined) {
    const last: unknown = Array.isArray(nodeOfRank) ? nodeOfRank.at(-1) : undefined;
    return { numNodes: numNodes ?? (Number.isSafeInteger(last) ? Number(last) + 1 : 1), nodeOfRank };
  }
  if (numNodes !== undefined) return { numNodes };
  if (whole.numNodes === 1) return { numNodes: 1 };
  const nodes = [...nodesOfRanks(whole)];
  const perNode = nodes.filter((node) => node === 0).length;
  for (let last = nodes.at(-1)!; nodes.length < numRanks; last = nodes.at(-1)!) {
    const isFull = nodes.length - nodes.indexOf(last) >= perNode;
    nodes.push(isFull ? last + 1 : last);
  }
  const kept = nodes.slice(0, numRanks);
  return { numNodes: kept.at(-1)! + 1, nodeOfRank: kept };
}

/** What is known of pairs of ranks, and of what fails together, cannot be guessed of new ranks. */
function changedPairs(
  whole: Topology,
  numRanks: number,
  given: TopologyChange,
): Pick<Topology, 'failureDomains' | 'linkClasses'> {
  for (const name of ['failureDomains', 'linkClasses'] as const) {
    if (numRanks <= whole.numRanks || given[name] !== undefined || whole[name] === undefined) continue;
    throw new EplbRangeError('EPLB_SHAPE', `${name}: say those of all ${numRanks} ranks, the new ones too`);
  }
  const levels = Object.entries(whole.failureDomains ?? {});
  const failureDomains =
    given.failureDomains ??
    Object.fromEntries(levels.map(([name, domains]) => [name, domains.slice(0, numRanks)]));
  const linkClasses =
    given.linkClasses ?? whole.linkClasses?.slice(0, numRanks).map((row) => row.slice(0, numRanks));
  return { failureDomains, ...(linkClasses && { linkClasses }) };
}
