import { checkNumber, checkNumbered, checkWhole, slotsPerRankOf } from '../../core/checks.ts';
import { EplbRangeError } from '../../core/errors.ts';
import { checkOptions } from '../../core/known-keys.ts';
import { checkNodes, firstRanksOfNodes } from '../../core/nodes.ts';
import { emptyClosedSlots } from '../../core/open-slots.ts';
import type { PlacementRules } from '../../core/placement-rules.ts';
import { checkRankSpeed, checkSlotsPerRank } from '../../core/rank-options.ts';
import { type BrokenRule, ruleBookOf, rulesWithout } from '../../core/rule-book.ts';
import { checkRules, sharedLoads, withTakenSlots } from '../../core/rules.ts';
import { MAX_SIZE, type Topology } from '../../core/topology.ts';
import { type LoadMatrix, type LoadsInput, toCheckedLoads } from '../../loads/load-matrix.ts';
import { checkMapping, type ExpertMapping, tablesOf } from '../../mapping/expert-mapping.ts';
import { mappingOfSlots } from '../../mapping/mapping-of-slots.ts';
import { reachedSlots } from '../../mapping/reached-slots.ts';
import { zeros } from '../../memory/allocate.ts';
import { AdaptiveEplbPolicy } from '../adaptive/policy.ts';
import { brokenInTable } from '../broken-rules.ts';
import { OrphanPlacer } from './orphans.ts';
import { keepSurvivorsInPlace, takeBackMoves } from './settle-moves.ts';

/** What {@link repair} may do, and with what. */
export interface RepairOptions {
  /** Ranks of the mapping, the dead ones among them: its slots are a multiple. */
  readonly numRanks: number;
  /** Nodes of consecutive ranks. Default 1. */
  readonly numNodes?: number;
  /** `[ranks]`: the node of each, where they do not have equally many: see `Topology.nodeOfRank`. */
  readonly nodeOfRank?: readonly number[];
  /** Ranks that do not answer any more. Their slots are lost. */
  readonly deadRanks?: readonly number[];
  /** Nodes whose ranks are all dead. */
  readonly deadNodes?: readonly number[];
  /**
   * `[layers x logical]`: what experts are expected to get, for where they go. Default: all alike. Not kept.
   */
  readonly loads?: LoadsInput;
  /**
   * `[ranks]`: how many slots of each rank may hold an expert, the first ones. Default: as many of each live
   * rank as reach to its last expert in any layer.
   */
  readonly slotsPerRank?: readonly number[];
  /** `[ranks]`: how fast each is: see `Topology.rankSpeed`. Default: all alike. */
  readonly rankSpeed?: readonly number[];
  /**
   * The user's own rules: see `Topology.rules`. They are kept where the slots of live ranks allow it; pins to
   * dead ranks rest. `slotsPerRank`, where it is given, is without the slots of a shared expert.
   */
  readonly rules?: PlacementRules;
  /**
   * Moves between live ranks, over all layers, that may buy balance beyond what has to be. Default 0: weights
   * come from the host alone.
   */
  readonly maxMoves?: number;
}

/** An expert that no live rank has, and the slot that its weights are loaded into. */
export interface OrphanLoad {
  readonly layer: number;
  readonly expert: number;
  readonly rank: number;
  /** Counted within the rank. */
  readonly slot: number;
}

/** What {@link repair} gives. */
export interface Repair {
  /** As large as the one before; the slots of dead ranks are -1. */
  readonly mapping: ExpertMapping;
  /** One for each expert without a copy on a live rank, by layer, rank and slot: no fewer are possible. */
  readonly hostLoads: readonly OrphanLoad[];
  /** Slots whose expert comes from another live rank: at most `maxMoves`. */
  readonly moves: number;
  /** Where the mapping breaks rules: it had broken them before, or there was no other slot. */
  readonly brokenRules: readonly BrokenRule[];
}

const OPTIONS = [
  'numRanks',
  'numNodes',
  'nodeOfRank',
  'rankSpeed',
  'rules',
  'deadRanks',
  'deadNodes',
  'loads',
  'slotsPerRank',
  'maxMoves',
];

/**
 * Makes a mapping that has lost ranks whole again: experts whose last copy is gone take slots of copies that
 * can be spared. It needs no communication, as everyone who calls it with the same arguments gets the same
 * bytes. Runs in the calling thread. With `maxMoves`, it also searches for balance, like the adaptive policy
 * with free moves.
 *
 * @param mapping the live mapping from before the ranks died; it is not changed
 * @throws EplbTypeError, EplbRangeError for wrong arguments; EplbRangeError `EPLB_TOPOLOGY` when the live
 *   ranks have fewer slots than there are experts
 * @example
 * ```ts
 * const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0, 0, 1]]);
 * const repaired = repair(mapping, { numRanks: 3, deadRanks: [1] });
 * repaired.mapping.phyToLog; // [2, 1, -1, -1, 0, 1]
 * repaired.hostLoads; // [{ layer: 0, expert: 2, rank: 0, slot: 0 }]
 * ```
 */
