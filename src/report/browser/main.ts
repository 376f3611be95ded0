import { times } from '../../formats/number-text.ts';
import type { ReportData } from '../report-data.ts';
import { Chart, followMedia, registerCharts } from './chart.ts';
import { followControls } from './controls.ts';
import { costsPicture } from './costs.ts';
import { followTables } from './data-tables.ts';
import { byId } from './element.ts';
import { heatMap } from './heat-map.ts';
import { colourLegends, makeLineBoxes } from './legends.ts';
import { overTime } from './over-time.ts';
import { paretoPicture } from './pareto.ts';
import { rankLoadsFinding, rankLoadsPicture } from './rank-loads.ts';
import { largest, type Report, unpackReport } from './report.ts';
import { savedPicture } from './saved.ts';
import { Selection } from './selection.ts';

main();

function main(): void {
  const report = unpackReport(JSON.parse(byId('data').textContent ?? '') as ReportData);
  const selection = new Selection(report, Number(byId('data').dataset.first));
  registerCharts();
  makeLineBoxes(report, selection);
  followControls(report, selection);
  drawCharts(report, selection);
  followTables(report, selection);
  const show = () => showFindings(report, selection);
  selection.onChange(show);
  show();
  const colour = () => colourLegends(report);
  followMedia(colour);
  colour();
}

function drawCharts(report: Report, selection: Selection): void {
  const time = new Chart(byId('over-time'), 'svg', (surface) => overTime(report, selection, surface));
  const maps = (['before', 'after'] as const).map(
    (when) =>
      new Chart(byId(`heat-${when}`), 'canvas', (surface) => heatMap(report, selection, when, surface)),
  );
  const ranks = new Chart(byId('rank-loads'), 'svg', (surface) =>
    rankLoadsPicture(report, selection, surface),
  );
  const following = [time, ...maps, ranks];
  new Chart(byId('costs'), 'svg', (surface) => costsPicture(report, surface));
  if (report.runs.some(({ line }) => line.colour !== null)) {
    following.push(new Chart(byId('saved'), 'svg', (surface) => savedPicture(report, selection, surface)));
  }
  const { sweep } = report;
  if (sweep !== undefined) new Chart(byId('pareto'), 'svg', (surface) => paretoPicture(sweep, surface));

  for (const map of maps) map.onClick(0, (_, layer) => selection.chooseLayer(layer));
  for (const grid of [0, 1]) time.onClick(grid, (step) => selection.chooseStep(step));
  selection.onChange(() => {
    for (const chart of following) chart.change();
  });
}

/** Headings that say what the charts below them show of the choice. */
function showFindings(report: Report, selection: Selection): void {
  const { run } = selection;
  const before = times(largest(run.heatMap.before));
  const after = times(largest(run.heatMap.after));
  const change =
    before === after
      ? `leaves the busiest rank at ${before}`
      : `takes the busiest rank from ${before} to ${after}`;
  const finding =
    run.line.colour === null ? `Without balancing the busiest rank has ${before}` : `${run.name} ${change}`;
  byId('heat-finding').textContent = `${finding} times its layer's mean load`;
  byId('heat-after-name').textContent = run.name;
  byId('rank-finding').textContent = rankLoadsFinding(report, selection);
}
