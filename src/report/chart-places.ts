import type { ReplayReport } from '../replay/result.ts';
import { isStatic } from './compact.ts';
import { type Html, html } from './html.ts';

/** A chart's place. */
function chart(id: string): Html {
  return html`<div class="chart" id="${id}" role="img" aria-label="Chart, drawn by JavaScript"></div>`;
}

/** Where a chart's figures are put as a table, when it is opened. */
function figuresOf(id: string): Html {
  return html`<details id="${id}-figures"><summary>Figures of this chart</summary></details>`;
}

/** Balancedness over time. */
export function timeChart(): Html {
  const legend = html`<legend class="unseen">Policies to show</legend>`;
  return html`<fieldset class="legend lines" id="lines">${legend}</fieldset>
<figure>${chart('over-time')}
<figcaption>Mean rank load / largest rank load, each added over the layers, of every step: 1 is best. A point
of many steps shows their mean between thin lines of the lowest and the highest step. Ticks below: a plan was
started. The mark above: the step chosen further down; a click chooses another.</figcaption></figure>
${figuresOf('over-time')}`;
}

/** Where modelled seconds go, and what was saved. */
export function costCharts({ replays }: ReplayReport): Html {
  const saved = html`<figure>${chart('saved')}<figcaption>Against no balancing. A line falls where moving
weights costs more than balance gives.</figcaption></figure>
${figuresOf('saved')}`;
  return html`<ul class="legend" id="cost-legend"></ul>
<figure>${chart('costs')}</figure>
${figuresOf('costs')}
${replays.every(isStatic) ? undefined : saved}`;
}

/** The points of a sweep, time against memory. */
export function sweepCharts(): Html {
  return html`<ul class="legend" id="sweep-legend"></ul>
<figure>${chart('pareto')}<figcaption>Filled: on the Pareto front of its number of ranks, which the line
follows. Short bars: without balancing. Each number of ranks has its shape.</figcaption></figure>`;
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
</form>`;
}

/** Mean rank loads before and after. */
export function heatMaps({ replays }: ReplayReport): Html {
  const ranges = [...new Set(replays.map(({ heatMap }) => `${heatMap.fromStep} to ${heatMap.toStep - 1}`))];
  const steps = ranges.length === 1 ? `steps ${ranges[0]}` : 'the steps after its first plan took effect';
  return html`<h3 id="heat-finding" aria-live="polite"></h3>
<div class="heat-legend" aria-hidden="true"><span>0</span><span class="scale" id="heat-scale"><span
id="heat-mean">mean</span></span><span id="heat-most"></span></div>
<div class="pair">
<figure><figcaption>Before: no balancing</figcaption>${chart('heat-before')}</figure>
<figure><figcaption>After: <span id="heat-after-name"></span></figcaption>${chart('heat-after')}</figure>
</div>
<p class="note">Mean rank loads over ${steps}, in means of the layer. A click chooses the layer.</p>
${figuresOf('heat-map')}`;
}

/** The rank loads of the chosen layer and step. */
export function rankLoads(): Html {
  return html`<h3 id="rank-finding" aria-live="polite"></h3>
<figure>${chart('rank-loads')}
<figcaption>Dashed: the mean. Short bars: without balancing, where it was replayed too. Layer and step are
chosen above.</figcaption></figure>
${figuresOf('rank-loads')}`;
}
