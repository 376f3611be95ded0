import { intervalFalls } from './interval-falls.ts';
import { byFamily, differences, meanOutcome, outcomeOf } from './means.ts';
import { ADAPTIVE, DEFAULT, FLASHLB, FREE, ORACLE } from './planners.ts';
import type { IntervalResult, NoiseResult, SettingResult, TrialsResult } from './results.ts';
import { familyOf } from './settings.ts';

/** A bar, what was reached, and whether that meets it. */
export interface Verdict {
  readonly what: string;
  readonly bar: string;
  readonly value: string;
  readonly isMet: boolean;
}

/** A number with the bar that it is to be at least, or at most. */
function least(what: string, bar: number, value: number, digits = 4): Verdict {
  return { what, bar: `>= ${shown(bar)}`, value: value.toFixed(digits), isMet: value >= bar };
}

function most(what: string, bar: number, value: number, digits = 4): Verdict {
  return { what, bar: `<= ${shown(bar)}`, value: value.toFixed(digits), isMet: value <= bar };
}

export function settingVerdicts(results: readonly SettingResult[]): Verdict[] {
  const overDefault = differences(results, ADAPTIVE, DEFAULT);
  const overFlashLb = differences(results, ADAPTIVE, FLASHLB);
  const shareAbove = (values: readonly number[]) =>
    values.filter((value) => value > 0).length / values.length;
  const ours = meanOutcome(results, ADAPTIVE);
  const flashLb = meanOutcome(results, FLASHLB);
  const free = meanOutcome(results, FREE);
  const within = results.filter(
    (result) => outcomeOf(result, ADAPTIVE).moves <= outcomeOf(result, DEFAULT).moves / 4,
  );
  return [
    least('settings above the default policy, share', 0.95, shareAbove(overDefault)),
    least('least of adaptive - default', -0.003, Math.min(...overDefault)),
    least('settings above FlashLB v2, share', 0.8, shareAbove(overFlashLb)),
    most("mean moves / FlashLB's", 0.5, ours.moves / flashLb.moves),
    least("settings with at most a quarter of the default's moves, share", 1, within.length / results.length),
    least('mean balancedness - that of free moves', -0.006, ours.balancedness - free.balancedness),
    most('mean moves / those of free moves', 1 / 3, ours.moves / free.moves),
  ];
}

/** Loads that stay as they are: good after the third plan, and quiet from then on. */
export function stationaryVerdicts(results: readonly SettingResult[]): Verdict[] {
  const stationary = results.filter(isStationary);
  if (stationary.length === 0) return [];
  const behind = stationary.map(
    (result) => bestSettled(result).balancedness - outcomeOf(result, ADAPTIVE).settledBalancedness,
  );
  const moves = stationary.map((result) => outcomeOf(result, ADAPTIVE).settledMoves);
  return [
    most('stationary: behind the best planner after the third plan', 0.005, Math.max(...behind)),
    most('stationary: moves after the third plan, all together', 0.02, Math.max(...moves)),
  ];
}

/** The best of those planners that do not know the next steps, on the steps after the third plan. */
export function bestSettled({ outcomes }: SettingResult): { planner: string; balancedness: number } {
  const scores = Object.entries(outcomes)
    .filter(([planner]) => planner !== ORACLE)
    .map(([planner, { settledBalancedness }]) => ({ planner, balancedness: settledBalancedness }));
  return scores.reduce((best, score) => (score.balancedness > best.balancedness ? score : best));
}

/** What plans foresee, and what comes of it, family by family. */
export function forecastVerdicts(results: readonly SettingResult[]): Verdict[] {
  return [...byFamily(results)].flatMap(([family, ofFamily]) => {
    const outcomes = ofFamily.map((result) => outcomeOf(result, ADAPTIVE));
    const foreseen = outcomes.reduce((sum, { foreseenGain }) => sum + foreseenGain, 0);
    const realised = outcomes.reduce((sum, { realisedGain }) => sum + realisedGain, 0);
    const ratio = realised / foreseen;
    const isMet = Math.abs(ratio - 1) <= 0.2;
    return [
      { what: `${family}: realised / foreseen gain`, bar: '0.8 to 1.2', value: ratio.toFixed(3), isMet },
      least(`${family}: realised gain`, 0, realised),
    ];
  });
}

export function intervalVerdicts(results: readonly IntervalResult[]): Verdict[] {
  return Array.from(intervalFalls(results), ([family, falls]) =>
    most(`${family}: greatest fall as the interval halves`, 0.003, Math.max(...falls)),
  );
}

export function noiseVerdicts(results: readonly (NoiseResult | TrialsResult)[]): Verdict[] {
  return results.map((result) =>
    result.kind === 'noise'
      ? most(`noise: moves in ${result.windows} windows, share of the slots`, 0, result.moves)
      : most(`noise: moves of ${result.trials} first plans, share of the slots`, 0.01, result.moves, 5),
  );
}

/** Settings in which the policy moves more than a quarter of what the default policy moves. */
export function isBeyondQuarter(result: SettingResult): boolean {
  return outcomeOf(result, ADAPTIVE).moves > outcomeOf(result, DEFAULT).moves / 4;
}

export function isStationary({ setting }: SettingResult): boolean {
  return familyOf(setting.source).startsWith('stationary');
}

function shown(bar: number): string {
  return String(Math.round(bar * 1000) / 1000);
}
