import { times } from '../../formats/number-text.ts';
import type { ReportData } from '../report-data.ts';
import type { TransferData } from '../transfer-data.ts';
import { Chart, followMedia, registerCharts } from './chart.ts';
import { chartFigures } from './chart-figures.ts';
import { followControls } from './controls.ts';
import { costsPicture } from './costs.ts';
import { followTables } from './data-tables.ts';
import { divergingStops } from './diverging.ts';
import { offerDownloads } from './downloads.ts';
import { byId } from './element.ts';
import { followFragment, fragmentOf } from './fragment.ts';
import { heatFinding, heatMap } from './heat-map.ts';
import { followHottest } from './hottest.ts';
import { colourLegends, colourScale, makeLineBoxes } from './legends.ts';
import { followMoves, trafficPicture } from './moves.ts';
import { overTime } from './over-time.ts';
import { paretoPicture } from './pareto.ts';
import { rankLoadsFinding, rankLoadsPicture } from './rank-loads.ts';
import { type Report, unpackReport } from './report.ts';
import { savedPicture } from './saved.ts';
import { Selection } from './selection.ts';
import { readTheme } from './theme.ts';
import { showTransfers } from './transfers.ts';
import { followZoom, zoomByDrag } from './zoom.ts';

main();

/**
 * One script for the pages of replays and of transfer plans: nearly all of it is the charting library. On a
 * page without data, which is the service's dashboard, it is that library for the script that comes next.
 */
function main(): void {
  registerCharts();
  if (document.getElementById('data') === null) {
    Object.assign(globalThis, { eplbCharts: { Chart, followMedia } });
    return;
  }
  const { textContent, dataset } = byId('data');
  const data: unknown = JSON.parse(textContent ?? '');
  if (dataset.page === 'transfer') showTransfers(data as TransferData);
  else showReplays(data as ReportData, Number(dataset.first));
}

function showReplays(data: ReportData, first: number): void {
  const report = unpackReport(data);
  const selection = new Selection(report, first);
  makeLineBoxes(report, selection);
  followControls(report, selection);
  followZoom(selection);
  followMoves(selection);
  followHottest(selection);
  const isLinked = followFragment(report, selection);
  const charts = drawCharts(report, selection);
  const figures = chartFigures(report, selection);
  followTables(figures, (fill) => selection.onChange(fill));
  offerDownloads(charts, figures, (id) => {
    if (!id.startsWith('heat-')) return undefined;
    const most = report.largestShare[selection.view];
    return { stops: divergingStops(readTheme(), most), most: `${times(most)} × mean` };
  });
  const show = () => showFindings(report, selection);
  selection.onChange(show);
  show();
  const colour = () => colourLegends(report, selection);
  followMedia(colour);
  colour();
  if (isLinked) byId('look-heading').scrollIntoView();
}

/** Draws all charts, and again what follows the choice. Returns them by the id of their element. */
function drawCharts(report: Report, selection: Selection): ReadonlyMap<string, Chart> {
  const charts = new Map<string, Chart>();
  const draw = (id: string, renderer: 'svg' | 'canvas', picture: ConstructorParameters<typeof Chart>[2]) => {
    const chart = new Chart(byId(id), renderer, picture);
    charts.set(id, chart);
    return chart;
  };
  const time = draw('over-time', 'svg', (surface) => overTime(report, selection, surface));
  const maps = (['before', 'after'] as const).map((when) =>
    draw(`heat-${when}`, 'canvas', (surface) => heatMap(report, selection, when, surface)),
  );
  const following = [
    time,
    ...maps,
    draw('rank-loads', 'svg', (surface) => rankLoadsPicture(report, selection, surface)),
    draw('traffic', 'svg', (surface) => trafficPicture(selection, surface)),
  ];
  draw('costs', 'svg', (surface) => costsPicture(report, surface));
  if (report.runs.some(({ line }) => line.colour !== null)) {
    const saved = draw('saved', 'svg', (surface) => savedPicture(report, selection, surface));
    zoomByDrag(saved, selection);
    following.push(saved);
  }
  const { sweep } = report;
  if (sweep !== undefined) draw('pareto', 'svg', (surface) => paretoPicture(sweep, surface));

  for (const map of maps) map.onClick(0, (_, layer) => selection.chooseLayer(layer));
  for (const grid of [0, 1]) time.onClick(grid, (step) => selection.chooseStep(step));
  zoomByDrag(time, selection);
  selection.onChange(() => {
    for (const chart of following) chart.change();
  });
  return charts;
}

/** Headings that say what the charts below them show of the choice, and a link to it. */
function showFindings(report: Report, selection: Selection): void {
  const { run } = selection;
  byId('heat-finding').textContent = heatFinding(run);
  byId('heat-after-name').textContent = run.name;
  byId('rank-finding').textContent = rankLoadsFinding(report, selection);
  byId('link').setAttribute('href', fragmentOf(selection));
  colourScale(report, selection);
}