export function repair(mapping: ExpertMapping, options: RepairOptions): Repair {
  checkMapping('mapping', mapping);
  const given = readOptions(mapping, options);
  const tables = tablesOf(mapping);
  const { numLayers, numPhysicalExperts, numLogicalExperts } = tables;
  const slots = zeros('repair: a mapping', Int32Array, tables.phyToLog.length);
  slots.set(tables.phyToLog);
  const { numRanks, openSlots: slotsPerRank } = given;
  emptyClosedSlots(slots, { numPhysicalExperts, numRanks, slotsPerRank });
  const survivors = slots.slice();
  const orphans = placeOrphans(slots, given);
  const repaired = mappingOfSlots({ numLayers, numPhysicalExperts, numLogicalExperts }, slots);
  const broken = brokenIn(slots, given);
  const found = { mapping: repaired, ...sourcesOf(repaired, survivors, orphans, numRanks) };
  if (given.maxMoves === 0) return { ...found, brokenRules: broken };
  const stride = numPhysicalExperts / numRanks;
  const kept = { survivors, repaired: tablesOf(repaired).phyToLog, stride };
  const planned = tablesOf(improved(repaired, given, broken)).phyToLog.slice();
  keepSurvivorsInPlace(planned, kept);
  const measured = () => {
    const better = mappingOfSlots({ numLayers, numPhysicalExperts, numLogicalExperts }, planned.slice());
    return { mapping: better, ...sourcesOf(better, survivors, orphans, numRanks) };
  };
  const excess = measured().moves - given.maxMoves;
  if (excess > 0 && takeBackMoves(planned, excess, numLayers, kept) > 0)
    return { ...found, brokenRules: broken };
  return { ...measured(), brokenRules: brokenIn(planned, given) };
}

/** A placement of which only some slots are still there. */
export interface DamagedPlacement {
  /** `[layers x logical]` */
  readonly loads: LoadMatrix;
  /** `[ranks]`: the first so many slots of each may hold an expert; 0 of a dead rank. */
  readonly openSlots: readonly number[];
  /** `[ranks]` */
  readonly rankSpeed?: readonly number[] | undefined;
  readonly deadRanks?: readonly number[] | undefined;
  /** Checked. */
  readonly rules?: PlacementRules | undefined;
}

/**
 * Makes a mapping of what is left of one: see {@link repair}.
 *
 * @param slots `[layers x physical]`: -1 where nothing is left, and in closed slots; changed, and then the
 * mapping's
 */
export function repairSlots(slots: Int32Array, damaged: DamagedPlacement): Omit<Repair, 'moves'> {
  const { numLayers, numExperts: numLogicalExperts } = damaged.loads;
  const survivors = slots.slice();
  const orphans = placeOrphans(slots, damaged);
  const numPhysicalExperts = slots.length / numLayers;
  const mapping = mappingOfSlots({ numLayers, numPhysicalExperts, numLogicalExperts }, slots);
  const { hostLoads } = sourcesOf(mapping, survivors, orphans, damaged.openSlots.length);
  return { mapping, hostLoads, brokenRules: brokenIn(slots, damaged) };
}

/** @returns of each layer, the experts that had no copy left and have one now */
function placeOrphans(slots: Int32Array, damaged: DamagedPlacement): number[][] {
  const { loads, openSlots, rankSpeed } = damaged;
  const { data, numLayers, numExperts } = loads;
  const width = slots.length / numLayers;
  const topology = ruledTopology(slots, damaged);
  const book = topology.rules && ruleBookOf(topology);
  const sharedLoad = topology.rules && sharedLoads(topology);
  const placer = new OrphanPlacer(numExperts, width, openSlots.length);
  return Array.from({ length: numLayers }, (_, layer) =>
    placer
      .place({
        slots: slots.subarray(layer * width, (layer + 1) * width),
        loads: data.subarray(layer * numExperts, (layer + 1) * numExperts),
        openSlots,
        rankSpeed,
        sharedLoad,
        pins: book?.layer(layer).pins,
      })
      .map(({ expert }) => expert),
  );
}

/** What is known of the ranks and of the rules for them. */
function ruledTopology(slots: Int32Array, { loads, openSlots, deadRanks, rules }: DamagedPlacement) {
  const { numLayers, numExperts: numLogicalExperts } = loads;
  const numPhysicalExperts = slots.length / numLayers;
  const sizes = { numLayers, numLogicalExperts, numPhysicalExperts, numRanks: openSlots.length };
  return { ...sizes, slotsPerRank: openSlots, ...(deadRanks && { deadRanks }), ...(rules && { rules }) };
}

function brokenIn(slots: Int32Array, damaged: DamagedPlacement): BrokenRule[] {
  return damaged.rules === undefined ? [] : brokenInTable(slots, ruledTopology(slots, damaged));
}

/** Options, checked, each read once. */
interface RepairSettings {
  readonly nodes: Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank'>;
  readonly numRanks: number;
  readonly loads: LoadMatrix;
  readonly openSlots: readonly number[];
  readonly rankSpeed: readonly number[] | undefined;
  readonly deadRanks: readonly number[];
  readonly rules: PlacementRules | undefined;
  readonly maxMoves: number;
}

