import { counted, grouped, load, percent } from '../../formats/number-text.ts';
import { axisStyle, commonOption, shortCount, titleAbove, titleBelow } from './axes.ts';
import type { Picture, Surface } from './chart.ts';
import { trafficColour } from './diverging.ts';
import { byId, element } from './element.ts';
import { type Figures, scrollBox, tableOf } from './figures.ts';
import { largest, type Run } from './report.ts';
import type { Selection } from './selection.ts';
import { tip } from './tip.ts';

/** Room around the cells, in pixels, and their largest size. */
const MARGIN = { left: 44, top: 24, right: 8, bottom: 44 };
const CELL = { least: 6, most: 44 };
/** Most moves in the table. */
const MOST_ROWS = 256;
/** Counts are written into cells of at least this size. */
const WRITTEN = 28;

/** A cell as ECharts hands it on. */
interface Cell {
  readonly value: readonly [to: number, from: number, moves: number];
}

/** Moves from node to node of the plan that is chosen, or of all. */
function nodeMovesOf({ run, plan }: Selection): Run['moved']['nodeMoves'] {
  return plan?.nodeMoves ?? run.moved.nodeMoves;
}

/** How many moves there are, and how many of them go to another node. */
function totals(nodeMoves: Run['moved']['nodeMoves']): { moves: number; between: number } {
  let [moves, between] = [0, 0];
  nodeMoves.forEach((row, from) => {
    row.forEach((count, to) => {
      moves += count;
      if (from !== to) between += count;
    });
  });
  return { moves, between };
}

/** What is moved, in a sentence. */
function movesFinding(selection: Selection): string {
  const { run, plan } = selection;
  const nodeMoves = nodeMovesOf(selection);
  const { moves, between } = totals(nodeMoves);
  if (moves === 0) return `${run.name} moves nothing`;
  const who =
    plan === undefined
      ? `${run.name} moves ${counted(moves, 'expert')} in ${counted(run.moved.numPlans, 'plan')}`
      : `After step ${grouped(plan.startedAfterStep)} ${run.name} moves ${counted(moves, 'expert')}`;
  if (nodeMoves.length === 1) return `${who}, all within one node`;
  return `${who}, ${grouped(between)} of them (${percent(between / moves)}) between nodes`;
}

/** Moves from node to node, a row for each that sends. */
export function trafficPicture(selection: Selection, surface: Surface): Picture {
  const nodeMoves = nodeMovesOf(selection);
  const numNodes = nodeMoves.length;
  const inner = surface.width - MARGIN.left - MARGIN.right;
  const cell = Math.min(CELL.most, Math.max(CELL.least, Math.floor(inner / numNodes)));
  const most = largest(nodeMoves.flat());
  const { theme } = surface;
  const nodes = {
    type: 'category',
    data: Array.from({ length: numNodes }, (_, node) => String(node)),
    ...axisStyle(surface),
    axisTick: { show: false },
  };
  return {
    height: MARGIN.top + cell * numNodes + MARGIN.bottom,
    text: `${movesFinding(selection)}. ${busiest(nodeMoves)}`,
    option: {
      ...commonOption(surface, ({ value: [to, from, moves] }: Cell) =>
        tip(from === to ? `within node ${from}` : `node ${from} to node ${to}`, [['moves', grouped(moves)]]),
      ),
      grid: { ...MARGIN, width: cell * numNodes, height: cell * numNodes },
      xAxis: { ...nodes, ...titleBelow('to node') },
      yAxis: {
        ...nodes,
        inverse: true,
        nameLocation: 'start',
        ...titleAbove(surface, 'from node', MARGIN.left),
      },
      series: [
        {
          type: 'heatmap',
          data: nodeMoves.flatMap((row, from) => row.map((moves, to) => [to, from, moves])),
          itemStyle: {
            color: ({ value }: Cell) => trafficColour(theme, most === 0 ? 0 : value[2] / most),
            borderColor: theme.surface,
            borderWidth: cell >= WRITTEN ? 2 : 0,
          },
          label: {
            show: cell >= WRITTEN,
            color: theme.ink,
            fontSize: 12,
            formatter: ({ value }: Cell) => shortCount(value[2]),
          },
          emphasis: { disabled: true },
          progressive: 0,
        },
      ],
    },
  };
}

