import { counted, grouped, percent } from '../formats/number-text.ts';
import type { LayerSurvival, Survival } from '../index.ts';
import type { Colors } from './colors.ts';
import { type Fact, factLines } from './fact-list.ts';
import { PlainTable } from './plain-table.ts';
import type { SurvivalReport } from './survival-report.ts';

/** Experts that a line names; `--json` has all of them. */
const MOST_NAMED = 8;

/** What survives any single failure, and the worst one of each layer. */
export function renderSurvival(report: SurvivalReport, colors: Colors): string {
  if (report.reason !== null) return factLines([['survival', `not known: ${report.reason}`]], colors);
  return `${factLines(facts(report), colors)}\n${layerTable(report, colors)}\n`;
}

function facts({ level, numDomains, overall }: Survival): Fact[] {
  const { experts, surviving, mostSurviving, share, mostShare, worst } = overall;
  const of = (count: number) =>
    `${grouped(count)} of ${counted(experts, 'expert')} (${percent(count / experts)})`;
  const load = (part: number | null) => (part === null ? '' : `, ${percent(part)} of the load`);
  return [
    [`survives any ${level}`, `${of(surviving)}${load(share)}: copies on two or more of ${numDomains}`],
    ['at most', `${of(mostSurviving)}${load(mostShare)}, in these slots`],
    ['worst failure', `${level} ${worst.domain} loses ${of(worst.experts)}${load(worst.share)}`],
  ];
}

function layerTable({ level, layers }: Survival, colors: Colors): string {
  const hasLoads = layers[0]?.share !== null;
  const pick = <T>(always: readonly T[], loads: readonly T[], last: readonly T[]) =>
    hasLoads ? [...always, ...loads, ...last] : [...always, ...last];
  const aligns = pick<'left' | 'right'>(
    ['right', 'right', 'right'],
    ['right', 'right'],
    ['right', 'right', ...(hasLoads ? (['right'] as const) : []), 'left'],
  );
  const table = new PlainTable(aligns, 2);
  const loses = ['loses', ...(hasLoads ? ['loses'] : []), ''];
  const units = ['experts', ...(hasLoads ? ['load'] : []), 'which'];
  table.push(pick(['', 'survive', 'at most'], ['survives', 'at most'], ['worst', ...loses]).map(colors.bold));
  table.push(pick(['layer', 'experts', 'experts'], ['load', 'load'], [level, ...units]).map(colors.bold));
  for (const { layer, surviving, mostSurviving, share, mostShare, worst } of layers) {
    const shares = [share, mostShare].map((part) => percent(part ?? 0));
    const lost = [grouped(worst.experts.length), ...(hasLoads ? [percent(worst.share ?? 0)] : [])];
    const last = [String(worst.domain), ...lost, named(worst)];
    table.push(pick([String(layer), grouped(surviving), grouped(mostSurviving)], shares, last));
  }
  return table.toString().replace(/ +$/gm, '');
}

function named({ experts }: LayerSurvival['worst']): string {
  const first = experts.slice(0, MOST_NAMED).join(', ');
  return experts.length > MOST_NAMED ? `${first}, ...` : first;
}
