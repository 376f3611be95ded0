import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { numOpenSlots } from '../core/open-slots.ts';
import { printableTexts } from '../core/printable.ts';
import { counted } from '../formats/number-text.ts';
import type { ReplayReport } from '../replay/result.ts';
import type { ReportAssets } from './assets.ts';
import { compactReport, isStatic } from './compact.ts';
import { configurationTables } from './configuration.ts';
import { plansTable, sweepTables } from './detail-tables.ts';
import { costFinding, firstShown, headline, partialNotice, sweepFinding, timeFinding } from './findings.ts';
import { Html, html, scriptJson, textOfLines } from './html.ts';
import { summaryTable } from './summary-table.ts';

/** The whole page, with everything it needs inside: it loads nothing. */
export function reportPage(report: ReplayReport, assets: ReportAssets): string {
  const { recording, sweep } = report;
  const title = `Expert load balance of ${basename(recording.path)}`;
  const notice = partialNotice(report);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy(assets)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${new Html(assets.style)}</style>
</head>
<body>
<header>
<h1>${title}</h1>
<p class="lead">${headline(report)}.</p>
<p>${sizesText(report)}</p>
${notice === undefined ? undefined : html`<p class="notice" role="note"><strong>Partial.</strong> ${notice}</p>`}
<noscript><p class="notice">The charts need JavaScript, which is off. The tables do without.</p></noscript>
</header>
<main>
${section('summary', 'Summary', 'What each policy gives and costs', summaryTable(report))}
${sweep === undefined ? undefined : section('sweep', 'Modelled time against memory', sweepFinding(sweep), sweepCharts(), sweepTables(sweep))}
${section('time', 'Balancedness over time', timeFinding(report), timeChart())}
${section('costs-section', 'Modelled time and moves', costFinding(report), costCharts(report), plansTable(report))}
${section('look', 'Rank loads', 'A closer look at one policy', controls(), heatMaps(report), rankLoads())}
${section('configuration', 'Configuration and versions', 'What was replayed, and how', configurationTables(report))}
</main>
<footer>
${meanings()}
<details><summary>Licences of the charting code in this page</summary><pre>${textOfLines(assets.licences)}</pre></details>
</footer>
<script type="application/json" id="data" data-first="${firstShown(report)}">${scriptJson(printableTexts(compactReport(report)))}</script>
<script>${new Html(assets.script)}</script>
</body>
</html>
`;
  return page.markup;
}

/** Nothing may be loaded, and no script or style runs but the page's own two, by their digests. */
function contentPolicy({ script, style }: ReportAssets): string {
  const digest = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return [
    "default-src 'none'",
    `script-src ${digest(script)}`,
    `style-src ${digest(style)}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}

/** A section whose heading is its topic, small, and what it found. */
function section(id: string, topic: string, finding: string, ...content: readonly Html[]): Html {
  return html`<section aria-labelledby="${id}-heading">
<h2 id="${id}-heading"><span class="topic">${topic}</span> ${finding}</h2>
${content}
</section>`;
}

function sizesText({ recording, replays }: ReplayReport): string {
  const { numLayers, numLogicalExperts } = recording;
  const shapes = replays.map(({ configuration }) => {
    const { numRanks, numNodes } = configuration;
    const nodes = numNodes === 1 ? '' : ` in ${counted(numNodes, 'node')}`;
    return `${counted(numOpenSlots(configuration), 'slot')} on ${counted(numRanks, 'rank')}${nodes}`;
  });
  const steps = Math.max(...replays.map(({ numSteps }) => numSteps));
  const size = `${counted(numLayers, 'layer')} of ${counted(numLogicalExperts, 'expert')}, ${counted(steps, 'step')}`;
  return `${size}; ${[...new Set(shapes)].join(', or ')}.`;
}

/** A chart's place. */
function chart(id: string): Html {
  return html`<div class="chart" id="${id}" role="img" aria-label="Chart, drawn by JavaScript"></div>`;
}

