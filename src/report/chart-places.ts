import type { ReplayReport, ReplayTotals } from '../replay/result.ts';
import { isStatic } from './compact.ts';
import { type Html, html } from './html.ts';

/** A chart's place. */
export function chart(id: string): Html {
  return html`<div class="chart" id="${id}" role="img" aria-label="Chart, drawn by JavaScript"></div>`;
}

/**
 * Where the buttons are put that save a chart.
 *
 * @param charts ids of the pictures
 */
function downloadsOf(id: string, charts = id): Html {
  return html`<p class="downloads" id="${id}-downloads" data-charts="${charts}"></p>`;
}

/** The same, and where a chart's figures are put as a table, when it is opened. */
export function figuresPlace(id: string, charts = id): Html {
  return html`${downloadsOf(id, charts)}
<details id="${id}-figures"><summary>Figures of this chart</summary></details>`;
}

/** Balancedness over time. */
export function timeChart(): Html {
  const legend = html`<legend class="unseen">Policies to show</legend>`;
  return html`<fieldset class="legend lines" id="lines">${legend}</fieldset>
<fieldset class="zoom"><legend class="unseen">Steps that charts over time show</legend>
<label>Steps <input type="number" id="zoom-from" step="1" autocomplete="off"></label>
<label>to <input type="number" id="zoom-to" step="1" autocomplete="off"></label>
<button type="button" id="zoom-whole">All steps</button></fieldset>
<figure>${chart('over-time')}
<figcaption>Mean rank load / largest rank load, each added over the layers, of every step: 1 is best. A point
of many steps shows their mean between thin lines of the lowest and the highest step. Ticks below: a plan was
started. The mark above: the step chosen further down; a click chooses another, and a drag the steps that are shown.</figcaption></figure>
${figuresPlace('over-time')}`;
}

/** Where modelled seconds go, and what was saved. */
export function costCharts({ replays }: ReplayReport): Html {
  const apart = replays.filter(({ totals }) => !countsPlanning(totals) && totals.planningSeconds > 0);
  const planning =
    apart.length === 0
      ? 'Planning is counted as if the steps waited for it.'
      : 'Planning goes on beside the steps: it is drawn, and not in the figure at the end of the bar.';
  const saved = html`<figure>${chart('saved')}<figcaption>Against no balancing. A line falls where moving
weights costs more than balance gives.</figcaption></figure>
${figuresPlace('saved')}`;
  return html`<ul class="legend" id="cost-legend"></ul>
<figure>${chart('costs')}<figcaption>${planning}</figcaption></figure>
${figuresPlace('costs')}
${replays.every(isStatic) ? undefined : saved}`;
}

/** Whether the modelled time has planning in it. */
function countsPlanning({ modelledSeconds, stepSeconds, moveSeconds }: ReplayTotals): boolean {
  return modelledSeconds > stepSeconds + moveSeconds;
}

/** The points of a sweep, time against memory. */
export function sweepCharts(): Html {
  return html`<ul class="legend" id="sweep-legend"></ul>
<figure>${chart('pareto')}<figcaption>Filled: on the Pareto front of its number of ranks, which the line
follows. Short bars: without balancing. Each number of ranks has its shape.</figcaption></figure>
${downloadsOf('pareto')}`;
}

/** The fields that choose policy, layer and step. */
export function controls(): Html {
  return html`<form class="controls" autocomplete="off">
<label for="policy">Policy <select id="policy"></select></label>
<label for="layer"><span>Layer <output id="layer-value" for="layer"></output></span>
<input type="range" id="layer" min="0" step="1"></label>
<label for="step"><span>Step <output id="step-value" for="step"></output></span>
<input type="range" id="step" min="0" step="1"></label>
<button type="button" id="slowest">Slowest step</button>
<a id="link" href="#look-heading">Link to this view</a>
</form>`;
}

/** Rank loads before and after, and what each layer waits for. */
export function heatMaps({ replays }: ReplayReport): Html {
  const ranges = [...new Set(replays.map(({ heatMap }) => `${heatMap.fromStep} to ${heatMap.toStep - 1}`))];
  const steps = ranges.length === 1 ? `steps ${ranges[0]}` : 'the steps after its first plan took effect';
  return html`<h3 id="heat-finding" aria-live="polite"></h3>
<fieldset class="views"><legend>A cell shows of a rank's loads</legend>
<label><input type="radio" name="view" value="p95" checked> 95th percentile of steps</label>
<label><input type="radio" name="view" value="mean"> mean of steps</label></fieldset>
<div class="heat-legend" aria-hidden="true"><span>0</span><span class="scale" id="heat-scale"><span
id="heat-mean">mean</span></span><span id="heat-most"></span></div>
<div class="pair">
<figure><figcaption>Before: no balancing</figcaption>${chart('heat-before')}</figure>
<figure><figcaption>After: <span id="heat-after-name"></span></figcaption>${chart('heat-after')}</figure>
</div>
<p class="note">Of ${steps}, in mean rank loads of the layer. Max: the highest rank load of each step, as a
mean over steps: what the layer waits for. It is another rank each time, so the means of ranks do not show it.
A click chooses the layer.</p>
${figuresPlace('heat-map', 'heat-before heat-after')}`;
}

/** The rank loads of the chosen layer and step. */
export function rankLoads(): Html {
  return html`<div class="together"><h3 id="rank-finding" aria-live="polite"></h3>
<figure>${chart('rank-loads')}
<figcaption>Dashed: the mean. Short bars: without balancing, where it was replayed too. Layer and step are
chosen above.</figcaption></figure></div>
${figuresPlace('rank-loads')}`;
}

/** What plans move, and the hottest ranks and experts: of the chosen policy. */
export function movesAndHottest(): Html {
  return html`<h3 id="moves-finding" aria-live="polite"></h3>
<p class="zoom"><label id="moves-field" for="plan">Plan
<select id="plan" autocomplete="off"></select></label></p>
<div id="traffic-figure"><figure><figcaption>Moves from node to node</figcaption>${chart('traffic')}</figure>
${figuresPlace('traffic')}</div>
<div id="moves-list"></div>
<h3 id="hottest-finding" aria-live="polite"></h3>
<div class="pair"><div id="hottest-ranks"></div><div id="hottest-experts"></div></div>`;
}
