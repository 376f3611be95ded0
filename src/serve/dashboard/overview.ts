import { packageVersion } from '../../core/version.ts';
import type { ServeTime } from '../time.ts';
import { Changes, Feed, type Watchers } from './feed.ts';
import type { GroupDashboard } from './group-dashboard.ts';
import type { OverviewRow, OverviewUpdate, OverviewView } from './view.ts';

/** Rows of the list: 100 kB at most. */
const MOST_ROWS = 200;

/** The list of all groups. */
export class Overview {
  readonly feed: Feed;
  readonly #dashboards: () => readonly GroupDashboard[];
  readonly #nowMs: () => number;
  readonly #changes = new Changes<Record<string, OverviewRow>>();
  #shown: readonly string[] = [];
  #counts = '';

  /** @param dashboards of all groups, in the order of their names */
  constructor(dashboards: () => readonly GroupDashboard[], time: ServeTime, watchers: Watchers) {
    const startMs = Date.now() - time.now();
    this.#nowMs = () => Math.round(startMs + time.now());
    this.#dashboards = dashboards;
    this.feed = new Feed({ whole: () => this.view(), changes: () => this.#changesSince() }, time, watchers);
  }

  view(): OverviewView {
    return { ...this.#list(), version: packageVersion() };
  }

  #list(): Omit<OverviewView, 'version'> {
    const rows = this.#dashboards().map((dashboard) => dashboard.row());
    const flagged = rows.filter((row) => row.flagged.length > 0);
    const [numGroups, numFlagged] = [rows.length, flagged.length];
    const shown = rows.length <= MOST_ROWS ? rows : firstOf([...new Set([...flagged, ...rows])]);
    return { at: this.#nowMs(), numGroups, numFlagged, groups: shown };
  }

  #changesSince(): OverviewUpdate | undefined {
    const list = this.#list();
    const names = list.groups.map(({ group }) => group);
    const gone = this.#shown.filter((name) => !names.includes(name));
    const changed = this.#changes.of(Object.fromEntries(list.groups.map((row) => [row.group, row])));
    for (const name of gone) this.#changes.forget(name);
    const counts = `${list.numGroups} ${list.numFlagged}`;
    const isSame = gone.length === 0 && Object.keys(changed).length === 0 && counts === this.#counts;
    this.#shown = names;
    this.#counts = counts;
    if (isSame) return undefined;
    return { ...list, groups: Object.values(changed) as OverviewRow[], gone };
  }
}

function firstOf(rows: readonly OverviewRow[]): OverviewRow[] {
  return rows.slice(0, MOST_ROWS).sort((a, b) => (a.group < b.group ? -1 : 1));
}
