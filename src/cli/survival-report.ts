import { checkTopology } from '../core/check-topology.ts';
import { domainsOfRanks } from '../core/failure-domains.ts';
import { slotsToTake } from '../core/rules.ts';
import type { RankOptions } from '../core/topology.ts';
import { inspectPlacement } from '../formats/placements/inspect.ts';
import { mappingOf } from '../formats/placements/mapping.ts';
import type { Placement } from '../formats/placements/placement.ts';
import { type LoadMatrix, type Survival, survival } from '../index.ts';
import { reachedSlots } from '../mapping/reached-slots.ts';
import { sayingErrors } from './error-message.ts';
import { contradiction } from './option-values.ts';

/** What a placement loses by a single failure; `reason` tells why there are no figures. */
export type SurvivalReport =
  | (Survival & { readonly reason: null })
  | { readonly level: string; readonly reason: string };

/** What the options say of failures. */
export interface SurviveOptions {
  readonly survive?: string;
  readonly ranks?: number;
  readonly nodes?: number;
  /** Of a topology file: slots over all ranks. */
  readonly slots?: number;
  /** Of a topology file: which slots are open, nodes and levels above them. */
  readonly rankOptions?: RankOptions;
}

/**
 * @throws EplbRangeError EPLB_RANGE for a level that there is not, EPLB_OPTION where nobody says which ranks
 *   share a node, or that is not asked for
 */
export function checkSurviveOptions({
  survive,
  nodes,
  rankOptions: { failureDomains } = {},
}: SurviveOptions): void {
  const levels = failureDomains && { failureDomains };
  if (survive !== undefined) domainsOfRanks({ numRanks: 1, numNodes: 1, ...levels }, survive, '--survive');
  if (survive === 'node' && nodes === undefined)
    throw contradiction('--survive: which ranks share a node is not known; give --nodes as well');
  if (survive === undefined && nodes !== undefined)
    throw contradiction('--nodes: says what fails together; give --survive as well');
}

/**
 * What is lost by a failure; null where it is not asked for.
 *
 * @throws EplbRangeError EPLB_TOPOLOGY where nodes do not divide ranks
 */
export function reportSurvival(
  placement: Placement,
  options: SurviveOptions,
  loads?: LoadMatrix,
): SurvivalReport | null {
  const { survive: level, ranks, nodes: numNodes = 1, rankOptions = {} } = options;
  if (level === undefined) return null;
  const numRanks = ranks ?? placement.numRanks;
  const { missing, outside, slotsPerRank } = inspectPlacement(placement, numRanks);
  if (missing !== undefined || outside !== undefined) return { level, reason: 'the placement is not valid' };
  if (numRanks === undefined || slotsPerRank === undefined)
    return { level, reason: 'the ranks are not known, or do not divide the slots' };
  const mapping = mappingOf(placement);
  const { numLayers, numLogicalExperts, numPhysicalExperts, phyToLog } = mapping;
  const reached = reachedSlots(phyToLog, numPhysicalExperts / numRanks, numRanks);
  const topology = checkTopology({
    ...{ numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups: 1 },
    ...rankOptions,
    ...openSlots(options, reached, numPhysicalExperts / numRanks),
  });
  const given = { level, topology, ...(loads === undefined ? {} : { loads }) };
  return sayingErrors(
    (message) => message.replace(/^mapping: /, 'placement: '),
    () => ({ ...survival(mapping, given), reason: null }),
  );
}

/**
 * Which slots are open, where not all are: without a file that says so those that the placement reaches.
 * Where a shared expert has some, the file may count them or not: what is in a slot tells.
 */
function openSlots(
  { slots, rankOptions: { slotsPerRank, rules } = {} }: SurviveOptions,
  reached: readonly number[],
  stride: number,
): { readonly slotsPerRank?: readonly number[]; readonly numPhysicalExperts?: number } {
  const shared = rules?.sharedExpert;
  const taken =
    shared && slotsToTake({ sharedExpert: { slots: 1, ...shared, isTaken: false } }, reached.length);
  if (taken !== undefined) {
    const left = (rank: number) => (slotsPerRank?.[rank] ?? stride) - taken[rank]!;
    return { slotsPerRank: reached.map((count, rank) => Math.max(count, left(rank))) };
  }
  if (slots !== undefined) return { numPhysicalExperts: slots };
  // Pins may name ranks that have nothing.
  return slotsPerRank === undefined && rules?.pinned === undefined ? { slotsPerRank: reached } : {};
}
