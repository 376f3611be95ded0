import { times } from '../../formats/number-text.ts';
import { byId, element } from './element.ts';
import { type Figures, scrollBox, tableOf } from './figures.ts';
import type { Run } from './report.ts';
import type { Selection } from './selection.ts';

/** Rows of each table. */
const NUM_ROWS = 10;

/** The ranks with the highest loads in 1 of 20 steps, a layer each, the highest first. */
function hottestRanks({ heatMap: { before, after }, numRanks }: Run): Figures {
  const { p95, mean } = after;
  const order = Array.from(p95, (_, at) => at).sort((a, b) => p95[b]! - p95[a]! || a - b);
  return {
    columns: [
      { head: '', text: String },
      { head: 'layer', text: String },
      { head: 'rank', text: String },
      { head: '95th percentile, × mean', text: times },
      { head: 'mean, × mean', text: times },
      { head: '95th percentile before', text: times },
    ],
    rows: order
      .slice(0, NUM_ROWS)
      .map((at, i) => [i + 1, Math.floor(at / numRanks), at % numRanks, p95[at], mean[at], before.p95[at]]),
  };
}

/** The experts with the highest loads, with where their copies are at the end. */
function hottestExperts({ hotExperts }: Run): Figures {
  return {
    columns: [
      { head: '', text: String },
      { head: 'layer', text: String },
      { head: 'expert', text: String },
      { head: '× mean expert', text: times },
      { head: 'copies', text: String },
      { head: 'on ranks' },
    ],
    rows: hotExperts
      .slice(0, NUM_ROWS)
      .map(({ layer, expert, timesMean, ranks }, i) => [
        i + 1,
        layer,
        expert,
        timesMean,
        ranks.length,
        ranks.join(', '),
      ]),
  };
}

/** Shows both of the chosen run. */
export function followHottest(selection: Selection): void {
  let shown: Run | undefined;
  const show = () => {
    const { run } = selection;
    if (run === shown) return;
    shown = run;
    const [rank] = hottestRanks(run).rows;
    const [expert] = run.hotExperts;
    const rankText = `rank ${rank![2]} in layer ${rank![1]} is the hottest with ${run.name}`;
    byId('hottest-finding').textContent =
      expert === undefined
        ? rankText
        : `Expert ${expert.expert} of layer ${expert.layer} has ${times(expert.timesMean)} times the mean ` +
          `load; ${rankText}`;
    fill('hottest-ranks', 'Hottest ranks, by the 95th percentile of steps', hottestRanks(run));
    fill('hottest-experts', 'Hottest experts, with their ranks at the end', hottestExperts(run));
  };
  selection.onChange(show);
  show();
}

function fill(id: string, about: string, figures: Figures): void {
  byId(id).replaceChildren(element('p', { class: 'about' }, about), scrollBox(about, tableOf(figures)));
}
