import { percent } from '../formats/number-text.ts';
import type { FailureLoss } from '../replay/rank-change-result.ts';
import type { ReplayReport, ReplayResult } from '../replay/result.ts';
import { type Html, html } from './html.ts';
import { scrollTable } from './scroll-table.ts';

/** Levels of failures in all replays, in the order in which they come. */
function levelsOf(replays: readonly ReplayResult[]): string[] {
  return [...new Set(replays.flatMap(({ failureLosses = [] }) => failureLosses.map(({ level }) => level)))];
}

/** Whether any replay has what failures lose: reports of before do not. */
export function hasFailures({ replays }: ReplayReport): boolean {
  return levelsOf(replays).length > 0;
}

/** Which policy loses least by a failure of the level at which most is lost, in a sentence. */
export function failuresFinding({ replays }: ReplayReport): string {
  const all = replays.flatMap(({ name, failureLosses = [] }) =>
    failureLosses.map((loss) => ({ name, loss })),
  );
  const gravest = all.reduce((a, b) => (b.loss.loadShare > a.loss.loadShare ? b : a));
  const { level } = gravest.loss;
  const ofLevel = all.filter(({ loss }) => loss.level === level);
  const least = ofLevel.reduce((a, b) => (b.loss.loadShare < a.loss.loadShare ? b : a));
  const lost = `The worst ${level} to fail takes the only copies of ${percent(least.loss.loadShare)} of the load`;
  if (ofLevel.length === 1) return lost;
  return `${lost} with ${least.name}, and of ${percent(gravest.loss.loadShare)} with ${gravest.name}`;
}

/** What the worst failure of each level loses with each policy's last mapping, and what survives any. */
export function failuresTable({ replays }: ReplayReport): Html {
  const levels = levelsOf(replays);
  const rows = replays.map(({ name, failureLosses = [] }) => {
    const cells = levels.map((level) => lossCells(failureLosses.find((loss) => loss.level === level)));
    return html`<tr><th scope="row">${name}</th>${cells}</tr>
`;
  });
  const heads = levels.map((level) => {
    const worst = html`<th scope="col">Worst ${level} <small>is</small></th>
<th scope="col">Loses <small>experts</small></th><th scope="col">Loses <small>load</small></th>`;
    return html`${worst}
<th scope="col">Any ${level} <small>load that survives</small></th>
<th scope="col">At best <small>in these slots</small></th>`;
  });
  const about = html`By the last mapping of each policy, and the loads of all steps. Lost are experts without a
copy elsewhere. Load survives where its experts have copies in two failure domains; the slots allow no more than
at best.`;
  const table = html`
<thead><tr><th scope="col">Policy</th>${heads}</tr></thead>
<tbody>
${rows}</tbody>`;
  return scrollTable('failures', about, table);
}

function lossCells(loss: FailureLoss | undefined): Html {
  if (loss === undefined) return html`<td>–</td><td>–</td><td>–</td><td>–</td><td>–</td>`;
  const { domain, expertsShare, loadShare, survivingLoadShare, mostSurvivingLoadShare } = loss;
  return html`<td class="text">${String(domain)}</td><td>${percent(expertsShare)}</td><td>${percent(loadShare)}</td>
<td>${percent(survivingLoadShare)}</td><td>${percent(mostSurvivingLoadShare)}</td>`;
}
