import { checkTopology } from '../core/check-topology.ts';
import { domainsOfRanks } from '../core/failure-domains.ts';
import type { RankOptions } from '../core/topology.ts';
import { inspectPlacement } from '../formats/placements/inspect.ts';
import { mappingOf } from '../formats/placements/mapping.ts';
import type { Placement } from '../formats/placements/placement.ts';
import { type ExpertMapping, type LoadMatrix, type Survival, survival } from '../index.ts';
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
  /** Of a topology file: nodes and levels above them. */
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
  { survive: level, ranks, nodes: numNodes = 1, rankOptions = {} }: SurviveOptions,
  loads?: LoadMatrix,
): SurvivalReport | null {
  if (level === undefined) return null;
  const numRanks = ranks ?? placement.numRanks;
  const { missing, outside, slotsPerRank } = inspectPlacement(placement, numRanks);
  if (missing !== undefined || outside !== undefined) return { level, reason: 'the placement is not valid' };
  if (numRanks === undefined || slotsPerRank === undefined)
    return { level, reason: 'the ranks are not known, or do not divide the slots' };
  const mapping = mappingOf(placement);
  const ranksOf = isPlain(rankOptions)
    ? { numRanks, numNodes }
    : {
        topology: checkTopology({
          ...sizesOf(mapping),
          numRanks,
          numNodes,
          numGroups: 1,
          ...rankOptions,
        }),
      };
  const given = { level, ...ranksOf, ...(loads === undefined ? {} : { loads }) };
  return { ...survival(mapping, given), reason: null };
}

/** Then which slots are open is told by what is in them. */
function isPlain({ slotsPerRank, deadRanks, nodeOfRank, failureDomains, rules }: RankOptions): boolean {
  return [slotsPerRank, deadRanks, nodeOfRank, failureDomains, rules].every((option) => option === undefined);
}

function sizesOf({ numLayers, numLogicalExperts, numPhysicalExperts }: ExpertMapping) {
  return { numLayers, numLogicalExperts, numPhysicalExperts };
}
