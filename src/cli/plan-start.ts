import { EplbRangeError } from '../core/errors.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import { openSlotsOfRanks } from '../core/open-slots.ts';
import { rulesOnMoreRanks } from '../core/rules.ts';
import type { Topology } from '../core/topology.ts';
import { counted } from '../formats/number-text.ts';
import { alignLayers, type LayersBeside } from '../formats/placements/align.ts';
import { mappingOf } from '../formats/placements/mapping.ts';
import { openPlacement } from '../formats/placements/open.ts';
import { quotePath } from '../formats/text.ts';
import { ExpertMapping, ranksToRetire } from '../index.ts';
import { type RankLayout, rankLayoutOf, relayRanks } from '../mapping/relay-ranks.ts';
import { sayingErrors } from './error-message.ts';
import { contradiction } from './option-values.ts';

// Plans that start from a placement of other ranks: from fewer or more of them, or of another size; and plans
// that do without some ranks.

/** What options say of the ranks that a plan starts from and that it does without. */
export interface StartOptions {
  readonly startFrom?: string;
  readonly startRanks?: number;
  readonly retire?: readonly number[];
  readonly shrinkTo?: number;
}

/** A placement to start from, on its own ranks. */
export interface PlanStart {
  readonly mapping: ExpertMapping;
  readonly layout: RankLayout;
  /** What was assumed, one sentence each. */
  readonly notes: readonly string[];
}

/** What is planned: on all ranks that there were or are to be, laid out for the larger of both. */
export interface PlanLayout {
  /** Of the plan: slots of ranks that retire, or are only in what it starts from, are closed. */
  readonly topology: Topology;
  /** Of the result: as asked for, ranks that retire being dead. */
  readonly asked: Topology;
  /** Whether the plan has other ranks or slots than what it starts from: neither can take its place. */
  readonly isOther: boolean;
  /** Ranks that retire: those that were asked for, or that the plan chose. */
  readonly retired: readonly number[];
  /** The placement to start from, laid out as the plan. */
  readonly previous: ExpertMapping | undefined;
}

/** @throws EplbRangeError EPLB_OPTION for options that cannot go together */
export function checkStartOptions({ startFrom, startRanks, retire, shrinkTo }: StartOptions): void {
  if (retire !== undefined && shrinkTo !== undefined)
    throw contradiction('--shrink-to: it chooses the ranks that --retire names; give one of both');
  if (startFrom !== undefined) return;
  if (startRanks !== undefined)
    throw contradiction('--start-ranks: says how many ranks --start-from has; give that as well');
  if (shrinkTo !== undefined)
    throw contradiction('--shrink-to: which ranks are to stay depends on what they have; give --start-from');
}

/**
 * Reads the placement to start from, of any known format and any number of ranks and slots.
 *
 * @param asked - what is planned: its layers, experts, and slots of a rank
 * @param layers - the layers that are planned: a placement may have more
 * @throws EplbError EPLB_FILE or EPLB_FORMAT, EplbTypeError EPLB_KIND, EplbRangeError EPLB_SHAPE when it does
 *   not fit, or it is not known how many ranks it has,
 *   EPLB_MAPPING when an expert is missing or a slot holds something that is not an expert
 */
