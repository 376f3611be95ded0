import { numOpenSlots } from '../../core/open-slots.ts';
import { bytes, counted, grouped, percent, places, ratio, seconds } from '../../formats/number-text.ts';
import { type CostSummary, costModel } from '../../index.ts';
import type {
  BalanceFigures,
  RecordingFacts,
  ReplayCost,
  ReplayReport,
  ReplayResult,
  ReplayTotals,
} from '../../replay/index.ts';
import { savedShare } from '../../replay/saved-share.ts';
import type { Colors } from '../colors.ts';
import { type Fact, factLines } from '../fact-list.ts';
import { PlainTable } from '../plain-table.ts';
import { ranksText } from '../ranks-text.ts';
import { changeTables } from './change-view.ts';
import { failureTable } from './failure-view.ts';
import { planningText } from './planning-text.ts';
import { yardstickFacts } from './score.ts';
import { replayTimeFacts } from './time-facts.ts';
import { trafficTables } from './traffic-view.ts';

/** A replay for people: what was replayed and how, and a table of what it came to beside no balancing. */
export function renderReplay(report: ReplayReport, written: readonly string[], colors: Colors): string {
  const result = report.replays[0]!;
  const { survive } = result.configuration;
  const parts = [
    factLines(headerFacts(report.recording, result), colors).trimEnd(),
    table(result, colors),
    ...changeTables([result], colors),
    ...trafficTables([result], colors),
    ...(result.rankChanges || survive !== undefined ? failureTable([result], colors) : []),
    factLines(closingFacts(report, result, written), colors).trimEnd(),
    ...(report.advice === undefined ? [] : [` ${colors.bold(report.advice.sentence)}`]),
  ];
  return `${parts.join('\n\n')}\n`.replace(/ +$/gm, '');
}

/** What was replayed, and under which sizes and costs. */
function headerFacts(recording: RecordingFacts, result: ReplayResult): Fact[] {
  const { configuration } = result;
  return [
    ...recordingFacts(recording, result.numSteps),
    ['placement', placementText(result)],
    ['policy', policyText(configuration)],
    ['plans', configuration.policy === 'static' ? 'none' : planningText([configuration])],
    ['cost', costText(result)],
    ...replayTimeFacts(result),
    ...(result.status === 'partial' ? ([['PARTIAL', 'interrupted: of the steps so far']] as Fact[]) : []),
  ];
}

function policyText({ policy, survive }: ReplayResult['configuration']): string {
  return survive === undefined ? policy : `${policy}; as much load as can survives any ${survive}`;
}

/** The recording, and how it was read. */
export function recordingFacts(recording: RecordingFacts, numSteps: number, label = 'replayed'): Fact[] {
  const { path, format, numLayers, numLogicalExperts, tokensPerStep, notes } = recording;
  const step = tokensPerStep === null ? '' : ` of ${counted(tokensPerStep, 'token')}`;
  const sizes = `${counted(numLayers, 'layer')} x ${counted(numLogicalExperts, 'expert')}`;
  return [
    ['recording', `${path} (${format})`],
    [label, `${counted(numSteps, 'step')}${step} x ${sizes}`],
    ...notes.map((note): Fact => ['note', note]),
  ];
}

function placementText({ configuration }: ReplayResult): string {
  const { numNodes, numGroups } = configuration;
  const groups = numGroups === 1 ? '' : `, ${counted(numGroups, 'group')}`;
  return (
    `${counted(numOpenSlots(configuration), 'slot')}, ${ranksText(configuration)}, ` +
    `${counted(numNodes, 'node')}${groups}`
  );
}

/** A cost model in a line. */
export function costText({ configuration }: ReplayResult): string {
  const { name, time, bytesPerExpert } = configuration.cost;
  return `${name}: ${timeText(time)}, ${bytes(bytesPerExpert)} an expert`;
}

function timeText(time: ReplayCost['time']): string {
  if (time.kind === 'load') return `${seconds(time.secondsPerLoad)} a load`;
  if (time.kind === 'peak-to-average') return `${seconds(time.secondsAtBalance)} x mean PAR`;
  const { basis, fixedSeconds, slotSeconds } = costModel(time.model).toJSON();
  const slot = 'floor' in slotSeconds ? slotSeconds.floor : slotSeconds.seconds[0]!;
  return `${basis}, ${seconds(fixedSeconds)} a rank and layer, ${seconds(slot)} an active slot at least`;
}

