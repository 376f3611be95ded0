import { evenExchange } from '../cost/exchange.ts';
import { LayerTimer } from '../cost/layer-timer.ts';
import { costModel, type Topology } from '../index.ts';
import { zeros } from '../memory/allocate.ts';
import type { CostModel } from './configuration.ts';
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

/** @param loads [layers x logical]: where the loads of each step are put */
export function unitCounter(cost: CostModel, topology: Topology, loads: Float32Array): UnitCounter {
  return cost.time.kind === 'slots'
    ? new SlotCounter(cost, topology, loads)
    : new StatsCounter(cost, topology);
}

/** Largest rank loads, or PARs. */
class StatsCounter implements UnitCounter {
  readonly #isLoad: boolean;
  readonly #units: Float64Array;

  constructor({ time }: CostModel, { numLayers }: Topology) {
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
class SlotCounter implements UnitCounter {
  readonly #timer: LayerTimer;
  readonly #units: Float64Array;
  readonly #counts: Int32Array;
  readonly #loads: readonly Float32Array[];

  constructor({ time }: CostModel, topology: Topology, loads: Float32Array) {
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes } = topology;
    const cost = costModel(time.kind === 'slots' ? time.model : { slotSeconds: { perToken: 0 } });
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

  unitsOf(placement: ScoredPlacement): Float64Array {
    this.#loads.forEach((loads, layer) => {
      const slots = placement.layerSlots(layer);
      const counts = this.#counts.fill(0);
      for (let slot = 0; slot < slots.length; slot++) if (slots[slot]! >= 0) counts[slots[slot]!]!++;
      this.#units[layer] = this.#timer.seconds(loads, slots, counts);
    });
    return this.#units;
  }

  unitsAtBalance(): number {
    return this.#loads.reduce((sum, loads) => sum + this.#timer.secondsAtBalance(loads), 0);
  }
}
