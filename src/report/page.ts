import { basename } from 'node:path';
import { numOpenSlots } from '../core/open-slots.ts';
import { printableTexts } from '../core/printable.ts';
import { counted } from '../formats/number-text.ts';
import type { ReplayReport } from '../replay/result.ts';
import type { SweepResult } from '../replay/sweep-result.ts';
import { hasLinks } from '../replay/traffic-text.ts';
import type { ReportAssets } from './assets.ts';
import { changesFinding, changesTable, hasChanges } from './changes-table.ts';
import {
  controls,
  costCharts,
  heatMaps,
  movesAndHottest,
  rankLoads,
  sweepCharts,
  timeChart,
} from './chart-places.ts';
import { compactReport } from './compact.ts';
import { configurationTables } from './configuration.ts';
import { plansTable, sweepTables } from './detail-tables.ts';
import { failuresFinding, failuresTable, hasFailures } from './failure-table.ts';
import { costFinding, firstShown, headline, partialNotice, sweepFinding, timeFinding } from './findings.ts';
import { Html, html, scriptJson, textOfLines } from './html.ts';
import { pageAround } from './page-shell.ts';
import { summaryTable } from './summary-table.ts';
import { trafficFinding, trafficTable } from './traffic-table.ts';

/** The whole page, with everything it needs inside: it loads nothing. */
export function reportPage(report: ReplayReport, assets: ReportAssets): string {
  const { recording } = report;
  const title = `Expert load balance of ${basename(recording.path)}`;
  const notice = partialNotice(report);
  const partial = html`<p class="notice" role="note"><strong>Partial.</strong> ${notice}</p>`;
  const { sections, contents } = sectionsOf(report);
  const data = scriptJson(printableTexts(compactReport(report)));
  const body = html`<header>
<h1>${title}</h1>
<p class="lead">${withoutBreaks(headline(report))}</p>
<p>${sizesText(report)}</p>
${notice === undefined ? undefined : partial}
${contents}
<noscript><p class="notice">The charts need JavaScript, which is off. The tables do without.</p></noscript>
</header>
<main>
${sections}
</main>
<footer>
${meanings(report)}
<details><summary>Licences of the charting code in this page</summary>
<pre>${textOfLines(assets.licences)}</pre></details>
</footer>
<script type="application/json" id="data" data-first="${firstShown(report)}">${data}</script>
<script>${new Html(assets.script)}</script>`;
  return pageAround(title, body, assets.style, assets.script);
}

/** Lets no line end between a number and its unit. */
function withoutBreaks(text: string): string {
  return text.replace(/(\d) (?=(?:s|ms|µs|ns|[kMGTP]?B)\b)/g, '$1\u00A0');
}

/** A part of the page: its topic, small, what it found, and what shows that. */
interface Section {
  readonly id: string;
  readonly topic: string;
  readonly finding: string;
  readonly content: readonly Html[];
}

/** All sections, and links to them. */
function sectionsOf(report: ReplayReport): { sections: readonly Html[]; contents: Html } {
  const { sweep } = report;
  const parts: readonly Section[] = [
    {
      id: 'summary',
      topic: 'Summary',
      finding: 'What each policy gives and costs',
      content: [summaryTable(report)],
    },
    ...(sweep === undefined ? [] : [sweepSection(sweep)]),
    ...(hasChanges(report) ? [changesSection(report)] : []),
    {
      id: 'time',
      topic: 'Balancedness over time',
      finding: timeFinding(report),
      content: [timeChart()],
    },
    {
      id: 'costs',
      topic: 'Modelled time and moves',
      finding: costFinding(report),
      content: [costCharts(report), plansTable(report)],
    },
    ...(hasLinks(report.replays) ? [trafficSection(report)] : []),
    ...(hasFailures(report) ? [failuresSection(report)] : []),
    {
      id: 'look',
      topic: 'Rank loads, moves and experts',
      finding: 'A closer look at one policy',
      content: [controls(), heatMaps(report), rankLoads(), movesAndHottest()],
    },
    {
      id: 'configuration',
      topic: 'Configuration and versions',
      finding: 'What was replayed, and how',
      content: [configurationTables(report)],
    },
  ];
  const links = parts.map(({ id, topic }) => html`<li><a href="#${id}-heading">${topic}</a></li>\n`);
  return {
    sections: parts.map(sectionHtml),
    contents: html`<nav class="contents" aria-label="Contents"><ul>
${links}</ul></nav>`,
  };
}

