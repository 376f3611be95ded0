import type { Outcome, SettingResult } from './results.ts';
import { familyOf } from './settings.ts';

/** Of no values: NaN, which meets no bar. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function meanOutcome(
  results: readonly SettingResult[],
  planner: string,
): Pick<Outcome, 'balancedness' | 'moves'> {
  const outcomes = results.map((result) => outcomeOf(result, planner));
  return {
    balancedness: mean(outcomes.map(({ balancedness }) => balancedness)),
    moves: mean(outcomes.map(({ moves }) => moves)),
  };
}

/** @throws Error for results of a run without that planner */
export function outcomeOf({ outcomes }: SettingResult, planner: string): Outcome {
  const outcome = outcomes[planner];
  if (outcome === undefined) throw new Error(`there is a setting without the planner '${planner}'`);
  return outcome;
}

/** How much better the adaptive policy, or any first planner, is in each setting. */
export function differences(results: readonly SettingResult[], planner: string, other: string): number[] {
  return results.map(
    (result) => outcomeOf(result, planner).balancedness - outcomeOf(result, other).balancedness,
  );
}

export function byFamily(results: readonly SettingResult[]): Map<string, SettingResult[]> {
  const families = new Map<string, SettingResult[]>();
  for (const result of results) {
    const family = familyOf(result.setting.source);
    families.set(family, [...(families.get(family) ?? []), result]);
  }
  return families;
}
