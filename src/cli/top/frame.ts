import { printable, printableTexts } from '../../core/printable.ts';
import { bytes, counted, grouped, places, ratio, seconds, times } from '../../formats/number-text.ts';
import type { DashboardView, LiveRow, OverviewView, RankMap } from '../../serve/dashboard/view.ts';
import type { Colors } from '../colors.ts';
import { fitted } from '../wrap.ts';

/** All that is shown at one moment. */
export interface TopSnapshot {
  readonly url: string;
  /** Of all groups; undefined where a token of one group lets only that be seen. */
  readonly overview: OverviewView | undefined;
  readonly groups: readonly DashboardView[];
  /** Why it is not what is now: the service does not answer. */
  readonly problem?: string;
}

/** Where it is shown. */
export interface FrameSize {
  /** Undefined where nothing limits lines. */
  readonly columns: number | undefined;
  readonly colors: Colors;
}

/** Blocks of loads from none to twice the mean, and of shares from 0 to 1. */
const BLOCKS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/** What dead ranks show. */
const DEAD = '×';
const DEAD_CELL = 255;
/** Loads in means of the ranks from which on a block is coloured. */
const [WARM, HOT] = [1.1, 1.4];
/** Mappings that went live which are listed. */
const MOST_LIVE = 4;
const MOST_POINTS = 60;
/** What a line begins with: the name of what it shows. */
const LABEL = 11;
const USUAL_COLUMNS = 80;

/** Everything as lines, none longer than the columns. */
export function renderTop(given: TopSnapshot, { columns, colors }: FrameSize): string {
  const { url, overview, groups, problem } = printableTexts(given);
  const width = (columns ?? USUAL_COLUMNS) - LABEL;
  const at = overview?.at ?? groups[0]?.at;
  const head = [
    `${colors.bold('eplb top')}  ${url}${at === undefined ? '' : `  ${clock(at)}`}`,
    ...(problem === undefined ? [] : [colors.red(problem)]),
    ...(overview === undefined ? [] : [countLine(overview, groups.length)]),
  ];
  const parts = groups.map((group) => renderGroup(group, width, colors));
  return `${fitted([head, ...parts].map((lines) => lines.join('\n')).join('\n\n'), columns)}\n`;
}

function countLine({ numGroups, numFlagged }: OverviewView, numShown: number): string {
  const shown = numShown < numGroups ? `, ${grouped(numShown)} shown` : '';
  return `${counted(numGroups, 'group')}, ${grouped(numFlagged)} flagged${shown}`;
}

function renderGroup(view: DashboardView, width: number, colors: Colors): string[] {
  const { group } = view;
  const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = group;
  const modes = [group.paused ? 'paused' : '', group.dryRun ? 'dry run' : ''].filter((mode) => mode !== '');
  const sizes =
    `${counted(numLayers, 'layer')}, ${counted(numLogicalExperts, 'expert')} in ` +
    `${counted(numPhysicalExperts, 'slot')} on ${counted(numRanks, 'rank')}`;
  return [
    `${colors.bold(group.group)}  ${group.policy}, epoch ${group.epoch}${modes.map((mode) => `, ${mode}`).join('')}`,
    ` ${sizes}`,
    ...rankLines(view, width, colors),
    ...balanceLines(view, width),
    ...planLines(view),
    ...watchLines(view, colors),
  ];
}

const line = (label: string, text: string) => ` ${label.padEnd(LABEL - 2)} ${text}`;

function rankLines({ group, rankLoads }: DashboardView, width: number, colors: Colors): string[] {
  const states = Object.entries(group.ranks).filter(([, count]) => count > 0);
  const known = states.map(([state, count]) => `${grouped(count)} ${state}`).join(', ');
  const under = group.underWay;
  const way = under === null ? '' : `; epoch ${under.epoch} is ${under.state}`;
  const lines = [line('ranks', `${known === '' ? 'none has said anything' : known}${way}`)];
  if (rankLoads === null) return lines;
  const loads = meansOfColumns(rankLoads);
  const live = loads.filter((load) => load !== undefined);
  const blocks = loads.map((load) => blockOf(load, colors));
  for (let from = 0; from < blocks.length; from += Math.max(1, width)) {
    const row = blocks.slice(from, from + Math.max(1, width)).join('');
    lines.push(line(from === 0 ? 'heat' : '', row));
  }
  if (live.length === 0) return lines;
  const [least, most] = [Math.min(...live), Math.max(...live)];
  const name = (load: number) => rankName(loads.indexOf(load), rankLoads);
  lines.push(line('', `${times(most)} of the mean at ${name(most)}, ${times(least)} at ${name(least)}`));
  return lines;
}

