import { bytes, load, percent, ratio, times } from '../formats/number-text.ts';
import type { ReplayReport, ReplayResult } from '../replay/result.ts';
import type { LinkFigures, TrafficFigures } from '../replay/traffic-result.ts';
import { trafficMeanings } from '../replay/traffic-text.ts';
import { isStatic } from './compact.ts';
import { type Html, html } from './html.ts';
import { scrollTable } from './scroll-table.ts';

/** What was counted of a replay, or of no balancing. */
interface Row {
  readonly name: string;
  readonly figures: TrafficFigures;
}

/** A line for each placement that has traffic; first no balancing where no replay stands for it. */
function rowsOf(replays: readonly ReplayResult[]): Row[] {
  const counted = replays.filter(({ traffic }) => traffic !== undefined);
  const shapes = new Set(
    counted.map(({ configuration: { numRanks, numNodes } }) => `${numRanks} ${numNodes}`),
  );
  const own = counted.map(({ name, traffic }) => ({ name, figures: traffic!.live }));
  // Of several sizes each would have another.
  if (shapes.size !== 1 || counted.some(isStatic)) return own;
  return [{ name: 'no balancing', figures: counted[0]!.traffic!.unbalanced }, ...own];
}

/** Where the links lie that are used most unevenly, in a sentence. */
export function trafficFinding({ replays }: ReplayReport): string {
  const uneven = rowsOf(replays).flatMap(({ name, figures }) =>
    figures.links.filter(({ tokens }) => tokens > 0).map((link) => ({ name, link })),
  );
  const [first] = uneven;
  if (first === undefined) return 'No token takes a link';
  const worst = uneven.reduce((a, b) => (b.link.peakToAverage > a.link.peakToAverage ? b : a), first);
  const { linkClass, busiestPair, peakToAverage } = worst.link;
  return (
    `Links are least even with ${worst.name}: ${linkClass} from rank ${busiestPair.join(' to ')} carries ` +
    `${times(peakToAverage)} times the mean of its class`
  );
}

/** Tokens and bytes by class of link, for each policy. */
export function trafficTable({ replays }: ReplayReport): Html {
  const rows = rowsOf(replays);
  const body = rows.flatMap(({ name, figures }) => [
    ...figures.links.map((link, at) => linkRow(at === 0 ? name : '', link, figures)),
    html`<tr>${heading(figures.links.length === 0 ? name : '')}<td class="text">none</td>
<td>${load(figures.localTokens)}</td><td>${shareOf(figures, figures.localTokens)}</td>
<td>–</td><td>–</td><td>–</td></tr>
`,
  ]);
  const told = replays.find(({ traffic }) => traffic !== undefined)!.traffic!;
  const about = html`A step in the mean, added over the layers. ${trafficMeanings(told).join(' ')} Those that
take no link stay on their rank.`;
  const table = html`
<thead><tr><th scope="col">Policy</th><th scope="col">Links</th><th scope="col">Tokens <small>a step</small></th>
<th scope="col">Of all tokens</th><th scope="col">Bytes <small>a step</small></th>
<th scope="col">Busiest pair <small>of ranks</small></th>
<th scope="col">Busiest / mean pair</th></tr></thead>
<tbody>
${body}</tbody>`;
  return scrollTable('traffic', about, table);
}

function linkRow(name: string, link: LinkFigures, figures: TrafficFigures): Html {
  const { linkClass, tokens, bytes: sent, busiestPair, peakToAverage } = link;
  return html`<tr>${heading(name)}<td class="text">${linkClass}</td><td>${load(tokens)}</td>
<td>${shareOf(figures, tokens)}</td><td>${sent === null ? '–' : bytes(sent)}</td>
<td>${tokens === 0 ? '–' : busiestPair.join(' to ')}</td><td>${ratio(peakToAverage)}</td></tr>
`;
}

function heading(name: string): Html {
  return name === '' ? html`<td></td>` : html`<th scope="row">${name}</th>`;
}

function shareOf({ tokens: all }: TrafficFigures, tokens: number): string {
  return percent(all === 0 ? 0 : tokens / all);
}
