import { numOpenSlots } from '../core/open-slots.ts';
import { counted, grouped, ratio, seconds } from '../formats/number-text.ts';
import type { Colors } from './colors.ts';
import { type Fact, factLines } from './fact-list.ts';
import { PlainTable } from './plain-table.ts';
import type { PlannedSurvival, PlanReport } from './plan-report.ts';
import { ranksText } from './ranks-text.ts';
import { survivalFacts } from './survival-view.ts';

/** A report for people: what was read and how it was understood, a line a layer, all layers together. */
export function renderPlan(report: PlanReport, colors: Colors): string {
  const parts = [
    factLines(headerFacts(report), colors).trimEnd(),
    layerTable(report, colors),
    overallTable(report, colors),
    factLines(closingFacts(report), colors).trimEnd(),
    factLines(MEANINGS, colors).trimEnd(),
  ];
  // The table library pads every cell, the last one too.
  return `${parts.join('\n\n')}\n`.replace(/ +$/gm, '');
}

const MEANINGS: readonly Fact[] = [
  ['balancedness', 'of a layer: mean rank load / max rank load; 1 is best'],
  ['PAR', 'of a layer: max rank load / mean rank load; 1 is best'],
  ['moves', 'slots whose expert was not on that rank before'],
];

function headerFacts(report: PlanReport): Fact[] {
  const { recording, topology, policy, threads } = report;
  const { numLogicalExperts, numNodes, numGroups } = topology;
  const list: Fact[] = [
    ['recording', `${recording.path} (${recording.format})`],
    ['read as', readAs(report)],
    ['used', usedSteps(report)],
    [
      'experts',
      `${grouped(numLogicalExperts)} in ${counted(numOpenSlots(topology), 'slot')}, ` +
        `${counted(numGroups, 'group')}`,
    ],
    ['devices', `${ranksText(topology)} slots, ${counted(numNodes, 'node')}`],
    ['policy', `${policy}, ${threads === 0 ? 'in the main thread' : counted(threads, 'worker thread')}`],
  ];
  if (report.startFrom !== null) list.push(['starting from', startText(report)]);
  if (report.retired.length > 0)
    list.push(['retired', `${counted(report.retired.length, 'rank')}: ${report.retired.join(', ')}`]);
  for (const note of recording.notes) list.push(['note', note]);
  return list;
}

function startText({ startFrom, startRanks, topology }: PlanReport): string {
  const isOther = startRanks !== null && startRanks !== topology.numRanks;
  return isOther ? `${startFrom}, of ${counted(startRanks, 'rank')}` : String(startFrom);
}

function readAs({ recording, topology }: PlanReport): string {
  const layers = counted(topology.numLayers, 'layer');
  const experts = counted(topology.numLogicalExperts, 'expert');
  if (recording.readAs === 'routes') {
    return `routes: ${counted(recording.shape[0]!, 'token')} x ${layers} x ${recording.topK} of ${experts}`;
  }
  return `loads: ${counted(recording.steps.of, 'step')} x ${layers} x ${experts}`;
}

function usedSteps({ recording }: PlanReport): string {
  const { from, to, of } = recording.steps;
  const { tokensPerStep } = recording;
  const each = tokensPerStep === null ? '' : ` of ${counted(tokensPerStep, 'token')}`;
  if (from === 0 && to === of) return of === 1 ? 'all of it' : `all ${counted(of, 'step')}${each}`;
  return `steps ${grouped(from)} to ${grouped(to)} (end not included) of ${grouped(of)}${each}`;
}

function layerTable(report: PlanReport, colors: Colors): string {
  const table = new PlainTable(['right', 'right', 'right', 'right', 'right', 'right'], 2);
  table.push(['', spanned('balancedness', colors), spanned('PAR', colors), '']);
  table.push(['layer', 'before', 'after', 'before', 'after', 'moves'].map((text) => colors.bold(text)));
  for (const layer of report.layers) {
    table.push([
      layer.layer,
      ratio(layer.balancednessBefore),
      compared(layer.balancednessAfter, layer.balancednessBefore, 1, colors),
      ratio(layer.peakToAverageBefore),
      compared(layer.peakToAverageAfter, layer.peakToAverageBefore, -1, colors),
      grouped(layer.moves),
    ]);
  }
  return table.toString();
}

function overallTable({ before, after, layers }: PlanReport, colors: Colors): string {
  const table = new PlainTable(['left', 'right', 'right'], 1);
  const title = layers.length === 1 ? 'overall' : `overall, ${layers.length} layers`;
  table.push([title, 'before', 'after'].map((text) => colors.bold(text)));
  const row = (name: string, key: keyof typeof before, better: 1 | -1) =>
    table.push([name, ratio(before[key]), compared(after[key], before[key], better, colors)]);
  row('balancedness, ratio of sums', 'balancednessRatioOfSums', 1);
  row('balancedness, mean of ratios', 'balancednessMeanOfRatios', 1);
  row('peak-to-average (PAR), ratio of sums', 'peakToAverageRatioOfSums', -1);
  row('peak-to-average (PAR), mean of ratios', 'peakToAverageMeanOfRatios', -1);
  return table.toString();
}

function closingFacts(report: PlanReport): Fact[] {
  const { kept, planningMs, moves, slots, output } = report;
  const start = report.startFrom === null ? 'the initial mapping' : 'the starting placement';
  const list: Fact[] = [
    ['moves', `${grouped(moves)} of ${counted(slots, 'slot')}, counted from ${start}`],
    ['planning time', seconds(planningMs / 1000)],
  ];
  if (report.survival !== null) list.unshift(...survivalFacts(report.survival), priceFact(report.survival));
  if (kept !== null) list.unshift(['kept', `${start} stays: ${kept}`]);
  for (const note of report.notes) list.push(['note', note]);
  if (output !== null) list.push(['written', output]);
  for (const note of report.outputNotes) list.push(['note', note]);
  return list;
}

/** What it costs that load survives: what the same policy plans without. */
function priceFact({ without: { after, moves } }: PlannedSurvival): Fact {
  const balance = ratio(after.balancednessRatioOfSums);
  return ['without that', `balancedness, ratio of sums, ${balance}, in ${counted(moves, 'move')}`];
}

/**
 * A value, green when better than the one before it as printed, red when worse. `better` is 1 when more is
 * better.
 */
function compared(value: number, before: number, better: 1 | -1, colors: Colors): string {
  const text = ratio(value);
  const gain = better * (Number(text) - Number(ratio(before)));
  if (gain === 0) return text;
  return gain > 0 ? colors.green(text) : colors.red(text);
}

function spanned(text: string, colors: Colors) {
  return { content: colors.bold(text), colSpan: 2, hAlign: 'center' as const };
}
