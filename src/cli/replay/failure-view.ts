import { percent } from '../../formats/number-text.ts';
import type { ReplayResult } from '../../replay/index.ts';
import type { Colors } from '../colors.ts';
import { PlainTable } from '../plain-table.ts';

/** What the worst single failure would lose with each policy's last mapping; only where ranks change. */
export function failureTable(replays: readonly ReplayResult[], colors: Colors): string[] {
  const [first] = replays;
  const levels = (first?.rankChanges && first.failureLosses ? first.failureLosses : []).map(
    ({ level }) => level,
  );
  if (levels.length === 0) return [];
  const table = new PlainTable(['left', ...levels.flatMap(() => ['right', 'right'] as const)], 2);
  table.push(['the worst', ...levels.flatMap((level) => [`${level}:`, ''])].map(colors.bold));
  table.push(['failure loses', ...levels.flatMap(() => ['experts', 'load'])].map(colors.bold));
  for (const { name, failureLosses = [] } of replays) {
    table.push([
      name,
      ...failureLosses.flatMap((loss) => [percent(loss.expertsShare), percent(loss.loadShare)]),
    ]);
  }
  return [table.toString()];
}
