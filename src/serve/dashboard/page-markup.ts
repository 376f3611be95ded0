import { chart } from '../../report/chart-places.ts';
import { type Html, html } from '../../report/html.ts';

/** The page without anything of any group: its script fills it. */
export function pageMarkup(version: string): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="dashboard/report.css">
<link rel="stylesheet" href="dashboard/page.css">
<title>eplb serve</title>
<script src="dashboard/charts.js" defer></script>
<script src="dashboard/page.js" defer></script>
</head>
<body>
<header>
<h1>eplb serve ${version}</h1>
<p class="connection"><span id="connection" role="status">connecting</span>
<button type="button" id="forget" hidden>Forget the token</button></p>
<noscript><p class="notice">The dashboard needs JavaScript, which is off. The same is at
<code>v1/dashboard</code>, and as metrics at <code>metrics</code>.</p></noscript>
</header>
<main>
${tokenForm()}
<p class="notice" id="refused" role="alert" hidden></p>
${groupsSection()}
${groupSection()}
</main>
<footer>
${meanings()}
<p><a href="dashboard/licences.txt">Licences of the charting code</a></p>
</footer>
</body>
</html>
`.markup;
}

/** What asks for the token where the service has one. */
function tokenForm(): Html {
  return html`<form id="token-form" class="token" autocomplete="off" hidden>
<h2>This service has a token</h2>
<p id="token-reason">It is kept in this tab until the tab is closed, and sent to this service alone.</p>
<label for="token">Token <input type="password" id="token" autocomplete="off" spellcheck="false" required></label>
<label for="token-group">Group, if the token is a group's own
<input type="text" id="token-group" autocomplete="off" spellcheck="false"></label>
<button type="submit">Show</button>
</form>`;
}

function groupsSection(): Html {
  return html`<section id="groups" aria-labelledby="groups-heading" hidden>
<h2 id="groups-heading"><span class="topic">Groups</span> <span id="groups-finding"></span></h2>
<div id="groups-table"></div>
</section>`;
}

/** A group: what matters first, then what it was, then the details. */
function groupSection(): Html {
  return html`<article id="group" aria-labelledby="group-heading" hidden>
<p class="back"><a href="#">All groups</a></p>
<h2 id="group-heading"><span class="topic" id="group-name"></span> <span id="group-finding"></span></h2>
<p id="group-about"></p>
<p class="notice" id="group-notice" role="note" hidden></p>
<dl class="tiles" id="tiles"></dl>
<section aria-labelledby="watchdog-heading">
<h3 id="watchdog-heading"><span class="topic">Watchdog</span> <span id="watchdog-finding" role="status"></span></h3>
<ul class="watchdog" id="watchdog"></ul>
</section>
<section aria-labelledby="ranks-heading">
<h3 id="ranks-heading"><span class="topic">Ranks now</span> <span id="ranks-finding"></span></h3>
<div id="ranks-shown"><div class="heat-legend" aria-hidden="true"><span>0</span><span class="scale" id="heat-scale"><span
id="heat-mean">mean</span></span><span id="heat-most"></span></div>
<figure>${chart('rank-map')}<figcaption id="ranks-caption"></figcaption></figure>
<details><summary>The hottest cells</summary><div id="hottest"></div></details></div>
</section>
<section aria-labelledby="time-heading">
<h3 id="time-heading"><span class="topic">Over time</span> <span id="time-finding"></span></h3>
<div id="time-shown"><fieldset class="views"><legend>Show the last</legend>
<label><input type="radio" name="span" value="minutes" checked> 10 minutes</label>
<label><input type="radio" name="span" value="hours"> 8 hours</label></fieldset>
<figure>${chart('balance-chart')}<figcaption>Balancedness of steps: mean rank load / largest rank load, each
added over the layers. A point of several steps shows their mean between thin lines of the lowest and the
highest. Dashed: another mapping went live.</figcaption></figure>
<figure id="lost-figure">${chart('lost-chart')}<figcaption>Time that a step lost to imbalance, by the cost
model.</figcaption></figure>
<p class="note" id="lost-note" hidden>What imbalance costs in time is not known: the group was declared without
<code>cost</code>.</p>
<details><summary>Figures of these charts</summary><div id="time-figures"></div></details></div>
</section>
<section aria-labelledby="live-heading">
<h3 id="live-heading"><span class="topic">Mappings that went live</span> <span id="live-finding"></span></h3>
<p class="note" id="moves"></p>
<div id="live-table"></div>
</section>
<section aria-labelledby="plans-heading">
<h3 id="plans-heading"><span class="topic">Plans</span> <span id="plans-finding"></span></h3>
<div id="plans-table"></div>
</section>
</article>`;
}

function meanings(): Html {
  return html`<h2>What the figures mean</h2>
<dl class="meanings">
<dt>Rank load</dt><dd>The tokens that a rank's slots got in a layer. Where ranks differ in speed, that / the speed of
the rank.</dd>
<dt>Balancedness</dt><dd>Mean rank load / largest rank load, each added over the layers first. 1 is best.</dd>
<dt>Predicted</dt><dd>What a plan makes of the loads that it was made for.</dd>
<dt>Realised</dt><dd>What the steps measured since have, beside the last 10 measured under the mapping before. At most
one step a second is measured.</dd>
<dt>Gain</dt><dd>What a step takes less than under the mapping before, over the same steps: in seconds, or in
mean rank loads of the mean layer. Predicted where the policy forecasts.</dd>
</dl>`;
}
