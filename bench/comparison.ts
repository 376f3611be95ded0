import { STATISTIC_NAMES } from './figure.ts';
import { type Comparison, TOLERANCE } from './judge.ts';
import { alignedTable, number } from './table.ts';

const HEADINGS = ['figure', '', 'base', 'new', 'unit', 'new / base', ''];
const IS_RIGHT_ALIGNED = [false, false, true, true, false, true, false];
const PERCENT = Math.round((TOLERANCE - 1) * 100);

/** Every figure, base and new. */
export function comparisonTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map((comparison) => {
    const { base, next, ratio } = comparison;
    const { id, unit, statistic } = next;
    const what = STATISTIC_NAMES[statistic];
    return [id, what, number(base.value), number(next.value), unit, ratioText(ratio), verdict(comparison)];
  });
  return alignedTable([HEADINGS, ...rows], IS_RIGHT_ALIGNED);
}

/** What was judged and what was not, and the losses. */
export function comparisonSummary(comparisons: readonly Comparison[]): string[] {
  const count = (wanted: string) => comparisons.filter(({ outcome }) => outcome === wanted).length;
  const lost = comparisons.filter(({ outcome }) => outcome === 'lost');
  const judged = lost.length + count('gained') + count('same');
  return [
    `${judged} of ${comparisons.length} figures judged: ${lost.length} lost over ${PERCENT} %, ` +
      `${count('gained')} gained over ${PERCENT} %, ${count('same')} the same`,
    `${count('noisy')} too noisy to judge; ${count('unjudged')} not judged: ratios, and numbers with ` +
      'neither a bar nor enough runs',
    ...lost.map(({ next, ratio }) => `LOST: ${next.id}: ${ratioText(ratio)} of base`),
  ];
}

function verdict({ outcome, reason }: Comparison): string {
  if (outcome === 'same') return '';
  if (outcome === 'noisy') return `too noisy: ${reason}`;
  if (outcome === 'unjudged') return `(${reason})`;
  return outcome === 'lost' ? 'LOST' : 'gained';
}

/** Of numbers that are not both positive there is no ratio to speak of. */
function ratioText(ratio: number): string {
  return ratio > 0 && Number.isFinite(ratio) ? `${ratio.toFixed(3)}x` : '';
}
