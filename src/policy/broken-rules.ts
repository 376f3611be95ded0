import { checkTopology } from '../core/check-topology.ts';
import { type BrokenRule, brokenInLayer, ruleBookOf } from '../core/rule-book.ts';
import type { Topology } from '../core/topology.ts';
import { checkShape } from '../mapping/check-shape.ts';
import { checkMapping, type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';

/**
 * Finds where a mapping breaks the rules of its topology: experts that lack a copy on a rank, or have one
 * that they must not have. Pins to dead ranks do not apply.
 *
 * @returns the breaks by layer, expert and rank; empty if all rules are kept, or if there are none
 * @throws EplbTypeError, EplbRangeError for wrong arguments; EplbRangeError `EPLB_RULES` for rules that no
 *   placement can keep
 * @example
 * ```ts
 * const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0]]);
 * const sizes = { numLayers: 1, numLogicalExperts: 3, numPhysicalExperts: 4, numRanks: 2 };
 * const rules = { pinned: [{ experts: [2], ranks: [0] }], neverReplicated: [{ experts: [0] }] };
 * brokenRules(mapping, { ...sizes, numNodes: 1, numGroups: 1, rules });
 * // [{ layer: 0, expert: 0, rank: 1, rule: 'replicated' },
 * //  { layer: 0, expert: 2, rank: 0, rule: 'missing' }]
 * ```
 */
export function brokenRules(mapping: ExpertMapping, topology: Topology): BrokenRule[] {
  checkMapping('mapping', mapping);
  const checked = checkTopology(topology);
  checkShape('mapping', mapping, checked);
  return brokenInTable(tablesOf(mapping).phyToLog, checked);
}

/** What rules are looked up in. */
type RuledTopology = Omit<Topology, 'numNodes' | 'numGroups'>;

/** The same of a table [layers x physical] and a checked topology. */
export function brokenInTable(phyToLog: Int32Array, topology: RuledTopology): BrokenRule[] {
  const book = ruleBookOf(topology);
  if (book === undefined) return [];
  const { numLayers, numPhysicalExperts, numRanks } = topology;
  return Array.from({ length: numLayers }, (_, layer) => {
    const slots = phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
    return brokenInLayer(layer, book.layer(layer), slots, numRanks);
  }).flat();
}
