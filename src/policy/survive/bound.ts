import { numOpenSlots, openSlotsOfDomains } from '../../core/open-slots.ts';
import type { Topology } from '../../core/topology.ts';

// How many experts can have copies in two failure domains at once.

type Slots = Pick<Topology, 'numPhysicalExperts' | 'numRanks' | 'slotsPerRank'>;

/**
 * The most experts of a layer that can have copies in two domains while every other one has a copy. A second
 * copy takes a redundant slot. And of the two copies one is outside the largest domain, so that there are no
 * more than slots outside of it. No other set of domains says less: that is the smallest cut of the flow from
 * experts, two copies of those that survive and one of the others, over domains to their slots.
 */
export function mostSurvivors(
  topology: Slots & Pick<Topology, 'numLogicalExperts'>,
  domains: Int32Array,
): number {
  const { numLogicalExperts } = topology;
  const numOpen = numOpenSlots(topology);
  const largest = openSlotsOfDomains(topology, domains).reduce((most, size) => Math.max(most, size), 0);
  return Math.min(numLogicalExperts, numOpen - numLogicalExperts, numOpen - largest);
}

/**
 * The heaviest experts, so many, rising: of equal loads those with the lowest numbers.
 *
 * @param loads [logical]
 */
export function heaviestExperts(loads: ArrayLike<number>, count: number): number[] {
  // Numbers alone are sorted, which takes a tenth of what sorting experts by them does.
  const falling = new Float64Array(loads).sort().reverse();
  const least = falling[count - 1]!;
  let numEqual = count - falling.indexOf(least);
  const heaviest: number[] = [];
  for (let expert = 0; expert < loads.length && heaviest.length < count; expert++) {
    if (loads[expert]! > least || (loads[expert] === least && numEqual-- > 0)) heaviest.push(expert);
  }
  return heaviest;
}
