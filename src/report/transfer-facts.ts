import { bytes, counted, grouped, seconds } from '../formats/number-text.ts';
import type { TransferPlanHead } from '../index.ts';

/** A name, and what is said of it. */
type TransferFact = readonly [name: string, text: string];

/** Of a layer. */
interface LayerCounts {
  /** Slots that do not get their expert. */
  readonly undone: number;
  /** Buffer or staging slots of the rank that uses most. */
  readonly extraSlots: number;
}

/** What a transfer plan takes, for people: the command prints it, and its page has it as a table. */
export function transferFacts(plan: TransferPlanHead, layers: readonly LayerCounts[]): TransferFact[] {
  const { numRanks, numNodes, deadRanks, numTransfers } = plan;
  const nodes = numNodes === 1 ? '' : ` on ${counted(numNodes, 'node')}`;
  const dead = deadRanks.length === 0 ? '' : `, without the dead ${deadRanks.join(', ')}`;
  const facts: TransferFact[] = [
    ['ranks', `${grouped(numRanks)}${nodes}${dead}`],
    ['mode', modeText(plan, layers)],
    ['transfers', `${grouped(numTransfers)} of ${bytes(plan.bytesPerExpert)}: ${bytes(plan.bytes)}`],
  ];
  for (const [link, sum] of Object.entries(plan.bytesByLink)) {
    if (sum > 0) facts.push([`by ${link}`, bytes(sum)]);
  }
  facts.push(['rounds', `${grouped(plan.numRounds)}; at least ${grouped(plan.bounds.rounds)}`]);
  if (plan.secondsIn !== null) facts.push(['time', timeText(plan)]);
  facts.push(['schedule', `${plan.schedule}: ${plan.scheduleReason}`]);
  const undone = layers.reduce((sum, layer) => sum + layer.undone, 0);
  if (undone > 0) facts.push(['not done', undoneText(plan, undone)]);
  return facts;
}

function modeText(
  { mode, staging, duplex, relay }: TransferPlanHead,
  layers: readonly LayerCounts[],
): string {
  const most = layers.reduce((max, { extraSlots }) => Math.max(max, extraSlots), 0);
  const where =
    mode === 'buffered'
      ? `buffered, ${counted(most, 'buffer slot')} a rank at most`
      : `in place, ${counted(staging, 'staging slot')} a rank`;
  return `${where}; ${duplex} duplex${relay ? '; with relays' : ''}`;
}

function timeText({ secondsIn, bounds, cost }: TransferPlanHead): string {
  const { rounds, batch } = secondsIn!;
  const together = batch === null ? '' : `, ${seconds(batch)} in batches`;
  return `${seconds(rounds)} in rounds${together}; at least ${seconds(bounds.seconds!)} (${cost})`;
}

function undoneText({ stagingBytes }: TransferPlanHead, undone: number): string {
  const slots = `${counted(undone, 'slot')} ${undone === 1 ? 'does not get its' : 'do not get their'} expert`;
  const why = stagingBytes === 0 ? 'the rank is dead' : `${bytes(stagingBytes)} of staging would do it`;
  return `${slots}: ${why}`;
}
