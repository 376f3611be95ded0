import { percent } from '../../formats/number-text.ts';
import type { ReplayResult } from '../../replay/index.ts';
import type { Colors } from '../colors.ts';
import { PlainTable } from '../plain-table.ts';

/** What the worst single failure would lose with each policy's last mapping, and what survives any. */
export function failureTable(replays: readonly ReplayResult[], colors: Colors): string[] {
  const all = replays[0]?.failureLosses ?? [];
  if (all.length === 0) return [];
  const table = new PlainTable(['left', ...all.flatMap(() => ['right', 'right', 'right'] as const)], 2);
  table.push(['the worst', ...all.flatMap(({ level }) => [`${level}:`, '', 'load that'])].map(colors.bold));
  table.push(['failure loses', ...all.flatMap(() => ['experts', 'load', 'survives'])].map(colors.bold));
  for (const { name, failureLosses = [] } of replays) {
    table.push([
      name,
      ...failureLosses.flatMap(({ expertsShare, loadShare, survivingLoadShare }) =>
        [expertsShare, loadShare, survivingLoadShare].map(percent),
      ),
    ]);
  }
  // Of the same loads and slots: it is the same for all policies.
  table.push([
    'at best',
    ...all.flatMap(({ mostSurvivingLoadShare }) => ['', '', percent(mostSurvivingLoadShare)]),
  ]);
  return [table.toString()];
}
