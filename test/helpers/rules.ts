import type { PlacementRules, Topology } from 'expert-load-balancer';
import { seededRandom } from './arbitraries.ts';

interface RuledSizes extends Topology {
  readonly deadRanks?: readonly number[];
}

/**
 * Rules that some placement keeps: read off a random one, layer by layer. With a rule for all layers, further
 * ones for one layer, pins to ranks that are dead, and at times a shared expert.
 */
export function drawRules(topology: RuledSizes, seed: number): PlacementRules {
  const random = seededRandom(seed);
  const below = (end: number) => Math.floor(random() * end);
  const { numLayers, numRanks, deadRanks = [] } = topology;
  const pinned: NonNullable<PlacementRules['pinned']>[number][] = [];
  const neverReplicated: NonNullable<PlacementRules['neverReplicated']>[number][] = [];
  const isForAll = numLayers === 1 || random() < 0.5;
  const strength = random();
  for (let layer = 0; layer < (isForAll ? 1 : numLayers); layer++) {
    const layers = isForAll ? {} : { layers: [layer] };
    const ranksOf = drawPlacement(topology, random);
    // One may always have further copies: else slots that nothing may fill would have to be closed.
    const free = below(ranksOf.length);
    for (const [expert, ranks] of ranksOf.entries()) {
      if (random() > strength) continue;
      const kind = below(4);
      const some = ranks.filter(() => random() < 0.5);
      const dead = random() < 0.2 ? deadRanks.slice(0, 1) : [];
      if (kind === 0 && expert !== free && ranks.length === 1) {
        neverReplicated.push({ experts: [expert], ...layers });
        if (random() < 0.3) pinned.push({ experts: [expert], ranks, ...layers });
      } else if (kind === 1 && expert !== free) {
        pinned.push({ experts: [expert], ranks: [...ranks, ...dead], ...layers, only: true });
      } else if (some.length + dead.length > 0) {
        pinned.push({ experts: [expert], ranks: [...some, ...dead], ...layers });
      }
    }
  }
  const live = Array.from({ length: numRanks }, (_, rank) => rank).filter(
    (rank) => !deadRanks.includes(rank),
  );
  const holders = live.filter(() => random() < 0.5);
  const hasShared = random() < 0.4;
  return {
    pinned,
    neverReplicated,
    ...(hasShared && {
      sharedExpert: {
        load: random(),
        slots: 0,
        ...(holders.length > 0 && random() < 0.7 && { ranks: holders }),
      },
    }),
  };
}

/** The live ranks of each expert in a random placement of all open slots, or as many as find an expert. */
function drawPlacement(topology: RuledSizes, random: () => number): number[][] {
  const { numLogicalExperts, numPhysicalExperts, numRanks, slotsPerRank, deadRanks = [] } = topology;
  const stride = Math.ceil(numPhysicalExperts / numRanks);
  const slots = Array.from({ length: numRanks }, (_, rank) => {
    const open = deadRanks.includes(rank) ? 0 : (slotsPerRank?.[rank] ?? stride);
    return new Array<number>(open).fill(rank);
  }).flat();
  for (let i = slots.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [slots[i], slots[j]] = [slots[j]!, slots[i]!];
  }
  const ranksOf: number[][] = Array.from({ length: numLogicalExperts }, (_, expert) => [slots[expert]!]);
  for (const rank of slots.slice(numLogicalExperts)) {
    const others = ranksOf.filter((ranks) => !ranks.includes(rank));
    others[Math.floor(random() * others.length)]?.push(rank);
  }
  return ranksOf;
}
