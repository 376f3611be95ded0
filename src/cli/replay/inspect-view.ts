import { counted, grouped, load, percent, places, ratio, seconds, times } from '../../formats/number-text.ts';
import type { Inspection, RecordingFacts, TimeInspection } from '../../replay/index.ts';
import { trafficMeanings } from '../../replay/traffic-text.ts';
import type { Colors } from '../colors.ts';
import { type Fact, factLines } from '../fact-list.ts';
import { PlainTable } from '../plain-table.ts';
import { type RulesReport, renderRules } from '../rules-report.ts';
import { recordingFacts } from './replay-view.ts';
import { activeText, boundSentence } from './time-facts.ts';
import { linkTable } from './traffic-view.ts';

/** What is told beside an inspection. */
interface InspectionFacts {
  readonly isPartial: boolean;
  readonly written: readonly string[];
  readonly rules?: RulesReport | undefined;
}

/** An inspection for people: overall facts, a line a layer, and what the figures mean. */
export function renderInspection(
  recording: RecordingFacts,
  result: Inspection,
  { isPartial, written, rules }: InspectionFacts,
  colors: Colors,
): string {
  const head: Fact[] = [
    ...recordingFacts(recording, result.numSteps, 'steps'),
    ...(isPartial ? ([['PARTIAL', 'interrupted: of the steps so far']] as Fact[]) : []),
    ...overall(result),
  ];
  const close: Fact[] = [...MEANINGS, ...written.map((path): Fact => ['written', path])];
  const parts = [
    factLines(head, colors).trimEnd(),
    ...placementParts(result, colors),
    ...(rules === undefined ? [] : [renderRules(rules, colors).trimEnd()]),
    hottest(result),
    layerTable(result, colors),
    factLines(close, colors).trimEnd(),
  ];
  return `${parts.join('\n\n')}\n`.replace(/ +$/gm, '');
}

/** How a placement balances the steps, and the links that their tokens take. */
function placementParts({ placement }: Inspection, colors: Colors): string[] {
  if (placement === undefined) return [];
  const { numRanks, numNodes, dispatch, balance, traffic } = placement;
  const facts: Fact[] = [
    [
      'placement',
      `${counted(numRanks, 'rank')}, ${counted(numNodes, 'node')}, tokens take ` +
        (dispatch === 'even' ? 'any copy' : 'the nearest copy'),
    ],
    [
      'balancedness',
      `${ratio(balance.balancednessRatioOfSums)} ratio of sums, ` +
        `${ratio(balance.balancednessMeanOfRatios)} mean of ratios`,
    ],
  ];
  const head = factLines(facts, colors).trimEnd();
  if (traffic === null) return [head];
  const table = linkTable([{ name: 'placement', figures: traffic }], colors).trimEnd();
  return [head, `${table}\n ${trafficMeanings(placement).join('\n ')}`];
}

const MEANINGS: readonly Fact[] = [
  ['load', 'tokens of an expert in a step; a layer has tokens x topK'],
  ['variation', "standard deviation of the experts' loads / their mean, over all steps together"],
  ['drift', 'half the sum of differences of shares: 0 nothing moved, 1 everything did'],
  ['noise', 'what independent tokens would show by chance, with popularities that never change'],
];

function overall(result: Inspection): Fact[] {
  const { loadPerStep, correlations, drift, overdispersion, noise, time } = result;
  const { mean, min, max } = loadPerStep;
  const loads = `${load(mean)} a layer and step, from ${load(min)} to ${load(max)}`;
  const list: Fact[] = [
    ['loads', loads],
    [
      'correlation',
      correlations.length === 0
        ? 'one step only'
        : correlations
            .map(({ lag, correlation }) => `${times(correlation)} after ${counted(lag, 'step')}`)
            .join(', '),
    ],
  ];
  if (drift.nextBlock !== null) {
    list.push([
      'drift',
      `${places(drift.nextBlock, 3)} from one ${drift.blockSteps} steps to the next ` +
        `(${places(drift.nextBlockByNoise!, 3)} by noise), ` +
        `${places(drift.firstToLast!, 3)} from the first to the last`,
    ]);
  }
  if (overdispersion !== null) {
    list.push([
      'variance',
      `loads vary ${places(overdispersion, 1)} times as much from step to step as noise`,
    ]);
  }
  list.push([
    'imbalance',
    `mean PAR ${places(noise.peakToAverage, 3)} on ${counted(noise.numRanks, 'rank')} with the experts in ` +
      'order; noise alone makes ' +
      `${places(noise.peakToAverageByNoise, 3)}: ${percent(noise.share)} of it no placement can remove`,
  ]);
  return time === undefined ? list : [...list, ...timeFacts(time)];
}

function timeFacts(time: TimeInspection): Fact[] {
  const { secondsPerLayer, secondsPerStep, secondsAtBalancePerStep, numRanks, cost, isEnlarged } = time;
  const boundBy = isEnlarged && time.boundBy === 'active experts' ? null : time.boundBy;
  return [
    [
      'time',
      `${seconds(secondsPerLayer)} a layer, ${seconds(secondsPerStep)} a step on ` +
        `${counted(numRanks, 'rank')} (${cost})`,
    ],
    ...(isEnlarged ? [] : ([['active', activeText(time)]] as Fact[])),
    ['bound', boundSentence(time, boundBy, secondsAtBalancePerStep)],
  ];
}

function hottest({ hottest: experts }: Inspection): string {
  const named = experts.map(
    ({ layer, expert, timesMean }) => `${places(timesMean, 1)}x layer ${layer} expert ${expert}`,
  );
  const lines: string[] = [];
  for (let i = 0; i < named.length; i += 3) lines.push(`   ${named.slice(i, i + 3).join(', ')}`);
  return [' hottest experts, times the mean of their layer', ...lines].join('\n');
}

function layerTable({ layers }: Inspection, colors: Colors): string {
  const table = new PlainTable(['right', 'right', 'right', 'right', 'right', 'right'], 2);
  table.push(['', 'hottest', '', '', 'hottest', 'idle'].map(colors.bold));
  table.push(['layer', 'expert', 'x mean', 'variation', 'tenth has', 'experts'].map(colors.bold));
  for (const layer of layers) {
    table.push([
      layer.layer,
      layer.hottestExpert,
      times(layer.hottestTimesMean),
      places(layer.variation, 3),
      percent(layer.hottestTenthShare),
      grouped(layer.idleExperts),
    ]);
  }
  return table.toString();
}
