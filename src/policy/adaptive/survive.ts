import { domainsOfRanks } from '../../core/failure-domains.ts';
import type { Topology } from '../../core/topology.ts';
import { heaviestExperts, mostSurvivors } from '../survive/bound.ts';
import { type RuledSurvivors, ruledSurvivors } from '../survive/ruled-survivors.ts';

/**
 * An expert takes the place of one that survives where its load is so many times as much: on loads that drift
 * slowly a third to a half of the moves for survival are left, for 0.2 to 0.5 % less of the load surviving.
 * 1.1 leaves a half to two thirds, 1.4 a fifth to a third, for twice as much less.
 */
const MARGIN = 1.2;

/** Which experts of a layer are to survive any single failure, and whether a placement lets them. */
export class SurvivalGoal {
  /** Int32Array[ranks]: the failure domain of each rank. */
  readonly domains: Int32Array;
  /** Experts that can survive: the heaviest ones are to. */
  readonly numSurvivors: number;
  readonly #topology: Topology;
  readonly #ruled: RuledSurvivors | undefined;

  /** @throws EplbRangeError `EPLB_RANGE` for a level that the topology does not have */
  constructor(topology: Topology, level: string) {
    this.#topology = topology;
    this.domains = domainsOfRanks(topology, level, 'survive');
    this.numSurvivors = mostSurvivors(topology, this.domains);
    this.#ruled = topology.rules && ruledSurvivors(topology, this.domains);
  }

  /**
   * Marks the experts that are to survive.
   *
   * @param layer whose rules they are to keep
   * @param loads [logical]: what is planned for
   * @param survivors u8[logical], out: 1 for each of them
   * @param live [physical]: the placement that was planned before, where moves from it have a price: what
   * survives in it stays unless others are clearly heavier
   */
  choose(layer: number, loads: Float32Array, survivors: Uint8Array, live?: Int32Array): void {
    const spread = live === undefined ? undefined : this.#spread(live);
    const rated = spread ? loads.map((load, expert) => (spread[expert] ? load * MARGIN : load)) : loads;
    survivors.fill(0);
    const chosen = this.#ruled?.choose(layer, rated) ?? heaviestExperts(rated, this.numSurvivors);
    for (const expert of chosen) survivors[expert] = 1;
  }

  /** Whether all marked experts have copies in two domains. @param slots [physical] */
  isReached(slots: Int32Array, survivors: Uint8Array): boolean {
    const spread = this.#spread(slots);
    return survivors.every((marked, expert) => marked === 0 || spread[expert] === 1);
  }

  /** Whether as many experts as can have copies in two domains, whichever these are. */
  isReachedByAny(layer: number, slots: Int32Array): boolean {
    const most = this.#ruled?.count(layer) ?? this.numSurvivors;
    return this.#spread(slots).reduce((sum, one) => sum + one, 0) >= most;
  }

  /** u8[logical]: 1 for experts with copies in two domains. */
  #spread(slots: Int32Array): Uint8Array {
    const { numLogicalExperts, numRanks, slotsPerRank } = this.#topology;
    const stride = slots.length / numRanks;
    const spread = new Uint8Array(numLogicalExperts);
    const first = new Int32Array(numLogicalExperts).fill(-1);
    slots.forEach((expert, slot) => {
      const rank = Math.floor(slot / stride);
      if (expert < 0 || slot % stride >= (slotsPerRank?.[rank] ?? stride)) return;
      const domain = this.domains[rank]!;
      if (first[expert] === -1) first[expert] = domain;
      else if (first[expert] !== domain) spread[expert] = 1;
    });
    return spread;
  }
}
