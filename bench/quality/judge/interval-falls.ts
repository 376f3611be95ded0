import { mean } from './means.ts';
import type { IntervalOutcome, IntervalResult } from './results.ts';
import { familyOf } from './settings.ts';

/** The intervals of a family, the shortest first: means over its seeds. */
export function meansByInterval(results: readonly IntervalResult[]): Map<string, IntervalOutcome[]> {
  const families = new Map<string, IntervalResult[]>();
  for (const result of results) {
    const family = familyOf(result.source);
    families.set(family, [...(families.get(family) ?? []), result]);
  }
  return new Map([...families].map(([family, ofFamily]) => [family, meansOf(ofFamily)]));
}

function meansOf(results: readonly IntervalResult[]): IntervalOutcome[] {
  return results[0]!.byInterval.map(({ interval }, i) => {
    const meansOfPlanner = (planner: 'adaptive' | 'default') => {
      const scores = results.map(({ byInterval }) => byInterval[i]![planner]);
      return {
        balancedness: mean(scores.map(({ balancedness }) => balancedness)),
        movesPerStep: mean(scores.map(({ movesPerStep }) => movesPerStep)),
      };
    };
    return { interval, adaptive: meansOfPlanner('adaptive'), default: meansOfPlanner('default') };
  });
}

/** What the adaptive policy loses at each interval against twice that interval. */
export function intervalFalls(results: readonly IntervalResult[]): Map<string, number[]> {
  const families = [...meansByInterval(results)].map(([family, outcomes]): [string, number[]] => {
    const values = outcomes.map(({ adaptive }) => adaptive.balancedness);
    return [family, values.slice(1).map((longer, i) => longer - values[i]!)];
  });
  return new Map(families);
}
