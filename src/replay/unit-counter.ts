import { evenExchange } from '../cost/exchange.ts';
import type { CostTally } from '../cost/layer-costs.ts';
import { LayerTimer } from '../cost/layer-timer.ts';
import { type CostModelJson, costModel, type Topology } from '../index.ts';
import { zeros } from '../memory/allocate.ts';
import type { ReplayCost } from './configuration.ts';
import type { ScoredPlacement } from './scorer.ts';

/** Counts the units of time of a step's layers, as the cost model has them. */
export interface UnitCounter {
  /**
   * The units of each layer [layers], of loads that a placement was just scored for: a view, written again by
   * the next call.
   */
  unitsOf(placement: ScoredPlacement): Float64Array;
  /** The units of the loads at perfect balance; undefined where the mean rank loads say it. */
  unitsAtBalance(): number | undefined;
}

/** What a model of slots can say beside the units of time. */
export interface SlotTimes extends UnitCounter {
  /** As {@link UnitCounter.unitsOf}, and adds what the layers' time goes to. */
  unitsOf(placement: ScoredPlacement, tally?: CostTally): Float64Array;
  /**
   * Seconds of some loads of one layer under a placement.
   *
   * @param loads [logical]
   */
  layerSeconds(loads: Float32Array, placement: ScoredPlacement, layer: number): number;
}

/** The counter of a cost of tokens alone. */
export function unitCounter(cost: ReplayCost, topology: Topology): UnitCounter {
  return new StatsCounter(cost, topology);
}

/**
 * The counter of a cost of slots; undefined for another.
 *
 * @param loads [layers x logical]: where the loads of each step are put
 */
export function slotTimes(cost: ReplayCost, topology: Topology, loads: Float32Array): SlotTimes | undefined {
  return cost.time.kind === 'slots' ? new SlotCounter(cost.time.model, topology, loads) : undefined;
}

/** Largest rank loads, or PARs. */
class StatsCounter implements UnitCounter {
  readonly #isLoad: boolean;
  readonly #units: Float64Array;

  constructor({ time }: ReplayCost, { numLayers }: Topology) {
    this.#isLoad = time.kind === 'load';
    this.#units = new Float64Array(numLayers);
  }

  unitsOf({ stats }: ScoredPlacement): Float64Array {
    for (let layer = 0; layer < this.#units.length; layer++) {
      const most = stats[2 * layer]!;
      const mean = stats[2 * layer + 1]!;
      this.#units[layer] = this.#isLoad ? most : mean === 0 ? 1 : most / mean;
    }
    return this.#units;
  }

  unitsAtBalance(): undefined {}
}

/** Seconds of the slowest ranks, by a model of slots. */
class SlotCounter implements SlotTimes {
  readonly #timer: LayerTimer;
  readonly #units: Float64Array;
  readonly #counts: Int32Array;
  readonly #loads: readonly Float32Array[];

  constructor(model: CostModelJson, topology: Topology, loads: Float32Array) {
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes } = topology;
    const cost = costModel(model);
    const stride = numPhysicalExperts / numRanks;
    const rankStarts = Array.from({ length: numRanks + 1 }, (_, rank) => rank * stride);
    this.#timer = new LayerTimer(
      cost,
      { numLogicalExperts, rankStarts },
      evenExchange(cost, numRanks, numNodes),
    );
    this.#units = zeros('replay: times of layers', Float64Array, numLayers);
    this.#counts = new Int32Array(numLogicalExperts);
    this.#loads = Array.from({ length: numLayers }, (_, layer) =>
      loads.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts),
    );
  }

  unitsOf(placement: ScoredPlacement, tally?: CostTally): Float64Array {
    this.#loads.forEach((loads, layer) => {
      if (tally === undefined) {
        this.#units[layer] = this.layerSeconds(loads, placement, layer);
        return;
      }
      const cost = this.#timer.cost(loads, placement.layerSlots(layer), this.#countsOf(placement, layer));
      tally.add(cost);
      this.#units[layer] = cost.seconds;
    });
    return this.#units;
  }

  layerSeconds(loads: Float32Array, placement: ScoredPlacement, layer: number): number {
    return this.#timer.seconds(loads, placement.layerSlots(layer), this.#countsOf(placement, layer));
  }

  unitsAtBalance(): number {
    return this.#loads.reduce((sum, loads) => sum + this.#timer.secondsAtBalance(loads), 0);
  }

  #countsOf(placement: ScoredPlacement, layer: number): Int32Array {
    const slots = placement.layerSlots(layer);
    const counts = this.#counts.fill(0);
    for (let slot = 0; slot < slots.length; slot++) if (slots[slot]! >= 0) counts[slots[slot]!]!++;
    return counts;
  }
}
