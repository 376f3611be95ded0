import { grouped, load, ratio, seconds, times } from '../../formats/number-text.ts';
import { costBars } from './costs.ts';
import { element } from './element.ts';
import { chosenRankLoads } from './rank-loads.ts';
import type { Report } from './report.ts';
import { endOfPoint, savedBefore } from './saved.ts';
import type { Selection } from './selection.ts';

/** The figures of a chart. */
interface Figures {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The figures behind every chart, by the id of the `details` that shows them. */
const FIGURES: Readonly<Record<string, (report: Report, selection: Selection) => Figures>> = {
  'over-time-figures': overTimeFigures,
  'heat-map-figures': heatMapFigures,
  'rank-loads-figures': rankLoadsFigures,
  'costs-figures': costFigures,
  'saved-figures': savedFigures,
};

/** Fills the tables behind the charts: when one is opened, and again when what it shows changes. */
export function followTables(report: Report, selection: Selection): void {
  for (const [id, figures] of Object.entries(FIGURES)) {
    const details = document.getElementById(id);
    // Nothing is saved where no policy plans: then the page has no such chart.
    if (!(details instanceof HTMLDetailsElement)) continue;
    const fill = () => {
      if (!details.open) return;
      const caption = details.querySelector('summary')!.textContent ?? '';
      const box = element('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption });
      box.append(tableOf(figures(report, selection)));
      details.querySelector('.scroll')?.remove();
      details.append(box);
    };
    details.addEventListener('toggle', fill);
    selection.onChange(fill);
  }
}

function tableOf({ head, rows }: Figures): HTMLTableElement {
  const headRow = element('tr', {}, ...head.map((text) => element('th', { scope: 'col' }, text)));
  const bodyRows = rows.map(([first = '', ...cells]) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, first),
      ...cells.map((text) => element('td', {}, text)),
    ),
  );
  return element('table', {}, element('thead', {}, headRow), element('tbody', {}, ...bodyRows));
}

function overTimeFigures({ lines }: Report): Figures {
  const longest = lines.reduce((a, b) => (b.mean.length > a.mean.length ? b : a));
  const thinned = lines.some(({ stepsPerPoint }) => stepsPerPoint > 1);
  const columns = thinned ? (['mean', 'min', 'max'] as const) : (['mean'] as const);
  const heading = { mean: 'mean', min: 'lowest', max: 'highest' };
  const firstStep = (point: number) => longest.firstStep + point * longest.stepsPerPoint;
  return {
    head: [
      thinned ? 'from step' : 'step',
      ...lines.flatMap(({ name }) =>
        columns.map((column) => (thinned ? `${name}, ${heading[column]}` : name)),
      ),
    ],
    rows: Array.from(longest.mean, (_, point) => [
      grouped(firstStep(point)),
      ...lines.flatMap((line) => {
        const at = Math.floor((firstStep(point) - line.firstStep) / line.stepsPerPoint);
        return columns.map((column) => (line[column][at] === undefined ? '' : ratio(line[column][at]!)));
      }),
    ]),
  };
}

function heatMapFigures({ numLayers }: Report, { run }: Selection): Figures {
  const { numRanks, heatMap } = run;
  const ranks = Array.from({ length: numRanks }, (_, rank) => rank);
  const row = (when: 'before' | 'after', layer: number) => [
    `layer ${layer}, ${when}`,
    ...ranks.map((rank) => times(heatMap[when][layer * numRanks + rank]!)),
  ];
  return {
    head: ['× mean', ...ranks.map((rank) => `rank ${rank}`)],
    rows: Array.from({ length: numLayers }, (_, layer) => [row('before', layer), row('after', layer)]).flat(),
  };
}

function rankLoadsFigures(report: Report, selection: Selection): Figures {
  const { loads, mean, unbalanced } = chosenRankLoads(report, selection);
  return {
    head: ['rank', 'tokens', '× mean', ...(unbalanced === undefined ? [] : ['tokens without balancing'])],
    rows: Array.from(loads, (tokens, rank) => [
      String(rank),
      load(tokens),
      times(mean === 0 ? 1 : tokens / mean),
      ...(unbalanced === undefined ? [] : [load(unbalanced[rank]!)]),
    ]),
  };
}

function savedFigures({ runs }: Report): Figures {
  const planning = runs.filter(({ line }) => line.colour !== null);
  const longest = planning.reduce(
    (a, b) => (b.savedSeconds.length > a.savedSeconds.length ? b : a),
    runs[0]!,
  );
  const ends = Array.from(longest.savedSeconds, (_, point) => endOfPoint(longest, point));
  return {
    head: ['before step', ...planning.map(({ name }) => name)],
    rows: ends.map((step) => [
      grouped(step),
      ...planning.map((run) => {
        const saved = savedBefore(run, step);
        return saved === undefined ? '' : seconds(saved);
      }),
    ]),
  };
}

function costFigures(report: Report): Figures {
  return {
    head: [
      'policy',
      'at perfect balance',
      'waiting for the slowest rank',
      'moving weights and planning',
      'slots moved',
    ],
    rows: costBars(report).map((bar) => [
      bar.name,
      seconds(bar.idealSeconds),
      seconds(bar.waitingSeconds),
      seconds(bar.changeSeconds),
      grouped(bar.moves),
    ]),
  };
}
