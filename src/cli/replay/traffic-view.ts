import { bytes, load, percent, ratio } from '../../formats/number-text.ts';
import type { ReplayResult, ReplayTraffic, TrafficFigures } from '../../replay/index.ts';
import type { Colors } from '../colors.ts';
import { PlainTable } from '../plain-table.ts';

/** Whether replays have more to show than that all tokens take the same links. */
export function hasLinks(replays: readonly ReplayResult[]): boolean {
  return replays.some(({ traffic, configuration }) => {
    return traffic !== undefined && (traffic.live.links.length > 1 || configuration.dispatch !== undefined);
  });
}

/** The links that tokens take, a line a policy and class; empty where there is one class of links. */
export function trafficTables(replays: readonly ReplayResult[], colors: Colors): string[] {
  if (!hasLinks(replays)) return [];
  const shown = replays.flatMap(({ name, traffic }) => (traffic === undefined ? [] : [{ name, traffic }]));
  const first = shown[0]!.traffic;
  // What is compared has a row of its own, or nothing is planned.
  const isAlone = shown.length === 1 && shown[0]!.name !== 'static';
  const rows = isAlone ? [{ name: 'no balancing', figures: first.unbalanced }] : [];
  const figures = [...rows, ...shown.map(({ name, traffic }) => ({ name, figures: traffic.live }))];
  return [`${linkTable(figures, colors).trimEnd()}\n ${trafficMeaning(first)}`];
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

/** How traffic was in a sentence or two. */
export function trafficMeaning({ countedFrom }: Pick<ReplayTraffic, 'countedFrom'>): string {
  const what =
    countedFrom === 'routes'
      ? 'a rank gets a token once, however many of its experts it has'
      : "every token of an expert is a transfer of its own, as loads don't say which tokens they are of";
  return `${what}.\n tokens are on all ranks alike, as nothing recorded says where; links none: they stay where they are`;
}
