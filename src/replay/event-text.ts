import { counted, grouped } from '../formats/number-text.ts';
import type { RankChangeResult } from './rank-change-result.ts';
import type { RankEvent } from './rank-events.ts';

/** What becomes of ranks before a step, in words: `rank 12 fails`. */
export function eventsText(events: readonly RankEvent[]): string {
  return events.map(eventText).join(', ');
}

function eventText(event: RankEvent): string {
  if (event.kind === 'grow') return `${counted(event.numRanks, 'rank')} more`;
  const { kind, ranks } = event;
  const isOne = ranks.length === 1;
  const who = `${isOne ? 'rank' : 'ranks'} ${rangesText(ranks)}`;
  if (kind === 'slow') return `${who} at speed ${event.speed}`;
  const verb = kind === 'fail' ? 'fail' : 'return';
  return `${who} ${verb}${isOne ? 's' : ''}`;
}

/** Steps until a change is made up for: `> 80` where it never is in so many. */
export function backText({ stepsUntilBack, numSteps }: RankChangeResult): string {
  return stepsUntilBack === null ? `> ${grouped(numSteps)}` : grouped(stepsUntilBack);
}

/** Rising numbers: `0 to 3, 8`. */
function rangesText(numbers: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`)).join(', ');
}
