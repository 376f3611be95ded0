import { grouped, percent, ratio, seconds } from '../../formats/number-text.ts';
import { backText, eventsText } from '../../replay/event-text.ts';
import type { ReplayResult } from '../../replay/index.ts';
import type { Colors } from '../colors.ts';
import { PlainTable } from '../plain-table.ts';

/** What became of ranks in replays, what each policy lost by it, and when it was back; empty without any. */
export function changeTables(replays: readonly ReplayResult[], colors: Colors): string[] {
  const [first] = replays;
  const changes = first?.rankChanges ?? [];
  if (changes.length === 0) return [];
  const parts = changes.map(({ step, events }, at) => {
    const heading = ` ${colors.bold(`before step ${grouped(step)}: ${eventsText(events)}`)}`;
    return `${heading}\n${changeTable(replays, at, colors).trimEnd()}`;
  });
  return [...parts, ` ${MEANING}`];
}

const MEANING =
  'lost: experts of layers without a copy left, loaded from the host. balancedness: the 32 steps before, the\n' +
  ' first 8 after, the last 32. back: steps until 8 in a row are as balanced as before, to 1%. cost: time\n' +
  ' beyond that of steps balanced as before on the ranks that live, until back or to the end, repair included';

function changeTable(replays: readonly ReplayResult[], at: number, colors: Colors): string {
  const table = new PlainTable(['left', ...new Array<'right'>(9).fill('right')], 2);
  const heads = [
    ['', 'experts', 'load', 'repair', '', 'balanced-', '', 'step', 'back', ''],
    ['policy', 'lost', 'lost', 'takes', 'before', 'ness', 'settled', 'settled', 'after', 'cost'],
  ];
  for (const head of heads) table.push(head.map(colors.bold));
  for (const { name, rankChanges } of replays) {
    const change = rankChanges?.[at];
    if (change === undefined) continue;
    const { before, atOnce, settled, secondsLost } = change;
    table.push([
      name,
      grouped(change.lostExperts),
      percent(change.lostLoadShare),
      seconds(change.repairSeconds),
      before === null ? '-' : ratio(before.balancedness),
      ratio(atOnce.balancedness),
      ratio(settled.balancedness),
      seconds(settled.stepSeconds),
      backText(change),
      secondsLost === null ? '-' : seconds(secondsLost),
    ]);
  }
  return table.toString();
}
