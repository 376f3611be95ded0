import { bytes, load, percent, ratio } from '../../formats/number-text.ts';
import type { ReplayResult, TrafficFigures } from '../../replay/index.ts';
import { hasLinks, trafficMeanings } from '../../replay/traffic-text.ts';
import type { Colors } from '../colors.ts';
import { PlainTable } from '../plain-table.ts';

/** The links that tokens take, a line a policy and class; empty where there is one class of links. */
export function trafficTables(replays: readonly ReplayResult[], colors: Colors): string[] {
  if (!hasLinks(replays)) return [];
  const shown = replays.flatMap(({ name, traffic }) => (traffic === undefined ? [] : [{ name, traffic }]));
  const first = shown[0]!.traffic;
  // What is compared has a row of its own, or nothing is planned.
  const isAlone = shown.length === 1 && shown[0]!.name !== 'static';
  const rows = isAlone ? [{ name: 'no balancing', figures: first.unbalanced }] : [];
  const figures = [...rows, ...shown.map(({ name, traffic }) => ({ name, figures: traffic.live }))];
  return [`${linkTable(figures, colors).trimEnd()}\n ${trafficMeanings(first).join('\n ')}`];
}

/** A line for each class of links of each placement. */
export function linkTable(
  rows: readonly { readonly name: string; readonly figures: TrafficFigures }[],
  colors: Colors,
): string {
  const table = new PlainTable(['left', 'left', ...new Array<'right'>(5).fill('right')], 2);
  const heads = [
    ['', '', 'tokens', 'of all', 'bytes', 'busiest', 'busiest /'],
    ['traffic', 'links', 'a step', 'tokens', 'a step', 'pair', 'mean pair'],
  ];
  for (const head of heads) table.push(head.map(colors.bold));
  for (const { name, figures } of rows) {
    const share = (tokens: number) => percent(figures.tokens === 0 ? 0 : tokens / figures.tokens);
    figures.links.forEach(({ linkClass, tokens, bytes: sent, busiestPair, peakToAverage }, at) => {
      const cells = [load(tokens), share(tokens), sent === null ? '-' : bytes(sent)];
      const pair = tokens === 0 ? '-' : busiestPair.join(' > ');
      table.push([at === 0 ? name : '', linkClass, ...cells, pair, ratio(peakToAverage)]);
    });
    const local = figures.localTokens;
    table.push([figures.links.length === 0 ? name : '', 'none', load(local), share(local), '', '', '']);
  }
  return table.toString();
}
