import { bytes, grouped, load, ratio, seconds, times } from '../../formats/number-text.ts';
import { costBars, PART_NAMES, PARTS } from './costs.ts';
import type { ChartFigures, Figures } from './figures.ts';
import { trafficFigures } from './moves.ts';
import { chosenRankLoads } from './rank-loads.ts';
import type { Report } from './report.ts';
import { endOfPoint, savedBefore } from './saved.ts';
import type { Selection } from './selection.ts';

/** The figures behind every chart of a replay's page. */
export function chartFigures(report: Report, selection: Selection): ChartFigures {
  return {
    'over-time': () => overTimeFigures(report, selection),
    costs: () => costFigures(report),
    saved: () => savedFigures(report, selection),
    pareto: () => sweepFigures(report),
    'heat-map': () => heatMapFigures(report, selection),
    'rank-loads': () => rankLoadsFigures(report, selection),
    traffic: () => trafficFigures(selection),
  };
}

function overTimeFigures({ lines }: Report, { range }: Selection): Figures {
  const longest = lines.reduce((a, b) => (b.mean.length > a.mean.length ? b : a));
  const thinned = lines.some(({ stepsPerPoint }) => stepsPerPoint > 1);
  const columns = thinned ? (['mean', 'min', 'max'] as const) : (['mean'] as const);
  const heading = { mean: 'mean', min: 'lowest', max: 'highest' };
  const steps = Array.from(longest.mean, (_, point) => longest.firstStep + point * longest.stepsPerPoint);
  const shown = steps.filter((step) => step + longest.stepsPerPoint > range.from && step < range.to);
  return {
    columns: [
      { head: thinned ? 'from step' : 'step', text: grouped },
      ...lines.flatMap(({ name }) =>
        columns.map((column) => ({ head: thinned ? `${name}, ${heading[column]}` : name, text: ratio })),
      ),
    ],
    rows: shown.map((step) => [
      step,
      ...lines.flatMap((line) => {
        const at = Math.floor((step - line.firstStep) / line.stepsPerPoint);
        return columns.map((column) => line[column][at]);
      }),
    ]),
  };
}

function heatMapFigures({ numLayers }: Report, { run, view }: Selection): Figures {
  const { numRanks, heatMap } = run;
  const ranks = Array.from({ length: numRanks }, (_, rank) => rank);
  const row = (when: 'before' | 'after', layer: number) => [
    `layer ${layer}, ${when}`,
    heatMap[when].maximum[layer],
    ...ranks.map((rank) => heatMap[when][view][layer * numRanks + rank]),
  ];
  return {
    columns: [
      { head: `× mean, ${view === 'p95' ? '95th percentile' : 'mean'} of steps` },
      { head: 'mean of the maximum', text: times },
      ...ranks.map((rank) => ({ head: `rank ${rank}`, text: times })),
    ],
    rows: Array.from({ length: numLayers }, (_, layer) => [row('before', layer), row('after', layer)]).flat(),
  };
}

function rankLoadsFigures(report: Report, selection: Selection): Figures {
  const { loads, mean, unbalanced } = chosenRankLoads(report, selection);
  const beside = unbalanced === undefined ? [] : [{ head: 'tokens without balancing', text: load }];
  return {
    columns: [
      { head: 'rank', text: String },
      { head: 'tokens', text: load },
      { head: '× mean', text: times },
      ...beside,
    ],
    rows: Array.from(loads, (tokens, rank) => [
      rank,
      tokens,
      mean === 0 ? 1 : tokens / mean,
      ...(unbalanced === undefined ? [] : [unbalanced[rank]]),
    ]),
  };
}

function savedFigures({ runs }: Report, { range }: Selection): Figures {
  const planning = runs.filter(({ line }) => line.colour !== null);
  const longest = planning.reduce(
    (a, b) => (b.savedSeconds.length > a.savedSeconds.length ? b : a),
    runs[0]!,
  );
  const ends = Array.from(longest.savedSeconds, (_, point) => endOfPoint(longest, point));
  return {
    columns: [
      { head: 'before step', text: grouped },
      ...planning.map(({ name }) => ({ head: name, unit: 's' as const, text: seconds })),
    ],
    rows: ends
      .filter((step) => step > range.from && step <= range.to)
      .map((step) => [step, ...planning.map((run) => savedBefore(run, step))]),
  };
}

function costFigures(report: Report): Figures {
  return {
    columns: [
      { head: 'policy' },
      ...PARTS.map((part) => ({ head: PART_NAMES[part], unit: 's' as const, text: seconds })),
      { head: 'modelled time', unit: 's', text: seconds },
      { head: 'slots moved', text: grouped },
    ],
    rows: costBars(report).map((bar) => [
      bar.name,
      ...PARTS.map((part) => bar[part]),
      bar.modelledSeconds,
      bar.moves,
    ]),
  };
}

function sweepFigures({ sweep }: Report): Figures {
  return {
    columns: [
      { head: 'configuration' },
      { head: 'ranks', text: grouped },
      { head: 'bytes of redundant experts', text: bytes },
      { head: 'modelled time', unit: 's', text: seconds },
      { head: 'saved', unit: 's', text: seconds },
      { head: 'Pareto front' },
    ],
    rows: (sweep?.points ?? []).map((point) => [
      point.name,
      point.numRanks,
      point.redundantBytes,
      point.modelledSeconds,
      point.secondsSaved,
      point.onFront ? 'front' : '',
    ]),
  };
}
