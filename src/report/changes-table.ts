import { bytes, grouped, percent, ratio, seconds } from '../formats/number-text.ts';
import { eventsText } from '../replay/event-text.ts';
import type { RankChangeResult, ReplayReport, ReplayResult } from '../replay/result.ts';
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
    const until = rankChanges[0]?.stepsUntilBack ?? null;
    return until === null ? `${name} is never as balanced again` : `${name} is back after ${grouped(until)}`;
  });
  return `${what[0]!.toUpperCase()}${what.slice(1)}: ${backs.join(', ')} steps`;
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
  const { before, atOnce, settled, stepsUntilBack, secondsLost } = change;
  return html`<tr><td>${grouped(change.step)}</td><td class="text">${eventsText(change.events)}</td>
<th scope="row">${name}</th><td>${grouped(change.numLiveRanks)}</td>
<td>${lostText(change)}</td><td>${repairText(change)}</td><td>${before === null ? '–' : ratio(before.balancedness)}</td>
<td>${ratio(atOnce.balancedness)}</td><td>${ratio(settled.balancedness)}</td>
<td>${before === null ? '–' : seconds(before.stepSeconds)}</td><td>${seconds(settled.stepSeconds)}</td>
<td>${stepsUntilBack === null ? 'never' : grouped(stepsUntilBack)}</td>
<td>${secondsLost === null ? '–' : seconds(secondsLost)}</td></tr>
`;
}

function lostText({ lostExperts, lostLoadShare }: RankChangeResult): string {
  return lostExperts === 0 ? '–' : `${grouped(lostExperts)}, ${percent(lostLoadShare)}`;
}

function repairText({ bytes: loaded, repairSeconds }: RankChangeResult): string {
  return loaded === 0 ? '–' : `${bytes(loaded)}, ${seconds(repairSeconds)}`;
}
