import type { PlacementRules } from '../../core/placement-rules.ts';
import { type RulesFile, rulesFromJson } from './rules-json.ts';
import { readYamlOrJson } from './yaml-or-json.ts';

/**
 * Reads a rules file: YAML, or JSON if its name ends with .json or its content is a JSON object.
 *
 * @param field the name of the file in messages
 * @throws EplbError `EPLB_FILE`, `EPLB_FORMAT`; and as {@link rulesFromJson}, with the file's name
 * @example
 * ```ts
 * const rules = await readRules('rules.yaml');
 * const balancer = new ExpertLoadBalancer({ ...sizes, rules, policy: new AdaptiveEplbPolicy() });
 * ```
 */
export async function readRules(path: string, field = 'rules'): Promise<PlacementRules> {
  return (await readRulesFile(path, field)).rules;
}

/** {@link readRules}, and the file's own words. */
export async function readRulesFile(
  path: string,
  field: string,
): Promise<{ readonly rules: PlacementRules; readonly content: RulesFile }> {
  const { content, name } = await readYamlOrJson(path, field, 'a file of rules');
  // What can be read is what a file may hold.
  return { rules: rulesFromJson(content, name), content: content as RulesFile };
}
