import { bytes, grouped, percent, ratio, seconds } from '../formats/number-text.ts';
import { backText, eventsText } from '../replay/event-text.ts';
import type { RankChangeResult } from '../replay/rank-change-result.ts';
import type { ReplayReport, ReplayResult } from '../replay/result.ts';
import { type Html, html } from './html.ts';
import { scrollTable } from './scroll-table.ts';

/** Whether ranks changed in any replay. */
export function hasChanges({ replays }: ReplayReport): boolean {
  return replays.some(({ rankChanges = [] }) => rankChanges.length > 0);
}

/** What the first change of ranks came to, in a sentence. */
export function changesFinding({ replays }: ReplayReport): string {
  const { step, events } = replays.flatMap(({ rankChanges = [] }) => rankChanges.slice(0, 1))[0]!;
  const what = `${eventsText(events)} before step ${grouped(step)}`;
  const planned = replays.filter(({ configuration }) => configuration.policy !== 'static');
  const backs = (planned.length === 0 ? replays : planned).map(({ name, rankChanges = [] }) => {
    return rankChanges[0] === undefined ? name : `${name} ${backText(rankChanges[0])}`;
  });
  const until = 'steps until as balanced as before';
  return `${what[0]!.toUpperCase()}${what.slice(1)}: ${until}: ${backs.join(', ')}`;
}

/** What each change of ranks lost with each policy, and how long it took to be back. */
export function changesTable({ replays }: ReplayReport): Html {
  const numChanges = Math.max(...replays.map(({ rankChanges = [] }) => rankChanges.length));
  const rows = Array.from({ length: numChanges }, (_, at) =>
    replays.flatMap((replay) => {
      const change = replay.rankChanges?.[at];
      return change === undefined ? [] : [changeRow(replay, change)];
    }),
  );
  const about = html`Before: the 32 steps before the change. At once: the first 8 steps after it. Settled: the
last 32 before the next change or the end. Back: steps until 8 in a row are as balanced as before, to 1%. Cost:
modelled time beyond that of steps balanced as before on the ranks that live, until it is back or to the end,
repair and moves included. Lost experts are loaded from the host at once, over the cost model's links of the
class host, or else as over those between nodes.`;
  const table = html`
<thead><tr><th scope="col">Before step</th><th scope="col">What</th><th scope="col">Policy</th>
<th scope="col">Ranks left</th><th scope="col">Lost <small>experts, load</small></th>
<th scope="col">Repair</th><th scope="col">Balancedness <small>before</small></th>
<th scope="col">Balancedness <small>at once</small></th>
<th scope="col">Balancedness <small>settled</small></th><th scope="col">Step <small>before</small></th>
<th scope="col">Step <small>settled</small></th><th scope="col">Back <small>after steps</small></th>
<th scope="col">Cost</th></tr></thead>
<tbody>
${rows.flat()}</tbody>`;
  return scrollTable('changes', about, table);
}

function changeRow({ name }: ReplayResult, change: RankChangeResult): Html {
  const { before, atOnce, settled, secondsLost } = change;
  return html`<tr><td>${grouped(change.step)}</td><td class="text">${eventsText(change.events)}</td>
<th scope="row">${name}</th><td>${grouped(change.numLiveRanks)}</td>
<td>${lostText(change)}</td><td>${repairText(change)}</td><td>${before === null ? '–' : ratio(before.balancedness)}</td>
<td>${ratio(atOnce.balancedness)}</td><td>${ratio(settled.balancedness)}</td>
<td>${before === null ? '–' : seconds(before.stepSeconds)}</td><td>${seconds(settled.stepSeconds)}</td>
<td>${backText(change)}</td>
<td>${secondsLost === null ? '–' : seconds(secondsLost)}</td></tr>
`;
}

function lostText({ lostExperts, lostLoadShare }: RankChangeResult): string {
  return lostExperts === 0 ? '–' : `${grouped(lostExperts)}, ${percent(lostLoadShare)}`;
}

function repairText({ bytes: loaded, repairSeconds }: RankChangeResult): string {
  return loaded === 0 ? '–' : `${bytes(loaded)}, ${seconds(repairSeconds)}`;
}
