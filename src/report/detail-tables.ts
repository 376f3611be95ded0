import { bytes, counted, grouped, ratio, seconds, threeFigures } from '../formats/number-text.ts';
import type { PlanResult, ReplayReport, ReplayResult, TriggerReason } from '../replay/result.ts';
import type { SweepPoint, SweepResult } from '../replay/sweep-result.ts';
import { type Html, html } from './html.ts';
import { scrollTable } from './scroll-table.ts';

/** Most plans in the table: with more, the first of every policy. */
const MAX_PLANS = 240;

/** Every plan: what started it, what it promised, and what it gave. */
export function plansTable({ replays }: ReplayReport): Html {
  const numPlans = replays.reduce((sum, { plans }) => sum + plans.length, 0);
  if (numPlans === 0) return html`<p>No policy made a plan.</p>`;
  const planning = replays.filter(({ plans }) => plans.length > 0).length;
  const most = numPlans <= MAX_PLANS ? numPlans : Math.floor(MAX_PLANS / planning);
  const shown = replays.flatMap((replay) => replay.plans.slice(0, most).map((plan) => planRow(replay, plan)));
  const left = numPlans - shown.length;
  const caption =
    left === 0
      ? counted(numPlans, 'plan')
      : `The first ${grouped(most)} plans of each policy, of ${grouped(numPlans)} in all`;
  const about = html`${caption}. A gain is in modelled seconds a step, against the mapping that the plan
replaced.`;
  const table = html`
<thead><tr><th scope="col">Policy</th><th scope="col">After step</th><th scope="col">Because</th>
<th scope="col">Planning</th><th scope="col">Took effect <small>in steps</small></th>
<th scope="col">Moves</th><th scope="col">Moved</th><th scope="col">Balancedness <small>promised</small></th>
<th scope="col">Gain <small>promised</small></th>
<th scope="col">Gain <small>realised</small></th></tr></thead>
<tbody>
${shown}</tbody>`;
  return html`<details><summary>All plans, promised and realised</summary>
${scrollTable('plans', about, table)}</details>`;
}

function planRow({ name }: ReplayResult, plan: PlanResult): Html {
  const { planningSeconds, moves, predictedBalancednessBefore, predictedBalancednessAfter } = plan;
  const { realisedGainSecondsPerStep: gain } = plan;
  const realised = gain === null ? '–' : seconds(gain);
  return html`<tr><th scope="row">${name}</th><td>${grouped(plan.startedAfterStep)}</td>
<td class="text">${plan.reasons.map(reasonText).join(', ')}</td><td>${seconds(planningSeconds)}</td>
<td>${effectText(plan)}</td><td>${grouped(moves)}</td><td>${bytes(plan.bytes)}</td>
<td>${ratio(predictedBalancednessBefore)} to ${ratio(predictedBalancednessAfter)}</td>
<td>${seconds(plan.predictedGainSecondsPerStep)}</td><td>${realised}</td></tr>
`;
}

function reasonText({ kind, value, limit }: TriggerReason): string {
  if (kind === 'interval') return `interval of ${grouped(limit)}`;
  if (kind === 'ranks') return `${grouped(limit)} to ${grouped(value ?? 0)} ranks`;
  const shown = value === null ? 'infinite' : threeFigures(value);
  return `${kind === 'drift' ? 'drift' : 'load'} ${shown} > ${limit}`;
}

function effectText({ status, appliedFromStep, appliedToStep }: PlanResult): string {
  if (status === 'unchanged') return 'nothing to change';
  if (appliedFromStep === null || appliedToStep === null) return 'not any more';
  const steps = `${grouped(appliedFromStep)} to ${grouped(appliedToStep)}`;
  return status === 'unfinished' ? `${steps}, unfinished` : steps;
}

/** The grid of a sweep: what is on a front, and everything behind it. */
export function sweepTables({ points, frontsByRanks, advisedPoint }: SweepResult): Html {
  const front = new Set(frontsByRanks.flatMap(({ names }) => names));
  const rowsOf = (shown: readonly SweepPoint[]) =>
    shown.map((point) => sweepRow(point, front.has(point.name), advisedPoint));
  const onFront = [...front].flatMap((name) => points.filter((point) => point.name === name));
  const frontAbout = 'On the front: no other of as many ranks is faster without more redundant experts.';
  const all = sweepTable('grid', `${counted(points.length, 'configuration')}.`, rowsOf(points));
  return html`${sweepTable('front', frontAbout, rowsOf(onFront))}
<details><summary>All configurations of the sweep</summary>${all}</details>`;
}

function sweepTable(id: string, about: string, rows: readonly Html[]): Html {
  const table = html`
<thead><tr><th scope="col">Policy</th><th scope="col">Slots</th><th scope="col">Ranks</th>
<th scope="col">Interval <small>steps</small></th><th scope="col">Modelled time</th><th scope="col">Saved</th>
<th scope="col">Balancedness <small>ratio of sums</small></th>
<th scope="col">PAR <small>mean of ratios</small></th><th scope="col">Plans</th><th scope="col">Moves</th>
<th scope="col">Redundant experts <small>a rank</small></th><th scope="col">Pareto</th></tr></thead>
<tbody>
${rows}</tbody>`;
  return scrollTable(id, html`${about}`, table);
}

function sweepRow(point: SweepPoint, onFront: boolean, advised: string | null): Html {
  const interval = point.interval === null ? '–' : grouped(point.interval);
  const key = html`<th scope="row">${point.policy}</th><td>${grouped(point.numPhysicalExperts)}</td>
<td>${grouped(point.numRanks)}</td><td>${interval}</td>`;
  if (point.status === 'failed') {
    return html`<tr>${key}<td class="text" colspan="8">not possible: ${point.message}</td></tr>\n`;
  }
  const place = point.name === advised ? 'advised' : onFront ? 'front' : '';
  return html`<tr class="${onFront ? 'front' : ''}">${key}
<td>${seconds(point.modelledSeconds)}</td><td>${seconds(point.secondsSaved)}</td>
<td>${ratio(point.balancednessRatioOfSums)}</td><td>${ratio(point.peakToAverageMeanOfRatios)}</td>
<td>${grouped(point.numPlans)}</td><td>${grouped(point.moves)}</td>
<td>${bytes(point.redundantBytesPerRank)}</td><td class="text">${place}</td></tr>
`;
}