function table(result: ReplayResult, colors: Colors): string {
  const { balance, unbalanced, totals, numSteps, time } = result;
  const rows = new PlainTable(['left', 'right', 'right'], 1);
  rows.push(
    [`overall, ${counted(numSteps, 'step')}`, 'no balancing', result.configuration.policy].map(colors.bold),
  );
  const both = (label: string, of: (figures: BalanceFigures) => string) =>
    rows.push([label, of(unbalanced), of(balance)]);
  both('balancedness, ratio of sums', (figures) => ratio(figures.balancednessRatioOfSums));
  both('balancedness, mean of ratios', (figures) => ratio(figures.balancednessMeanOfRatios));
  both('balancedness of the worst layer', ({ worstLayer }) => ratio(worstLayer.balancednessRatioOfSums));
  both('balancedness of a step: median', (figures) => ratio(figures.balancednessPercentiles.p50));
  both('balancedness of a step: 5% are below', (figures) => ratio(figures.balancednessPercentiles.p5));
  both('PAR, ratio of sums', (figures) => ratio(figures.peakToAverageRatioOfSums));
  both('PAR, mean of ratios', (figures) => ratio(figures.peakToAverageMeanOfRatios));
  both('PAR of a step: 1% are above', (figures) => ratio(figures.peakToAveragePercentiles.p99));
  rows.push(['modelled time', seconds(totals.unbalancedSeconds), seconds(totals.modelledSeconds)]);
  rows.push([' of it for moving weights', '', seconds(totals.moveSeconds)]);
  rows.push([' of it for planning', '', seconds(countedPlanning(totals))]);
  rows.push([balanceLabel(result), '', seconds(totals.idealSeconds)]);
  if (time === undefined) return rows.toString();
  const times = (label: string, of: (summary: CostSummary) => string) =>
    rows.push([label, of(time.unbalanced), of(time.live)]);
  times('time of a step', (summary) => seconds(summary.seconds / numSteps));
  times('time of a layer in a step', (summary) => seconds(summary.seconds / numSteps / result.layers.length));
  times('what balance can still give', (summary) => percent(summary.possibleSaving));
  if (time.isEnlarged) return rows.toString();
  times('active experts of a rank, mean', (summary) => places(summary.meanActiveExperts, 1));
  times('active experts of a rank, worst', (summary) => places(summary.maxActiveExperts, 0));
  return rows.toString();
}

/** The competition's formula has no term for planning. */
function countedPlanning({
  modelledSeconds,
  stepSeconds,
  moveSeconds,
  planningSeconds,
}: ReplayTotals): number {
  return modelledSeconds > stepSeconds + moveSeconds ? planningSeconds : 0;
}

function balanceLabel({ time }: ReplayResult): string {
  return time === undefined ? 'time if every rank had the mean load' : 'time at perfect balance';
}

function closingFacts(report: ReplayReport, result: ReplayResult, written: readonly string[]): Fact[] {
  const { totals, configuration } = result;
  return [
    [
      'saved',
      `${seconds(totals.secondsSaved)}, ${percent(savedShare(totals))} of the time without balancing`,
    ],
    ...(configuration.policy === 'static' ? [] : planFacts(result)),
    ['memory', `${bytes(totals.redundantBytesPerRank)} a rank for redundant experts`],
    ...yardstickFacts(report),
    ...written.map((path): Fact => ['written', path]),
  ];
}

function planFacts({ plans, totals }: ReplayResult): Fact[] {
  const count = (status: string) => plans.filter((plan) => plan.status === status).length;
  const parts = [`${grouped(count('applied'))} took effect`];
  if (count('unchanged') > 0) parts.push(`${grouped(count('unchanged'))} changed nothing`);
  if (count('unfinished') > 0) parts.push(`${grouped(count('unfinished'))} came too late`);
  const proved = plans.filter((plan) => plan.realisedGainSecondsPerStep !== null);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const gain: Fact[] =
    proved.length === 0
      ? []
      : [
          [
            'gain of a plan',
            `${seconds(mean(proved.map((plan) => plan.predictedGainSecondsPerStep)))} a step promised, ` +
              `${seconds(mean(proved.map((plan) => plan.realisedGainSecondsPerStep!)))} given (means of ` +
              `${proved.length})`,
          ],
        ];
  return [
    [
      'plans',
      `${grouped(plans.length)}: ${parts.join(', ')}; ${seconds(totals.planningSeconds)} of planning`,
    ],
    [
      'moves',
      `${grouped(totals.moves)}, ${bytes(totals.bytes)}, ${bytes(totals.bytesBetweenNodes)} of it between ` +
        'nodes',
    ],
    ...gain,
  ];
}