export async function readPlanStart(
  path: string,
  asked: Topology,
  layers: LayersBeside,
  startRanks: number | undefined,
): Promise<PlanStart> {
  const name = `--start-from: ${quotePath(path)}`;
  const { numLogicalExperts, numPhysicalExperts, numRanks } = asked;
  const read = await openPlacement(path, { field: '--start-from', numExperts: numLogicalExperts });
  const placement = alignLayers(read, layers, name);
  const slots = placement.numPhysicalExperts;
  const stride = numPhysicalExperts / numRanks;
  const isAlike = slots === numPhysicalExperts;
  const ranks = startRanks ?? placement.numRanks ?? (isAlike ? numRanks : slots / stride);
  const isTold = startRanks !== undefined || placement.numRanks !== undefined || isAlike;
  if (!Number.isInteger(ranks)) {
    const { numLayers } = placement;
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${name}: it has ${counted(numLayers, 'layer')} and ${slots} slots; the plan has ` +
        `${counted(asked.numLayers, 'layer')} and ${numPhysicalExperts} slots, ${stride} a rank: ` +
        'say how many ranks it has (--start-ranks)',
    );
  }
  if (slots % ranks !== 0) {
    const message = `${name}: it has ${slots} slots, no multiple of ${ranks} ranks`;
    throw new EplbRangeError('EPLB_SHAPE', message);
  }
  const say = (message: string) => (message.startsWith(name) ? message : `${name}: ${message}`);
  return {
    mapping: sayingErrors(say, () => mappingOf(placement)),
    layout: { numRanks: ranks, slotsPerRank: slots / ranks },
    notes: isTold ? [] : [`the placement to start from is taken for ${ranks} ranks of ${stride} slots`],
  };
}

/**
 * Lays a plan out.
 *
 * @throws EplbRangeError EPLB_RANGE for a rank that there is not, EPLB_TOPOLOGY for one that both start and
 *   plan lack
 */
export function planLayout(
  asked: Topology,
  start: PlanStart | undefined,
  { retire = [], shrinkTo }: StartOptions,
): PlanLayout {
  const { numRanks } = asked;
  const own = rankLayoutOf(asked);
  const whole: RankLayout = {
    numRanks: Math.max(numRanks, start?.layout.numRanks ?? 0),
    slotsPerRank: Math.max(own.slotsPerRank, start?.layout.slotsPerRank ?? 0),
  };
  const outside = retire.find((rank) => rank >= numRanks);
  if (outside !== undefined) {
    const message = `--retire: ${outside} is not a rank; there are ranks 0 to ${numRanks - 1}`;
    throw new EplbRangeError('EPLB_RANGE', message);
  }
  const previous = start && relaid(start.mapping, start.layout, whole);
  const retired =
    shrinkTo === undefined || previous === undefined
      ? [...retire].sort((a, b) => a - b)
      : chosenRanks(start!, asked, shrinkTo);
  const open = openSlotsOfRanks(asked).map((slots, rank) => (retired.includes(rank) ? 0 : slots));
  if (retired.length > 0) checkRoom(open, asked, shrinkTo === undefined ? '--retire' : '--shrink-to');
  const isClosed = open.some((slots) => slots < own.slotsPerRank);
  const deadRanks = [...new Set([...(asked.deadRanks ?? []), ...retired])].sort((a, b) => a - b);
  const dead = deadRanks.length === 0 ? {} : { deadRanks };
  const result = { ...asked, ...(isClosed ? { slotsPerRank: open } : {}), ...dead };
  const isOther = retired.length > 0 || (start !== undefined && !isSame(start.layout, own));
  return { topology: wholeTopology(result, own, whole, open), asked: result, isOther, retired, previous };
}

/** Ranks that the plan has, and that retire in it. */
function chosenRanks(start: PlanStart, asked: Topology, shrinkTo: number): number[] {
  const { numRanks, deadRanks = [] } = asked;
  const numLive = numRanks - deadRanks.length;
  if (shrinkTo > numLive) {
    const those = deadRanks.length === 0 ? `of --ranks` : `that live`;
    const message = `--shrink-to: ${shrinkTo} ranks are more than the ${numLive} ${those}`;
    throw new EplbRangeError('EPLB_RANGE', message);
  }
  if (start.layout.numRanks !== numRanks) {
    throw contradiction(
      `--shrink-to: it chooses from the ${start.layout.numRanks} ranks of --start-from; give --ranks as many`,
    );
  }
  return ranksToRetire(start.mapping, {
    numRanks,
    shrinkTo,
    deadRanks,
    slotsPerRank: openSlotsOfRanks(asked),
  });
}

function checkRoom(open: readonly number[], { numLogicalExperts }: Topology, option: string): void {
  const slots = open.reduce((sum, count) => sum + count, 0);
  if (slots >= numLogicalExperts) return;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `${option}: the ranks that stay have ${slots} slots for ${numLogicalExperts} experts, ` +
      `${numLogicalExperts - slots} too few`,
  );
}

/** The topology of the plan: what it starts from may have more ranks, and more slots a rank. */
function wholeTopology(
  result: Topology,
  own: RankLayout,
  whole: RankLayout,
  open: readonly number[],
): Topology {
  const { numRanks, slotsPerRank } = whole;
  if (isSame(whole, own)) return result;
  const nodes = [...nodesOfRanks(result)];
  // Which node a rank was on that is gone is not known: it counts as on the last one.
  for (let rank = own.numRanks; rank < numRanks; rank++) nodes.push(result.numNodes - 1);
  const { linkClasses: _links, rankSpeed, failureDomains, rules, ...sizes } = result;
  // What else is not known of it does not matter: nothing stays there.
  const padded = <T>(list: readonly T[], value: T) =>
    Array.from({ length: numRanks }, (_, rank) => list[rank] ?? value);
  const levels = Object.entries(failureDomains ?? {});
  return {
    ...sizes,
    ...(rankSpeed && { rankSpeed: padded(rankSpeed, 1) }),
    ...(rules && { rules: rulesOnMoreRanks(rules, own.numRanks, numRanks) }),
    failureDomains: Object.fromEntries(levels.map(([name, list]) => [name, padded(list, list.at(-1)!)])),
    numRanks,
    numPhysicalExperts: numRanks * slotsPerRank,
    nodeOfRank: nodes,
    slotsPerRank: Array.from({ length: numRanks }, (_, rank) => open[rank] ?? 0),
  };
}

function isSame(one: RankLayout, other: RankLayout): boolean {
  return one.numRanks === other.numRanks && one.slotsPerRank === other.slotsPerRank;
}

/** A mapping laid out for other ranks. @throws EplbRangeError EPLB_MAPPING where an expert goes missing */
export function relaid(mapping: ExpertMapping, before: RankLayout, after: RankLayout): ExpertMapping {
  const { numLayers, numLogicalExperts } = mapping;
  if (isSame(before, after)) return mapping;
  const phyToLog = relayRanks(mapping.phyToLog, numLayers, before, after);
  return new ExpertMapping({ phyToLog, numLayers, numLogicalExperts });
}
