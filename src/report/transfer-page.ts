import { basename } from 'node:path';
import { checkText, show } from '../core/checks.ts';
import { EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { printableTexts } from '../core/printable.ts';
import { bytes, counted, grouped, seconds } from '../formats/number-text.ts';
import type { TransferPlan } from '../index.ts';
import type { ReportAssets } from './assets.ts';
import { chart, figuresPlace } from './chart-places.ts';
import { transferData } from './compact-transfer.ts';
import { Html, html, scriptJson, textOfLines } from './html.ts';
import { pageAround } from './page-shell.ts';
import { scrollTable } from './scroll-table.ts';
import { transferFacts } from './transfer-facts.ts';

/** What the page of a transfer plan says beside the plan. */
export interface TransferReportOptions {
  /** What the placement that the ranks hold is called, such as its file. */
  readonly from?: string;
  /** The same of the one that they are to hold. */
  readonly to?: string;
  /** What had to be assumed. */
  readonly notes?: readonly string[];
}

const OPTIONS = ['from', 'to', 'notes'] as const;

/**
 * Checks options, each read once.
 *
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`, naming the option
 */
export function readTransferReportOptions(given: TransferReportOptions): TransferReportOptions {
  const { from, to, notes = [] } = checkOptions('options', given, OPTIONS);
  if (!Array.isArray(notes)) throw new EplbTypeError('EPLB_KIND', `notes: ${show(notes)} is not a list`);
  return {
    ...(from === undefined ? {} : { from: checkText('from', from) }),
    ...(to === undefined ? {} : { to: checkText('to', to) }),
    notes: notes.map((note, i) => checkText(`notes[${i}]`, note)),
  };
}

/** Most slots that are listed one by one. */
const MOST_ROWS = 256;

/** The whole page, with everything it needs inside: it loads nothing. */
export function transferPage(
  plan: TransferPlan,
  options: TransferReportOptions,
  assets: ReportAssets,
): string {
  const { from, to } = options;
  const names = from === undefined || to === undefined ? '' : ` from ${basename(from)} to ${basename(to)}`;
  const title = `Moving weights${names}`;
  const { numLayers, numLogicalExperts, numPhysicalExperts } = plan;
  const experts = `${counted(numLogicalExperts, 'expert')} in ${counted(numPhysicalExperts, 'slot')}`;
  const data = scriptJson(printableTexts(transferData(plan)));
  const body = html`<header>
<h1>${title}</h1>
<p class="lead">${headline(plan)}</p>
<p>${counted(numLayers, 'layer')} of ${experts} on ${counted(plan.numRanks, 'rank')}.</p>
<noscript><p class="notice">The charts need JavaScript, which is off. The tables do without.</p></noscript>
</header>
<main>
<section aria-labelledby="plan-heading">
<h2 id="plan-heading"><span class="topic">The plan</span> What moves, and what that takes</h2>
${factsTable(plan, options)}
</section>
${charts()}
<section aria-labelledby="layers-heading">
<h2 id="layers-heading"><span class="topic">Layers</span> In the order to move</h2>
${layersTable(plan)}
${undoneTable(plan)}
</section>
</main>
<footer>
<details><summary>Licences of the charting code in this page</summary>
<pre>${textOfLines(assets.licences)}</pre></details>
</footer>
<script type="application/json" id="data" data-page="transfer">${data}</script>
<script>${new Html(assets.script)}</script>`;
  return pageAround(title, body, assets.style, assets.script);
}

function headline({ numTransfers, numRounds, bytes: sum, bounds, seconds: took }: TransferPlan): string {
  if (numTransfers === 0) return 'Nothing crosses a link.';
  const more = numRounds - bounds.rounds;
  const beside = more === 0 ? 'which is the bound' : `${grouped(more)} more than the bound`;
  const time = took === null ? '' : `, in ${seconds(took)} by the link model`;
  const rounds = `${counted(numRounds, 'round')}, ${beside}`;
  return `${counted(numTransfers, 'transfer')}, ${bytes(sum)}${time}: ${rounds}.`;
}

function factsTable(plan: TransferPlan, { from, to, notes = [] }: TransferReportOptions): Html {
  const counts = plan.layers.map(({ undone, extraSlots }) => ({ undone: undone.length, extraSlots }));
  const facts = [
    ...(from === undefined ? [] : [['from', from] as const]),
    ...(to === undefined ? [] : [['to', to] as const]),
    ...transferFacts(plan, counts),
    ...notes.map((note) => ['note', note] as const),
  ];
  const rows = facts.map(
    ([name, text]) => html`<tr><th scope="row">${name}</th><td class="text">${text}</td></tr>
`,
  );
  const content = html`
<tbody>
${rows}</tbody>`;
  return scrollTable('facts', html`Times are by the link model. Nothing was measured on a device.`, content);
}

/** The fields, and the places of the charts. */
function charts(): Html {
  return html`<section aria-labelledby="traffic-heading">
<h2 id="traffic-heading"><span class="topic">Traffic and rounds</span> Who sends to whom</h2>
<form class="controls" autocomplete="off">
<label for="layer">Layer <select id="layer"></select></label>
<label for="rank">Rank <select id="rank"></select></label>
</form>
<h3 id="sent-finding" aria-live="polite"></h3>
<div class="heat-legend" aria-hidden="true"><span>0</span><span class="scale" id="sent-scale"></span><span
id="sent-most"></span></div>
<figure>${chart('sent')}<figcaption>Experts that the rank of a row sends to the rank of a column. A click
chooses the rank of the row.</figcaption></figure>
${figuresPlace('sent')}
<div class="together"><h3 id="rounds-finding" aria-live="polite"></h3>
<ul class="legend" id="link-legend"></ul>
<figure>${chart('rounds')}<figcaption>In each round a line leads from the rank that sends, left, to the one
that receives, right. A chosen rank's lines stand out. Copies within a rank and loads from the host take no
round.</figcaption></figure></div>
${figuresPlace('rounds')}
</section>`;
}

function layersTable({ layers, bytesPerExpert, seconds: all }: TransferPlan): Html {
  const isTimed = all !== null;
  const rows = layers.map(({ layer, rounds, bounds, copies, hostLoads, undone, seconds: took }) => {
    const transfers = rounds.reduce((sum, round) => sum + round.length, 0);
    const cells = [
      ...[rounds.length, bounds.rounds, bounds.mostSent, bounds.mostReceived, transfers].map(grouped),
      bytes(transfers * bytesPerExpert),
      ...[copies, hostLoads, undone].map(({ length }) => grouped(length)),
      ...(took === null ? [] : [seconds(took)]),
    ];
    return html`<tr><th scope="row">${layer}</th>${cells.map((text) => html`<td>${text}</td>`)}</tr>
`;
  });
  const heads = [
    ...['Layer', 'Rounds', 'At least', 'Most sent', 'Most received', 'Transfers', 'Bytes', 'Copies'],
    ...['From host', 'Not done', ...(isTimed ? ['Time'] : [])],
  ].map((head) => html`<th scope="col">${head}</th>`);
  const content = html`
<thead><tr>${heads}</tr></thead>
<tbody>
${rows}</tbody>`;
  const about = html`Most sent and received: experts of the rank that sends or receives most.`;
  return scrollTable('layers', about, content);
}

/** The slots that do not get their expert; nothing where all do. */
function undoneTable({ layers }: TransferPlan): Html | undefined {
  const slots = layers.flatMap(({ layer, undone }) => undone.map((slot) => ({ layer, ...slot })));
  if (slots.length === 0) return undefined;
  const rows = slots.slice(0, MOST_ROWS).map(
    ({ layer, targetRank, targetSlot, expert, reason }) => html`<tr><th scope="row">${layer}</th>
<td>${targetRank}</td><td>${targetSlot}</td><td>${expert}</td>
<td class="text">${reason === 'deadRank' ? 'the rank is dead' : 'it needs a staging slot'}</td></tr>
`,
  );
  const which = slots.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${grouped(slots.length)}` : 'All';
  const content = html`
<thead><tr><th scope="col">Layer</th><th scope="col">Rank</th><th scope="col">Slot</th>
<th scope="col">Expert</th><th scope="col" class="text">Reason</th></tr></thead>
<tbody>
${rows}</tbody>`;
  return html`<h3>Not done</h3>
${scrollTable('undone', html`${which} slots that do not get their expert.`, content, 'tall')}`;
}
