import { markdownTable } from '../markdown.ts';
import { meansByInterval } from './interval-falls.ts';
import { byFamily, meanOutcome, outcomeOf } from './means.ts';
import { ADAPTIVE, DEFAULT } from './planners.ts';
import type { IntervalOutcome, IntervalResult, Outcome, Result, SettingResult } from './results.ts';
import { settingName } from './settings.ts';
import {
  bestSettled,
  forecastVerdicts,
  intervalVerdicts,
  isBeyondQuarter,
  isStationary,
  noiseVerdicts,
  settingVerdicts,
  stationaryVerdicts,
  type Verdict,
} from './verdicts.ts';

/** All tables of a run, of those parts that there are. */
export function judgeTables(results: readonly Result[]): string {
  const settings = results.filter((result) => result.kind === 'setting');
  const intervals = results.filter((result) => result.kind === 'intervals');
  const noise = results.filter((result) => result.kind === 'noise' || result.kind === 'trials');
  const verdicts = [
    ...(settings.length === 0 ? [] : settingVerdicts(settings)),
    ...stationaryVerdicts(settings),
    ...noiseVerdicts(noise),
    ...intervalVerdicts(intervals),
    ...forecastVerdicts(settings),
  ];
  return [
    ...(settings.length === 0 ? [] : settingTables(settings)),
    ...(intervals.length === 0 ? [] : [intervalTable(intervals)]),
    verdictTable(verdicts),
  ].join('\n');
}

function settingTables(results: readonly SettingResult[]): string[] {
  const planners = Object.keys(results[0]!.outcomes);
  const cells = (of: readonly SettingResult[]) => planners.map((planner) => cell(meanOutcome(of, planner)));
  const beyond = results.filter(isBeyondQuarter);
  const stationary = results.filter(isStationary);
  return [
    markdownTable(`judge: mean of ${results.length} settings: balancedness, moves a slot and plan`, [
      ['', ...planners],
      ['all settings', ...cells(results)],
      ...Array.from(byFamily(results), ([family, of]) => [`${family} (${of.length})`, ...cells(of)]),
    ]),
    markdownTable('judge: every setting: balancedness, moves a slot and plan', [
      ['setting', ...planners],
      ...results.map((result) => [
        settingName(result.setting),
        ...planners.map((planner) => cell(outcomeOf(result, planner))),
      ]),
    ]),
    ...(beyond.length === 0 ? [] : [quarterTable(beyond)]),
    ...(stationary.length === 0 ? [] : [stationaryTable(stationary, planners)]),
    forecastTable(results),
  ];
}

/** What the moves beyond a quarter buy: against the same policy, held to a quarter in each plan. */
function quarterTable(results: readonly SettingResult[]): string {
  const rows = results.map((result) => {
    const [ours, usual] = [outcomeOf(result, ADAPTIVE), outcomeOf(result, DEFAULT)];
    const { quarter } = result;
    const bought = quarter === undefined ? '' : (ours.balancedness - quarter.balancedness).toFixed(4);
    return [
      settingName(result.setting),
      (ours.moves / usual.moves).toFixed(3),
      cell(ours),
      quarter === undefined ? '' : cell(quarter),
      bought,
    ];
  });
  const head = ['setting', "moves / the default's", 'adaptive', 'held to a quarter in each plan', 'bought'];
  return markdownTable("judge: settings with more than a quarter of the default policy's moves", [
    head,
    ...rows,
  ]);
}

function stationaryTable(results: readonly SettingResult[], planners: readonly string[]): string {
  return markdownTable('judge: stationary loads after the third plan: balancedness, moves a slot in all', [
    ['setting', 'best planner', '', 'one mapping, in hindsight', 'found by', ...planners],
    ...results.map((result) => [
      settingName(result.setting),
      bestSettled(result).balancedness.toFixed(4),
      bestSettled(result).planner,
      result.best?.balancedness.toFixed(4) ?? '',
      result.best?.planner ?? '',
      ...planners.map((planner) => {
        const { settledBalancedness, settledMoves } = outcomeOf(result, planner);
        return cell({ balancedness: settledBalancedness, moves: settledMoves });
      }),
    ]),
  ]);
}

function forecastTable(results: readonly SettingResult[]): string {
  const rows = Array.from(byFamily(results), ([family, of]) => {
    const outcomes = of.map((result) => outcomeOf(result, ADAPTIVE));
    const sum = (value: (outcome: Outcome) => number) => outcomes.reduce((all, one) => all + value(one), 0);
    const [foreseen, realised] = [sum((one) => one.foreseenGain), sum((one) => one.realisedGain)];
    const later = [sum((one) => one.laterForeseenGain), sum((one) => one.laterRealisedGain)] as const;
    return [
      family,
      foreseen.toFixed(2),
      realised.toFixed(2),
      (realised / foreseen).toFixed(3),
      later[0].toFixed(2),
      later[1].toFixed(2),
      (later[1] / later[0]).toFixed(3),
    ];
  });
  const head = [
    'family',
    'foreseen',
    'realised',
    'ratio',
    'after the first plan: foreseen',
    'realised',
    'ratio',
  ];
  const title =
    'judge: gain of the adaptive plans, as a share of the mean rank load, summed over plans and layers';
  return markdownTable(title, [head, ...rows]);
}

function intervalTable(results: readonly IntervalResult[]): string {
  const families = meansByInterval(results);
  const intervals = [...families.values()][0]!.map(({ interval }) => interval);
  const score = (of: IntervalOutcome['adaptive']) =>
    `${of.balancedness.toFixed(4)}, ${of.movesPerStep.toFixed(4)}`;
  const rows = [...families].flatMap(([family, outcomes]) =>
    (['adaptive', 'default'] as const).map((planner) => [
      `${family}, ${planner}`,
      ...outcomes.map((outcome) => score(outcome[planner])),
    ]),
  );
  return markdownTable('judge: window 64, by steps from plan to plan: balancedness, moves a slot and step', [
    ['', ...intervals.map(String)],
    ...rows,
  ]);
}

function verdictTable(verdicts: readonly Verdict[]): string {
  const numMet = verdicts.filter(({ isMet }) => isMet).length;
  return markdownTable(`judge: bars met: ${numMet} of ${verdicts.length}`, [
    ['', 'bar', 'reached', ''],
    ...verdicts.map(({ what, bar, value, isMet }) => [what, bar, value, isMet ? 'met' : 'NOT MET']),
  ]);
}

function cell({ balancedness, moves }: Pick<Outcome, 'balancedness' | 'moves'>): string {
  return `${balancedness.toFixed(4)}, ${moves.toFixed(3)}`;
}