function sectionHtml({ id, topic, finding, content }: Section): Html {
  return html`<section aria-labelledby="${id}-heading">
<h2 id="${id}-heading"><span class="topic">${topic}</span> ${finding}</h2>
${content}
</section>
`;
}

function changesSection(report: ReplayReport): Section {
  const content = [changesTable(report)];
  return { id: 'changes', topic: 'When ranks change', finding: changesFinding(report), content };
}

function failuresSection(report: ReplayReport): Section {
  const content = [failuresTable(report)];
  return { id: 'failures', topic: 'When a rank or node fails', finding: failuresFinding(report), content };
}

function trafficSection(report: ReplayReport): Section {
  const content = [trafficTable(report)];
  return { id: 'traffic', topic: 'Traffic between ranks', finding: trafficFinding(report), content };
}

function sweepSection(sweep: SweepResult): Section {
  return {
    id: 'sweep',
    topic: 'Modelled time against memory',
    finding: sweepFinding(sweep),
    content: [survivalNote(sweep), sweepCharts(), sweepTables(sweep)],
  };
}

function survivalNote({ survivalAdvice }: SweepResult): Html {
  return survivalAdvice === undefined
    ? html``
    : html`<p class="about">${survivalAdvice}</p>
`;
}

function sizesText({ recording, replays }: ReplayReport): string {
  const { numLayers, numLogicalExperts } = recording;
  const shapes = replays.map(({ configuration }) => {
    const { numRanks, numNodes } = configuration;
    const nodes = numNodes === 1 ? '' : ` in ${counted(numNodes, 'node')}`;
    return `${counted(numOpenSlots(configuration), 'slot')} on ${counted(numRanks, 'rank')}${nodes}`;
  });
  const steps = Math.max(...replays.map(({ numSteps }) => numSteps));
  const size =
    `${counted(numLayers, 'layer')} of ${counted(numLogicalExperts, 'expert')}, ` +
    `${counted(steps, 'step')}`;
  return `${size}; ${[...new Set(shapes)].join(', or ')}.`;
}

function meanings({ replays }: ReplayReport): Html {
  const differ = replays.some(
    ({ configuration: { rankSpeed, events = [] } }) =>
      rankSpeed !== undefined || events.some(({ kind }) => kind === 'slow'),
  );
  const isNear = replays.some(({ configuration }) => configuration.dispatch === 'nearest');
  const near = isNear ? ' Where tokens take the nearest copy, the tokens that come to it by that.' : '';
  const speeds = differ ? ' Where ranks differ in speed, that / the speed of the rank.' : '';
  return html`<h2>What the figures mean</h2>
<dl class="meanings">
<dt>Rank load</dt><dd>Sum over the slots of a rank of the expert's tokens / the expert's copies.${near}${speeds}</dd>
<dt>Balancedness</dt><dd>Mean rank load / largest rank load. 1 is best. Ratio of sums: both added over layers
and steps first. Mean of ratios: every layer and step counts the same.</dd>
<dt>PAR</dt><dd>Peak to average: largest / mean rank load.</dd>
<dt>Waited for</dt><dd>The highest rank load of a layer: the others wait for that rank in each step.</dd>
<dt>95th percentile</dt><dd>In 95 of 100 steps a rank has at most this.</dd>
<dt>Move</dt><dd>A slot that received an expert that was not on its rank before.</dd>
<dt>Modelled time</dt><dd>What the cost model makes of the loads and the moves. Nothing was measured on a
device.</dd>
<dt>No balancing</dt><dd>The first mapping, never changed.</dd>
</dl>`;
}
