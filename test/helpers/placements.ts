import { ExpertMapping } from 'expert-load-balancer';
import fc from 'fast-check';
import { divisors, seededRandom, sizeArbitrary, slotsArbitrary } from './arbitraries.ts';

/** A valid mapping and a number of ranks that divides its slots. */
interface PlacementProblem {
  readonly mapping: ExpertMapping;
  readonly numRanks: number;
}

/** Random valid mappings: every expert somewhere, the other slots with any expert, in any order. */
export function placementArbitrary(maxExperts: number): fc.Arbitrary<PlacementProblem> {
  return sizeArbitrary(maxExperts)
    .chain((experts) =>
      fc.tuple(fc.constant(experts), slotsArbitrary(experts), fc.integer({ min: 1, max: 5 })),
    )
    .chain(([experts, slots, layers]) =>
      fc.record({
        mapping: fc.integer().map((seed) => randomMapping(seed, layers, slots, experts)),
        numRanks: fc.constantFrom(...divisors(slots)),
      }),
    );
}

/** A valid mapping from a seed. */
function randomMapping(seed: number, layers: number, slots: number, experts: number): ExpertMapping {
  const random = seededRandom(seed);
  const below = (end: number) => Math.floor(random() * end);
  const rows = Array.from({ length: layers }, () => {
    const row = Array.from({ length: slots }, (_, slot) => (slot < experts ? slot : below(experts)));
    for (let i = slots - 1; i > 0; i--) {
      const j = below(i + 1);
      [row[i], row[j]] = [row[j]!, row[i]!];
    }
    return row;
  });
  return ExpertMapping.fromPhysicalToLogical(rows, experts);
}
