import { counted, grouped, ratio, seconds, times } from '../../../formats/number-text.ts';
import type { DashboardView, OverviewRow } from '../view.ts';

/** How long ago something was: 3 s ago, 12 min ago. @param nowMs by the clock of the service */
export function ago(at: number | null, nowMs: number): string {
  return at === null ? 'never' : `${duration(nowMs - at)} ago`;
}

function duration(ms: number): string {
  const total = Math.max(0, Math.round(ms / 1000));
  if (total < 120) return `${total} s`;
  if (total < 120 * 60) return `${Math.round(total / 60)} min`;
  return `${Math.round(total / 3600)} h`;
}

/** What is the matter with a group in a few words. */
export function stateText({ paused, dryRun, state, flagged, deadRanks }: OverviewRow): string {
  const parts = [
    ...(flagged.length > 0 ? [`flagged: ${flagged.join(', ')}`] : []),
    ...(deadRanks > 0 ? [`${counted(deadRanks, 'rank')} dead`] : []),
    ...(paused ? ['paused'] : []),
    ...(dryRun ? ['dry run'] : []),
    ...(state === null ? [] : [state]),
  ];
  return parts.length === 0 ? 'ok' : parts.join('; ');
}

/** What a group's newest loads come to, in a sentence. */
export function groupFinding({ now, rankLoads }: DashboardView): string {
  const { newest } = now;
  if (newest === null) {
    return rankLoads === null ? 'No loads yet' : 'No loads since the service started';
  }
  if (newest.tokens === 0) return `Step ${grouped(newest.step)} had no tokens`;
  const waits = `a step waits for ${times(1 / newest.balancedness)} times the mean rank load`;
  const lost = newest.secondsLost === null ? '' : `, which takes ${seconds(newest.secondsLost)} longer`;
  return `Balancedness ${ratio(newest.balancedness)}: ${waits}${lost}`;
}

/** A minute without a step is said: nothing that is drawn is newer. */
const STILL_MS = 60_000;

/** What a reader has to know to read the rest right; empty when there is nothing. */
export function groupNotice({ group, now, rankLoads }: DashboardView, nowMs: number): string {
  const { lastLoadsAt, newest, window } = now;
  const name = group.group;
  const isStill = lastLoadsAt !== null && nowMs - lastLoadsAt > STILL_MS;
  return [
    lastLoadsAt === null && rankLoads === null
      ? `Nobody has reported a whole step: ranks report loads with POST v1/groups/${name}/loads.`
      : '',
    lastLoadsAt === null && rankLoads !== null
      ? `The window of ${counted(window.steps, 'step')} is from before the service started.`
      : '',
    isStill ? `The newest step is of ${ago(lastLoadsAt, nowMs)}: nothing has moved since.` : '',
    newest !== null && newest.tokens === 0 ? 'No rank had anything to do in it.' : '',
    group.paused ? 'Paused: every plan is kept, and nothing is offered.' : '',
    group.dryRun ? 'Dry run: plans are made and shown, and never offered.' : '',
  ]
    .filter((text) => text !== '')
    .join(' ');
}

/** The time on the reader's clock. */
export function clock(at: number, withSeconds: boolean): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const date = new Date(at);
  const text = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return withSeconds ? `${text}:${two(date.getSeconds())}` : text;
}