/** The mean over the layers of each column of ranks; undefined where all of them are dead. */
function meansOfColumns({ rows, columns, scale, cells }: RankMap): (number | undefined)[] {
  const values = Buffer.from(cells, 'base64');
  return Array.from({ length: columns }, (_, column) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) {
      const cell = values[row * columns + column] ?? 0;
      if (cell === DEAD_CELL) return undefined;
      sum += cell * scale;
    }
    return sum / Math.max(1, rows);
  });
}

function rankName(column: number, { ranksPerColumn }: RankMap): string {
  const first = column * ranksPerColumn;
  return ranksPerColumn === 1 ? `rank ${first}` : `ranks ${first} to ${first + ranksPerColumn - 1}`;
}

function blockOf(load: number | undefined, colors: Colors): string {
  if (load === undefined) return colors.red(DEAD);
  const block = BLOCKS[Math.max(0, Math.min(BLOCKS.length - 1, Math.floor((load / 2) * BLOCKS.length)))]!;
  return load >= HOT ? colors.red(block) : load >= WARM ? colors.yellow(block) : block;
}

function balanceLines({ now, history }: DashboardView, width: number): string[] {
  const { newest, windowMean, window } = now;
  if (newest === null) return [line('balance', 'no loads since the service started')];
  const mean = windowMean === null ? '' : `, ${ratio(windowMean.balancedness)} mean step of the window`;
  const lost = (value: number | null | undefined) =>
    value === null || value === undefined ? 'not known without a cost model' : `${seconds(value)} a step`;
  const { points, secondsPerPoint } = history.minutes;
  const shown = points.slice(-Math.max(1, Math.min(width, MOST_POINTS)));
  const spark = shown.map(
    ([, , value]) => BLOCKS[Math.min(BLOCKS.length - 1, Math.floor(value * BLOCKS.length))]!,
  );
  const incomplete = window.incompleteSteps > 0 ? `, ${grouped(window.incompleteSteps)} incomplete` : '';
  return [
    line('balance', `${ratio(newest.balancedness)} at step ${grouped(newest.step)}${mean}${incomplete}`),
    line('time lost', lost(newest.secondsLost)),
    ...(spark.length === 0 ? [] : [line('history', spark.join(''))]),
    ...(spark.length === 0
      ? []
      : [line('', `balancedness, 0 to 1, of the last ${seconds(shown.length * secondsPerPoint)}`)]),
  ];
}

function planLines({ plans }: DashboardView): string[] {
  const { counts, live, moves } = plans;
  const byResult = new Map<string, number>();
  for (const { result, count } of counts) byResult.set(result, (byResult.get(result) ?? 0) + count);
  const results = [...byResult].map(([result, count]) => `${grouped(count)} ${result}`).join(', ');
  const last = plans.last[0];
  const reason = last !== undefined && last.reason !== '' ? `; last: ${last.reason}` : '';
  const moved = plans.bytes === null ? '' : `, ${bytes(plans.bytes.live)}`;
  return [
    line('plans', `${results === '' ? 'none was asked for' : results}${reason}`),
    line('moves', `${grouped(moves.live)} live of ${grouped(moves.planned)} planned${moved}`),
    ...live.slice(0, MOST_LIVE).map((row) => line(`epoch ${row.epoch}`, liveText(row))),
  ];
}

/** What a mapping promised, and what came of it: balancedness before and after, and the gain of a step. */
function liveText({ moves, predicted, realised, gain }: LiveRow): string {
  const share = (value: number | null) => (value === null ? '?' : places(value, 3));
  const promise =
    predicted === null ? '' : `predicted ${share(predicted.before)} to ${share(predicted.after)}, `;
  const came =
    realised.after === null ? 'not measured yet' : `${share(realised.before)} to ${share(realised.after)}`;
  return `${counted(moves, 'move')}, ${promise}realised ${came}${gainText(gain)}`;
}

function gainText(gain: LiveRow['gain']): string {
  if (gain === null) return '';
  const value = (own: number) => (gain.unit === 'seconds' ? seconds(own) : `${places(100 * own, 1)}%`);
  const predicted = gain.predicted === null ? '' : ` of ${value(gain.predicted)}`;
  return `; gains ${value(gain.realised)}${predicted} a step`;
}

function watchLines({ group }: DashboardView, colors: Colors): string[] {
  const flagged = group.conditions.filter(({ status, type }) => !status && WATCHED.has(type));
  if (flagged.length === 0) return [line('watchdog', colors.green('nothing is flagged'))];
  return flagged.map(({ type, reason }, i) =>
    line(i === 0 ? 'watchdog' : '', `${colors.red(printable(type))}: ${reason}`),
  );
}

/** What the watchdog knows: the other conditions say how a group is set up. */
const WATCHED: ReadonlySet<string> = new Set([
  ...['LoadsArrive', 'PlansSucceed', 'MigrationProceeds', 'GainMeetsForecast', 'RanksAgree'],
]);

function clock(at: number): string {
  return new Date(at).toTimeString().slice(0, 8);
}
