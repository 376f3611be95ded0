import { bytes, counted, grouped, ratio, seconds, times } from '../../../formats/number-text.ts';
import type { Chart as ChartOfReport } from '../../../report/browser/chart.ts';
import { Chart } from '../../../report/browser/chart.ts';
import { divergingStops, gradientOf } from '../../../report/browser/diverging.ts';
import { byId, element } from '../../../report/browser/element.ts';
import { readTheme } from '../../../report/browser/theme.ts';
import type { DashboardView, GroupHistoryView, RankMap } from '../view.ts';
import { balancePicture, lostPicture, type OverTime } from './charts.ts';
import { type Cells, cellsOf, RankMapView, rankMapPicture } from './rank-map.ts';
import {
  historyFigures,
  hottestFigures,
  liveFigures,
  liveFinding,
  movesText,
  planCounts,
  planFigures,
  showTable,
} from './tables.ts';
import { ago, groupFinding, groupNotice } from './texts.ts';

const NOTHING = { option: {}, height: 40, text: 'nothing yet' };

/** One group, as it stands now. */
export class GroupPage {
  readonly #charts: readonly ChartOfReport[];
  readonly #map: ChartOfReport;
  #view: DashboardView | undefined;
  #cells: { readonly of: RankMap; readonly cells: Cells } | undefined;
  #nowMs = 0;

