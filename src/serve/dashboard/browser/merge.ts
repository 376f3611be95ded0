import type {
  DashboardUpdate,
  DashboardView,
  HistoryPoint,
  HistorySpan,
  OverviewUpdate,
  OverviewView,
} from '../view.ts';

/** What is shown, with what has changed of it. Taken twice an update changes nothing more. */
export function mergeGroup(view: DashboardView, { points, ...parts }: DashboardUpdate): DashboardView {
  const { minutes, hours } = view.history;
  const history =
    points === undefined
      ? view.history
      : { minutes: mergePoints(minutes, points.minutes), hours: mergePoints(hours, points.hours) };
  return { ...view, ...parts, history };
}

function mergePoints(span: HistorySpan, points: readonly HistoryPoint[]): HistorySpan {
  const byTime = new Map([...span.points, ...points].map((point) => [point[0], point] as const));
  const sorted = [...byTime.values()].sort(([a], [b]) => a - b);
  return { ...span, points: sorted.slice(-span.maxPoints) };
}

/** The same of the list of groups. */
export function mergeGroups(view: OverviewView, { groups, gone, ...counts }: OverviewUpdate): OverviewView {
  const rows = new Map(view.groups.map((row) => [row.group, row] as const));
  for (const name of gone) rows.delete(name);
  for (const row of groups) rows.set(row.group, row);
  const sorted = [...rows.values()].sort((a, b) => (a.group < b.group ? -1 : 1));
  return { ...view, ...counts, groups: sorted };
}
