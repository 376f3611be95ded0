import { bytes, grouped, seconds } from '../formats/number-text.ts';
import { transferFacts } from '../report/transfer-facts.ts';
import type { Colors } from './colors.ts';
import { type Fact, factLines } from './fact-list.ts';
import { PlainTable } from './plain-table.ts';
import type { TransferLayerReport, TransferReport } from './transfer-report.ts';

/** More layers than this are one line together. */
const MOST_ROWS = 12;

/**
 * A transfer plan for people: what moves, by layer, and what that takes.
 *
 * @param page that was written
 */
export function renderTransfer(report: TransferReport, page: string | undefined, colors: Colors): string {
  return `${factLines(facts(report, page), colors)}\n${table(report)}\n`;
}

function facts(report: TransferReport, page: string | undefined): Fact[] {
  const { from, to } = report;
  const list: Fact[] = [
    ['from', `${from.path} (${from.format})`],
    ['to', `${to.path} (${to.format})`],
    ...transferFacts(report, report.layers),
  ];
  if (report.output !== null) list.push(['plan', report.output]);
  if (page !== undefined) list.push(['page', page]);
  for (const note of [...from.notes, ...to.notes, ...report.notes]) list.push(['note', note]);
  return list;
}

function table({ layers, secondsIn }: TransferReport): string {
  const isTimed = secondsIn !== null;
  const out = new PlainTable(
    ['left', 'right', 'right', 'right', 'right', 'right', 'right', ...(isTimed ? (['right'] as const) : [])],
    1,
  );
  out.push([
    ...['layer', 'rounds', 'least', 'transfers', 'copies', 'from host', 'bytes'],
    ...(isTimed ? ['time'] : []),
  ]);
  const push = (name: string, of: readonly TransferLayerReport[]) => {
    const sum = (value: (layer: TransferLayerReport) => number) =>
      of.reduce((total, layer) => total + value(layer), 0);
    out.push([
      name,
      grouped(sum(({ rounds }) => rounds)),
      grouped(sum(({ bounds }) => bounds.rounds)),
      grouped(sum(({ transfers }) => transfers)),
      grouped(sum(({ copies }) => copies)),
      grouped(sum(({ hostLoads }) => hostLoads)),
      bytes(sum((layer) => layer.bytes)),
      ...(isTimed ? [seconds(sum((layer) => layer.seconds ?? 0))] : []),
    ]);
  };
  const isLong = layers.length > MOST_ROWS;
  const shown = isLong ? layers.slice(0, MOST_ROWS - 2) : layers;
  for (const layer of shown) push(String(layer.layer), [layer]);
  if (isLong) push(`${grouped(layers.length - shown.length)} more`, layers.slice(shown.length));
  if (layers.length > 1) push('all', layers);
  return out.toString();
}