function busiest(nodeMoves: Run['moved']['nodeMoves']): string {
  const pairs = nodeMoves.flatMap((row, from) => row.map((moves, to) => ({ from, to, moves })));
  const most = pairs.reduce((a, b) => (b.moves > a.moves ? b : a));
  return `Most from node ${most.from} to node ${most.to}: ${grouped(most.moves)}.`;
}

/** The field that chooses a plan, the moves of it one by one, and what is said of them. */
export function followMoves(selection: Selection): void {
  const field = byId<HTMLSelectElement>('plan');
  field.addEventListener('change', () =>
    selection.choosePlan(field.value === '' ? undefined : Number(field.value)),
  );
  let shownRun: Run | undefined;
  const show = () => {
    const { run, planIndex } = selection;
    if (run !== shownRun) fillPlans(field, run);
    shownRun = run;
    field.value = planIndex === undefined ? '' : String(planIndex);
    byId('moves-finding').textContent = movesFinding(selection);
    byId('moves-field').hidden = run.moved.numPlans === 0;
    byId('traffic-figure').hidden = run.moved.numPlans === 0 || run.moved.nodeMoves.length === 1;
    showList(selection);
  };
  selection.onChange(show);
  show();
}

function fillPlans(field: HTMLSelectElement, { moved: { numPlans, plans } }: Run): void {
  const options = plans.map(({ startedAfterStep, moves }, i) =>
    element(
      'option',
      { value: String(i) },
      `after step ${grouped(startedAfterStep)}: ${counted(moves, 'move')}`,
    ),
  );
  const all = `all ${counted(numPlans, 'plan')}`;
  const left = numPlans - plans.length;
  const name = left === 0 ? all : `${all}; the first ${grouped(plans.length)} to choose from`;
  field.replaceChildren(element('option', { value: '' }, name), ...options);
}

/** The moves of the chosen plan, or the heaviest of all that the page holds. */
function showList(selection: Selection): void {
  const place = byId('moves-list');
  const figures = movesFigures(selection);
  if (figures.rows.length === 0) {
    place.replaceChildren();
    return;
  }
  const { run, plan } = selection;
  const all = plan?.moves ?? totals(run.moved.nodeMoves).moves;
  const listed = figures.rows.length;
  const about =
    listed === all
      ? `${counted(all, 'move')}, the copies with the most tokens first.`
      : `The ${grouped(listed)} moves with the most tokens, of ${grouped(all)}.`;
  place.replaceChildren(
    element('p', { class: 'about' }, about),
    scrollBox('Moves', tableOf(figures), 'tall'),
  );
}

/** Which experts' weights go from which rank to which. */
function movesFigures({ run, plan }: Selection): Figures {
  const nodeOf = (rank: number) => run.nodeStarts.filter((start) => start <= rank).length - 1;
  const moves = (plan === undefined ? run.moved.plans : [plan]).flatMap(({ startedAfterStep, listed }) =>
    listed.map((move) => ({ ...move, startedAfterStep })),
  );
  moves.sort((a, b) => b.load - a.load);
  return {
    columns: [
      { head: 'after step', text: grouped },
      { head: 'layer', text: String },
      { head: 'expert', text: String },
      { head: 'tokens a step', text: load },
      { head: 'from rank', text: String },
      { head: 'to rank', text: String },
      { head: 'from' },
    ],
    rows: moves
      .slice(0, MOST_ROWS)
      .map(({ startedAfterStep, layer, expert, load: tokens, fromRank, toRank }) => [
        startedAfterStep,
        layer,
        expert,
        tokens,
        fromRank,
        toRank,
        nodeOf(fromRank) === nodeOf(toRank) ? 'the same node' : 'another node',
      ]),
  };
}

/** Moves from node to node, as a table. */
export function trafficFigures(selection: Selection): Figures {
  const nodeMoves = nodeMovesOf(selection);
  return {
    columns: [
      { head: 'from node', text: String },
      ...nodeMoves.map((_, node) => ({ head: `to node ${node}`, text: grouped })),
    ],
    rows: nodeMoves.map((row, node) => [node, ...row]),
  };
}
