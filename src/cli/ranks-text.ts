import { counted } from '../formats/number-text.ts';
import type { Topology } from '../index.ts';

/** Ranks and how many slots each has open, in words: `16 ranks of 5`, or `4 ranks of 3 to 6`. */
export function ranksText(sizes: Pick<Topology, 'numPhysicalExperts' | 'numRanks' | 'slotsPerRank'>): string {
  const { numPhysicalExperts, numRanks, slotsPerRank } = sizes;
  const all = slotsPerRank ?? [numPhysicalExperts / numRanks];
  const [least, most] = [Math.min(...all), Math.max(...all)];
  return `${counted(numRanks, 'rank')} of ${least === most ? least : `${least} to ${most}`}`;
}