  constructor() {
    let map: RankMapView | undefined;
    this.#map = new Chart(byId('rank-map'), 'svg', (surface) => {
      const cells = this.#cellsNow();
      map?.paint(surface);
      return cells === undefined ? NOTHING : rankMapPicture(cells, surface);
    });
    map = new RankMapView(byId('rank-map'), () => this.#cellsNow());
    this.#charts = [
      new Chart(byId('balance-chart'), 'svg', (surface) => {
        const over = this.#overTime();
        return over === undefined ? NOTHING : balancePicture(over, surface);
      }),
      new Chart(byId('lost-chart'), 'svg', (surface) => {
        const over = this.#overTime();
        return over === undefined ? NOTHING : lostPicture(over, surface);
      }),
    ];
    for (const input of spanInputs()) {
      input.addEventListener('change', () => this.#showTime());
    }
  }

  show(view: DashboardView, nowMs: number): void {
    const before = this.#view;
    this.#view = view;
    this.#nowMs = nowMs;
    this.#showHead(view);
    this.#showWatchdog(view);
    if (before?.rankLoads !== view.rankLoads || before === undefined) this.#showRanks(view);
    if (before?.history !== view.history || before.plans !== view.plans) this.#showTime();
    this.tick(nowMs);
  }

  /** Another group is shown, of which nothing is known yet. */
  clear(name: string): void {
    this.#view = undefined;
    byId('group-name').textContent = name;
    byId('group-finding').textContent = '';
  }

  /** Time has passed: what is told by its age is told anew. */
  tick(nowMs: number): void {
    const view = this.#view;
    if (view === undefined) return;
    this.#nowMs = nowMs;
    showTiles(view, nowMs);
    const notice = groupNotice(view, nowMs);
    setText('group-notice', notice);
    byId('group-notice').hidden = notice === '';
    this.#showPlans(view);
  }

  /** Draws what is over time up to now. */
  redraw(): void {
    for (const chart of this.#charts) chart.change();
  }

  /** Colours have changed. */
  recolour(): void {
    const cells = this.#cellsNow();
    if (cells === undefined) return;
    byId('heat-scale').style.background = gradientOf(divergingStops(readTheme(), cells.most));
    byId('heat-mean').style.left = `${100 / cells.most}%`;
    byId('heat-most').textContent = `${times(cells.most)} × mean`;
  }

  #cellsNow(): Cells | undefined {
    const map = this.#view?.rankLoads;
    if (map === undefined || map === null) return undefined;
    if (this.#cells?.of !== map) this.#cells = { of: map, cells: cellsOf(map) };
    return this.#cells.cells;
  }

  #overTime(): OverTime | undefined {
    if (this.#view === undefined) return undefined;
    const { history, plans } = this.#view;
    return { history, span: chosenSpan(), live: plans.live, nowMs: this.#nowMs };
  }

  #showHead(view: DashboardView): void {
    const { group } = view;
    setText('group-name', group.group);
    setText('group-finding', groupFinding(view));
    const shape =
      `${counted(group.numLayers, 'layer')} of ${counted(group.numLogicalExperts, 'expert')}, ` +
      `${counted(group.numPhysicalExperts, 'slot')} on ${counted(group.numRanks, 'rank')}`;
    const nodes = group.numNodes === 1 ? '' : ` in ${counted(group.numNodes, 'node')}`;
    setText('group-about', `${shape}${nodes}; policy ${group.policy}.`);
  }

  #showWatchdog({ group: { conditions } }: DashboardView): void {
    const watched = conditions.filter(({ type }) => WATCHED.includes(type));
    const flagged = watched.filter(({ status }) => !status);
    setText(
      'watchdog-finding',
      flagged.length === 0 ? 'Nothing is flagged' : `${counted(flagged.length, 'cause')} flagged`,
    );
    const items = [...flagged, ...watched.filter(({ status }) => status)].map(({ type, status, reason }) =>
      element(
        'li',
        { class: status ? 'ok' : 'bad' },
        element('strong', {}, status ? 'ok' : 'flagged'),
        ` ${type}: ${reason}`,
      ),
    );
    byId('watchdog').replaceChildren(...items);
  }

  #showRanks({ rankLoads }: DashboardView): void {
    byId('ranks-shown').hidden = rankLoads === null || rankLoads.tokens === 0;
    if (rankLoads === null) {
      setText('ranks-finding', 'Nothing to show: no rank has reported loads');
      return;
    }
    const { step, epoch, tokens, measured, layersPerRow, ranksPerColumn, hottest } = rankLoads;
    const of = step === null ? 'the mean step of the window' : `step ${grouped(step)}`;
    if (tokens === 0) {
      setText('ranks-finding', `Nothing to show: ${of} had no tokens`);
      return;
    }
    const [first] = hottest;
    setText(
      'ranks-finding',
      `Rank ${first!.rank} has ${times(first!.share)} times the mean in layer ${first!.layer}, in ${of}`,
    );
    const cell =
      layersPerRow * ranksPerColumn === 1
        ? 'A cell is a rank in a layer'
        : `A cell is the highest of ${counted(layersPerRow, 'layer')} x ${counted(ranksPerColumn, 'rank')}`;
    const how =
      measured === 'slots' ? 'as the ranks counted it' : "experts' loads, shared out evenly by their copies";
    setText(
      'ranks-caption',
      `${cell}, in mean rank loads of the layer: ${how}, under epoch ${epoch}. Max: what the layer waits for.`,
    );
    showTable(byId('hottest'), 'The hottest cells', hottestFigures(hottest));
    this.recolour();
    this.#map.change();
  }

  #showTime(): void {
    const view = this.#view;
    if (view === undefined) return;
    const span = view.history[chosenSpan()];
    const { points } = span;
    byId('time-shown').hidden = view.history.hours.points.length === 0;
    byId('lost-figure').hidden = !view.group.hasCost;
    byId('lost-note').hidden = view.group.hasCost;
    setText(
      'time-finding',
      points.length === 0
        ? 'Nothing to show: no step with tokens was measured'
        : `From ${ratio(points[0]![2])} to ${ratio(points.at(-1)![2])}, best 1`,
    );
    showTable(byId('time-figures'), 'Figures over time', historyFigures(span));
    this.redraw();
  }

  #showPlans({ plans, group }: DashboardView): void {
    setText('live-finding', liveFinding(plans.live, group.epoch));
    setText('moves', `${movesText(plans)}.`);
    const live = liveFigures(plans.live, group.numLayers, this.#nowMs);
    showTable(byId('live-table'), 'Mappings that went live', live);
    setText('plans-finding', plans.last.length === 0 ? 'Nobody has asked for one' : planCounts(plans));
    showTable(byId('plans-table'), 'Plans', planFigures(plans.last, this.#nowMs));
  }
}

const WATCHED: readonly string[] = [
  ...['LoadsArrive', 'PlansSucceed', 'MigrationProceeds', 'GainMeetsForecast', 'RanksAgree'],
];

function spanInputs(): HTMLInputElement[] {
  return [...document.querySelectorAll<HTMLInputElement>('input[name="span"]')];
}

function chosenSpan(): keyof GroupHistoryView {
  return spanInputs().find(({ checked }) => checked)?.value === 'hours' ? 'hours' : 'minutes';
}

/** The figures at a glance. */
function showTiles({ group, now, plans }: DashboardView, nowMs: number): void {
  const { windowMean, newest } = now;
  const { underWay, ranks } = group;
  const hasTokens = newest !== null && newest.tokens > 0;
  const hasMean = windowMean !== null && windowMean.activeExperts > 0;
  const lost = windowMean?.secondsLost ?? null;
  const rankTexts = Object.entries(ranks)
    .filter(([state, count]) => count > 0 && state !== 'unknown')
    .map(([state, count]) => `${count} ${state}`);
  const tiles: readonly (readonly [name: string, value: string, note?: string])[] = [
    ['Epoch', String(group.epoch), underWay === null ? '' : `${underWay.epoch} is ${underWay.state}`],
    ['Balancedness', hasTokens ? ratio(newest.balancedness) : '–', 'newest step'],
    [
      ...(['Window mean', hasMean ? ratio(windowMean.balancedness) : '–'] as const),
      windowMean === null ? '' : `${now.window.steps} of ${group.windowSize} steps`,
    ],
    [
      'Lost a step',
      lost === null ? '–' : seconds(lost),
      group.hasCost ? 'mean of the window' : 'no cost model',
    ],
    [
      ...(['Slowest', hasMean ? `rank ${windowMean.worstRank}` : '–'] as const),
      hasMean ? `layer ${windowMean.worstLayer} is worst` : '',
    ],
    ['Active experts', windowMean === null ? '–' : grouped(windowMean.activeExperts), 'mean of the layers'],
    ['Ranks', String(group.numRanks), rankTexts.join(', ')],
    ['Loads', ago(now.lastLoadsAt, nowMs), now.window.lastStep === null ? '' : `step ${now.window.lastStep}`],
    ['Plan', ago(now.lastPlanAt, nowMs)],
    [
      ...(['Moves', grouped(plans.moves.live)] as const),
      plans.bytes === null ? 'since the start' : bytes(plans.bytes.live),
    ],
  ];
  const host = byId('tiles');
  for (const [i, [name, value, note = '']] of tiles.entries()) {
    const tile = (host.children[i] ?? host.appendChild(newTile(name))) as HTMLElement;
    for (const [part, text] of [value, note].entries()) {
      const place = tile.children[part + 1]!;
      if (place.textContent !== text) place.textContent = text;
    }
  }
}

function newTile(name: string): HTMLElement {
  return element('div', {}, element('dt', {}, name), element('dd'), element('dd', { class: 'about' }));
}

function setText(id: string, text: string): void {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
}
