import { counted, ratio, seconds } from '../../../formats/number-text.ts';
import { byId, element } from '../../../report/browser/element.ts';
import { scrollBox } from '../../../report/browser/figures.ts';
import type { OverviewRow, OverviewView } from '../view.ts';
import { ago, stateText } from './texts.ts';

const COLUMNS = [
  ...['group', 'state', 'epoch', 'balancedness', 'lost a step', 'ranks', 'loads', 'plan', 'policy'],
];

/** The list of all groups. Its rows stay as they are, so that a link keeps the focus while figures change. */
export class GroupsPage {
  readonly #body = element('tbody');
  readonly #rows = new Map<string, HTMLTableRowElement>();

  constructor() {
    const heads = COLUMNS.map((name) => element('th', { scope: 'col', class: classOf(name) }, name));
    const table = element(
      'table',
      { class: 'groups' },
      element('thead', {}, element('tr', {}, ...heads)),
      this.#body,
    );
    byId('groups-table').append(scrollBox('All groups', table));
  }

  show({ numGroups, numFlagged, groups }: OverviewView, nowMs: number): void {
    byId('groups-finding').textContent = finding(numGroups, numFlagged, groups.length);
    const names = new Set(groups.map(({ group }) => group));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.remove();
      this.#rows.delete(name);
    }
    for (const [i, group] of groups.entries()) this.#showRow(group, i, nowMs);
    byId('groups-table').hidden = groups.length === 0;
  }

  #showRow(group: OverviewRow, place: number, nowMs: number): void {
    let row = this.#rows.get(group.group);
    if (row === undefined) {
      row = newRow(group.group);
      this.#rows.set(group.group, row);
    }
    if (this.#body.children[place] !== row) this.#body.insertBefore(row, this.#body.children[place] ?? null);
    row.classList.toggle('flagged', group.flagged.length > 0);
    for (const [i, text] of textsOf(group, nowMs).entries()) {
      const cell = row.cells[i + 1]!;
      if (cell.textContent !== text) cell.textContent = text;
    }
  }
}

const classOf = (column: string) => (column === 'state' || column === 'policy' ? 'text' : '');

function newRow(name: string): HTMLTableRowElement {
  const link = element('a', { href: `#group=${encodeURIComponent(name)}` }, name);
  const cells = COLUMNS.slice(1).map((column) => element('td', { class: classOf(column) }));
  return element('tr', {}, element('th', { scope: 'row' }, link), ...cells);
}

function textsOf(row: OverviewRow, nowMs: number): string[] {
  return [
    ...[stateText(row), String(row.epoch), row.balancedness === null ? '–' : ratio(row.balancedness)],
    ...[row.secondsLost === null ? '–' : seconds(row.secondsLost), String(row.numRanks)],
    ...[ago(row.lastLoadsAt, nowMs), ago(row.lastPlanAt, nowMs), row.policy],
  ];
}

function finding(numGroups: number, numFlagged: number, numShown: number): string {
  if (numGroups === 0) return 'None yet: PUT v1/groups/NAME declares one';
  const flagged = numFlagged === 0 ? 'nothing is flagged' : `${numFlagged} flagged by the watchdog`;
  const more = numShown < numGroups ? `; ${numShown} are shown` : '';
  return `${counted(numGroups, 'group')}, ${flagged}${more}`;
}
