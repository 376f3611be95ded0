import type { ReplayTotals } from './result.ts';

/** Seconds saved, as a share of the time without balancing; 0 where that takes none. */
export function savedShare({
  secondsSaved,
  unbalancedSeconds,
}: Pick<ReplayTotals, 'secondsSaved' | 'unbalancedSeconds'>): number {
  return unbalancedSeconds === 0 ? 0 : secondsSaved / unbalancedSeconds;
}