/** Where a chart's figures are put as a table, when it is opened. */
function figuresOf(id: string): Html {
  return html`<details id="${id}-figures"><summary>Figures of this chart</summary></details>`;
}

function timeChart(): Html {
  return html`<fieldset class="legend lines" id="lines"><legend class="unseen">Policies to show</legend></fieldset>
<figure>${chart('over-time')}
<figcaption>Mean rank load / largest rank load, each added over the layers, of every step: 1 is best. A point of many steps
shows their mean between thin lines of the lowest and the highest step. Ticks below: a plan was started. The mark above: the
step chosen further down; a click chooses another.</figcaption></figure>
${figuresOf('over-time')}`;
}

function costCharts({ replays }: ReplayReport): Html {
  const saved = html`<figure>${chart('saved')}<figcaption>Against no balancing. A line falls where moving weights costs more than balance gives.</figcaption></figure>
${figuresOf('saved')}`;
  return html`<ul class="legend" id="cost-legend"></ul>
<figure>${chart('costs')}</figure>
${figuresOf('costs')}
${replays.every(isStatic) ? undefined : saved}`;
}

function sweepCharts(): Html {
  return html`<ul class="legend" id="sweep-legend"></ul>
<figure>${chart('pareto')}<figcaption>Filled: on the Pareto front of its number of ranks, which the line follows. Short bars:
without balancing. Shapes tell the numbers of ranks apart.</figcaption></figure>`;
}

function controls(): Html {
  return html`<form class="controls" autocomplete="off">
<label for="policy">Policy <select id="policy"></select></label>
<label for="layer"><span>Layer <output id="layer-value" for="layer"></output></span> <input type="range" id="layer" min="0" step="1"></label>
<label for="step"><span>Step <output id="step-value" for="step"></output></span> <input type="range" id="step" min="0" step="1"></label>
<button type="button" id="slowest">Slowest step</button>
</form>`;
}

function heatMaps({ replays }: ReplayReport): Html {
  const ranges = [...new Set(replays.map(({ heatMap }) => `${heatMap.fromStep} to ${heatMap.toStep - 1}`))];
  const steps = ranges.length === 1 ? `steps ${ranges[0]}` : 'the steps after its first plan took effect';
  return html`<h3 id="heat-finding" aria-live="polite"></h3>
<div class="heat-legend" aria-hidden="true"><span>0</span><span class="scale" id="heat-scale"><span id="heat-mean">mean</span></span><span id="heat-most"></span></div>
<div class="pair">
<figure><figcaption>Before: no balancing</figcaption>${chart('heat-before')}</figure>
<figure><figcaption>After: <span id="heat-after-name"></span></figcaption>${chart('heat-after')}</figure>
</div>
<p class="note">Mean rank loads over ${steps}, in means of the layer. A click chooses the layer.</p>
${figuresOf('heat-map')}`;
}

function rankLoads(): Html {
  return html`<h3 id="rank-finding" aria-live="polite"></h3>
<figure>${chart('rank-loads')}
<figcaption>Dashed: the mean. Short bars: without balancing, where it was replayed too. Layer and step are chosen above.</figcaption></figure>
${figuresOf('rank-loads')}`;
}

function meanings(): Html {
  return html`<h2>What the figures mean</h2>
<dl class="meanings">
<dt>Rank load</dt><dd>Sum over the slots of a rank of the expert's tokens / the expert's copies.</dd>
<dt>Balancedness</dt><dd>Mean rank load / largest rank load. 1 is best. Ratio of sums: both added over layers and steps first. Mean of ratios: every layer and step counts the same.</dd>
<dt>PAR</dt><dd>Peak to average: largest / mean rank load.</dd>
<dt>Move</dt><dd>A slot that received an expert that was not on its rank before.</dd>
<dt>Modelled time</dt><dd>What the cost model makes of the loads and the moves. Nothing was measured on a device.</dd>
<dt>No balancing</dt><dd>The first mapping, never changed.</dd>
</dl>`;
}