function readOptions(mapping: ExpertMapping, options: RepairOptions): RepairSettings {
  const given = checkOptions('options', options, OPTIONS);
  const { deadRanks = [], deadNodes = [], loads, slotsPerRank, maxMoves = 0 } = given;
  const { numLayers, numLogicalExperts, numPhysicalExperts, phyToLog } = tablesOf(mapping);
  const numRanks = checkWhole('numRanks', given.numRanks, 1, MAX_SIZE);
  const stride = slotsPerRankOf(numPhysicalExperts, numRanks);
  const numNodes = checkWhole('numNodes', given.numNodes ?? 1, 1, MAX_SIZE);
  const nodeOfRank = checkNodes(given.nodeOfRank, { numRanks, numNodes });
  const nodes = { numRanks, numNodes, ...(nodeOfRank && { nodeOfRank }) };
  const dead = new Uint8Array(numRanks);
  for (const rank of checkNumbered('deadRanks', deadRanks, 'ranks', numRanks)) dead[rank] = 1;
  const firstRanks = firstRanksOfNodes(nodes);
  for (const node of checkNumbered('deadNodes', deadNodes, 'nodes', numNodes)) {
    dead.fill(1, firstRanks[node], firstRanks[node + 1]);
  }
  const sizes = { numPhysicalExperts, numRanks, numLogicalExperts };
  const open =
    slotsPerRank === undefined
      ? reachedSlots(phyToLog, stride, numRanks)
      : (checkSlotsPerRank(slotsPerRank, sizes) ?? new Array<number>(numRanks).fill(stride));
  const openSlots = open.map((count, rank) => (dead[rank] === 1 ? 0 : count));
  const total = openSlots.reduce((sum, count) => sum + count, 0);
  if (total < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `deadRanks: the live ranks have ${total} open slots for ${numLogicalExperts} experts, ` +
        `${numLogicalExperts - total} too few`,
    );
  }
  const isUnlimited = maxMoves === Number.POSITIVE_INFINITY;
  return {
    nodes,
    numRanks,
    openSlots,
    rankSpeed: checkRankSpeed(given.rankSpeed, { numRanks }),
    deadRanks: Array.from(dead.keys()).filter((rank) => dead[rank] === 1),
    rules: given.rules && checkRules(given.rules, { numLayers, ...sizes }),
    loads:
      loads === undefined
        ? alike(numLayers, numLogicalExperts)
        : toCheckedLoads('loads', loads, numLayers, numLogicalExperts),
    maxMoves: isUnlimited ? maxMoves : checkWhole('maxMoves', checkNumber('maxMoves', maxMoves), 0),
  };
}

function alike(numLayers: number, numExperts: number): LoadMatrix {
  return { data: zeros('loads', Float32Array, numLayers * numExperts).fill(1), numLayers, numExperts };
}

/** The repaired mapping with moves that make the slowest ranks faster. What it broke stays broken. */
function improved(
  repaired: ExpertMapping,
  given: RepairSettings,
  broken: readonly BrokenRule[],
): ExpertMapping {
  const { nodes, numRanks, loads, openSlots, rankSpeed, deadRanks, maxMoves } = given;
  const rules = given.rules && rulesWithout(withTakenSlots(given.rules), broken, tablesOf(repaired));
  const limit = Number.isFinite(maxMoves) ? { maxMoves } : {};
  const policy = new AdaptiveEplbPolicy({ price: 0, ...limit });
  const { numLayers, numPhysicalExperts, numLogicalExperts } = tablesOf(repaired);
  const sizes = { numLayers, numPhysicalExperts, numLogicalExperts, numGroups: 1 };
  const topology = { ...sizes, ...nodes, slotsPerRank: openSlots, ...(rankSpeed && { rankSpeed }) };
  const context = { previous: repaired, topology: { ...topology, ...(rules && { rules, deadRanks }) } };
  return policy.rebalanceExperts(loads, numPhysicalExperts, 1, nodes.numNodes, numRanks, context);
}

/** Where the weights of a mapping come from, by what the live ranks still have. */
function sourcesOf(
  planned: ExpertMapping,
  survivors: Int32Array,
  orphans: readonly (readonly number[])[],
  numRanks: number,
): Pick<Repair, 'hostLoads' | 'moves'> {
  const { numPhysicalExperts, phyToLog } = tablesOf(planned);
  const stride = numPhysicalExperts / numRanks;
  const hostLoads: OrphanLoad[] = [];
  let moves = 0;
  orphans.forEach((lost, layer) => {
    const missing = new Set(lost);
    const first = layer * numPhysicalExperts;
    for (let rank = 0; rank < numRanks; rank++) {
      const start = first + rank * stride;
      const has = new Set(survivors.subarray(start, start + stride));
      for (let slot = 0; slot < stride; slot++) {
        const expert = phyToLog[start + slot]!;
        if (expert < 0 || has.has(expert)) continue;
        if (missing.delete(expert)) {
          hostLoads.push({ layer, expert, rank, slot });
          has.add(expert);
        } else moves++;
      }
    }
  });
  return { hostLoads, moves };
}
