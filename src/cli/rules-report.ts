import { checkTopology } from '../core/check-topology.ts';
import { withTakenSlots } from '../core/rules.ts';
import type { RankOptions } from '../core/topology.ts';
import { counted } from '../formats/number-text.ts';
import { inspectPlacement } from '../formats/placements/inspect.ts';
import { mappingOf } from '../formats/placements/mapping.ts';
import type { Placement } from '../formats/placements/placement.ts';
import { type BrokenRule, brokenRules } from '../index.ts';
import type { Colors } from './colors.ts';
import { factLines } from './fact-list.ts';
import { PlainTable } from './plain-table.ts';

/** Where a placement breaks rules; `reason` tells why that is not known. */
export type RulesReport =
  | { readonly reason: null; readonly broken: readonly BrokenRule[] }
  | { readonly reason: string };

/** Broken rules that are printed; `--json` has all of them. */
const MOST_PRINTED = 32;

/**
 * Where a placement breaks the rules that options name; null where they name none.
 *
 * @throws as `checkTopology` for rules that do not fit the placement, or that none keeps
 */
export function reportRules(
  placement: Placement,
  { ranks, rankOptions = {} }: { readonly ranks?: number; readonly rankOptions?: RankOptions },
): RulesReport | null {
  if (rankOptions.rules === undefined) return null;
  const numRanks = ranks ?? placement.numRanks;
  const { missing, outside, slotsPerRank } = inspectPlacement(placement, numRanks);
  if (missing !== undefined || outside !== undefined) return { reason: 'the placement is not valid' };
  if (numRanks === undefined || slotsPerRank === undefined)
    return { reason: 'the ranks are not known, or do not divide the slots' };
  const mapping = mappingOf(placement);
  const { numLayers, numLogicalExperts, numPhysicalExperts } = mapping;
  const topology = checkTopology({
    ...{ numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes: 1, numGroups: 1 },
    ...(rankOptions.slotsPerRank && { slotsPerRank: rankOptions.slotsPerRank }),
    ...(rankOptions.deadRanks && { deadRanks: rankOptions.deadRanks }),
    rules: rankOptions.rules,
  });
  return { reason: null, broken: brokenRules(mapping, topology) };
}

/** A placement has as many slots as it has, whatever a shared expert takes. */
export function withoutTaking(rankOptions: RankOptions): RankOptions {
  const { rules } = rankOptions;
  return rules === undefined ? rankOptions : { ...rankOptions, rules: withTakenSlots(rules) };
}

const WORDS: Readonly<Record<BrokenRule['rule'], string>> = {
  missing: 'is pinned to the rank, which has no copy',
  elsewhere: 'is pinned to other ranks only',
  replicated: 'may have no further copy',
};

/** The same for people. */
export function renderRules(report: RulesReport, colors: Colors): string {
  if (report.reason !== null) return factLines([['rules', `not known: ${report.reason}`]], colors);
  const { broken } = report;
  if (broken.length === 0) return factLines([['rules', 'kept in all layers']], colors);
  const layers = new Set(broken.map(({ layer }) => layer)).size;
  const facts = factLines(
    [['rules', `broken ${counted(broken.length, 'time')}, in ${counted(layers, 'layer')}`]],
    colors,
  );
  const table = new PlainTable(['right', 'right', 'right', 'left'], 2);
  table.push(['layer', 'expert', 'rank', ''].map(colors.bold));
  for (const { layer, expert, rank, rule } of broken.slice(0, MOST_PRINTED))
    table.push([String(layer), String(expert), String(rank), WORDS[rule]]);
  const more = broken.length > MOST_PRINTED ? ` and ${broken.length - MOST_PRINTED} more, see --json\n` : '';
  return `${facts}\n${table.toString().replace(/ +$/gm, '')}\n${more}`;
}
