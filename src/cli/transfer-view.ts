import { bytes, counted, grouped, seconds } from '../formats/number-text.ts';
import type { Colors } from './colors.ts';
import { type Fact, factLines } from './fact-list.ts';
import { PlainTable } from './plain-table.ts';
import type { TransferLayerReport, TransferReport } from './transfer-report.ts';

/** More layers than this are one line together. */
const MOST_ROWS = 12;

/** A transfer plan for people: what moves, by layer, and what that takes. */
export function renderTransfer(report: TransferReport, colors: Colors): string {
  return `${factLines(facts(report), colors)}\n${table(report)}\n`;
}

function facts(report: TransferReport): Fact[] {
  const { from, to, numRanks, numNodes, deadRanks, numTransfers } = report;
  const nodes = numNodes === 1 ? '' : ` on ${counted(numNodes, 'node')}`;
  const dead = deadRanks.length === 0 ? '' : `, without the dead ${deadRanks.join(', ')}`;
  const list: Fact[] = [
    ['from', `${from.path} (${from.format})`],
    ['to', `${to.path} (${to.format})`],
    ['ranks', `${grouped(numRanks)}${nodes}${dead}`],
    ['mode', modeText(report)],
    ['transfers', `${grouped(numTransfers)} of ${bytes(report.bytesPerExpert)}: ${bytes(report.bytes)}`],
  ];
  for (const [link, sum] of Object.entries(report.bytesByLink)) {
    if (sum > 0) list.push([`by ${link}`, bytes(sum)]);
  }
  list.push(['rounds', `${grouped(report.numRounds)}; at least ${grouped(report.bounds.rounds)}`]);
  if (report.secondsIn !== null) list.push(['time', timeText(report)]);
  list.push(['schedule', `${report.schedule}: ${report.scheduleReason}`]);
  const undone = report.layers.reduce((sum, layer) => sum + layer.undone, 0);
  if (undone > 0) list.push(['not done', undoneText(report, undone)]);
  if (report.output !== null) list.push(['plan', report.output]);
  for (const note of [...from.notes, ...to.notes, ...report.notes]) list.push(['note', note]);
  return list;
}

function modeText({ mode, staging, duplex, relay, layers }: TransferReport): string {
  const most = Math.max(...layers.map(({ extraSlots }) => extraSlots));
  const where =
    mode === 'buffered'
      ? `buffered, ${counted(most, 'buffer slot')} a rank at most`
      : `in place, ${counted(staging, 'staging slot')} a rank`;
  return `${where}; ${duplex} duplex${relay ? '; with relays' : ''}`;
}

function timeText({ secondsIn, bounds, cost }: TransferReport): string {
  const { rounds, batch } = secondsIn!;
  const together = batch === null ? '' : `, ${seconds(batch)} in batches`;
  return `${seconds(rounds)} in rounds${together}; at least ${seconds(bounds.seconds!)} (${cost})`;
}

function undoneText({ stagingBytes }: TransferReport, undone: number): string {
  const slots = `${counted(undone, 'slot')} ${undone === 1 ? 'does not get its' : 'do not get their'} expert`;
  const why = stagingBytes === 0 ? 'the rank is dead' : `${bytes(stagingBytes)} of staging would do it`;
  return `${slots}: ${why}`;
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
