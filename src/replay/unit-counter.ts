import { rankSpeedsOf } from '../core/rank-speeds.ts';
import { sharedLoads } from '../core/rules.ts';
import { exchangeOf } from '../cost/exchange.ts';
import type { CostTally } from '../cost/layer-costs.ts';
import { type LayerTimer, makeLayerTimer } from '../cost/layer-timer.ts';
import { makeNearestExchange, type SlotDispatch } from '../cost/nearest-exchange.ts';
import type { RecordedRoutes } from '../formats/recording.ts';
import { type CostModel, type CostModelJson, costModel, type Dispatch, type Topology } from '../index.ts';
import { zeros } from '../memory/allocate.ts';
import type { ReplayCost } from './configuration.ts';
import { PlacementDispatch } from './placement-dispatch.ts';
import type { ScoredPlacement } from './scorer.ts';
import { SentOnceOfRoutes } from './sent-once.ts';
import type { SourceDispatch } from './source-dispatch.ts';

/** Counts the units of time of a step's layers, as the cost model has them. */
export interface UnitCounter {
  /**
   * The units of each layer [layers], of loads that a placement was just scored for: a view, written again by
   * the next call.
   */
  unitsOf(placement: ScoredPlacement): Float64Array;
}

/** What a model of slots can say beside the units of time. */
export interface SlotTimes extends UnitCounter {
  /** Where there are routes: a rank gets a token once. */
  readonly routes: SentOnceOfRoutes | undefined;
  /** As {@link UnitCounter.unitsOf}, and adds what the layers' time goes to. */
  tallied(placement: ScoredPlacement, tallies: readonly CostTally[]): Float64Array;
  /** The units at perfect balance of the loads that {@link tallied} was last asked for. */
  readonly unitsAtBalance: number;
  /**
   * Seconds of some loads of one layer under a placement.
   *
   * @param loads [logical]; of what routes say a rank gets once, as much as in the step that came last
   */
  layerSeconds(loads: Float32Array, placement: ScoredPlacement, layer: number): number;
  /** The ranks are others from now on, as many as before. */
  changeRanks(topology: Topology): void;
}

/** What a recording says of tokens beside loads. */
interface TokenFacts {
  /** Of whose steps {@link SlotTimes.routes} is then told. */
  readonly routes?: RecordedRoutes | undefined;
  /** Where it is known on which ranks tokens are. Who gives it tells it of steps, and of ranks first. */
  readonly sources?: SourceDispatch | undefined;
}

/** The counter of a cost of tokens alone. */
export function unitCounter(cost: ReplayCost, topology: Topology): UnitCounter {
  return new StatsCounter(cost, topology);
}

/**
 * The counter of a cost of slots; undefined for another.
 *
 * @param loads [layers x logical]: where the loads of each step are put
 * @param dispatch which copies tokens take, which are on all ranks alike
 */
export function slotTimes(
  cost: ReplayCost,
  topology: Topology,
  loads: Float32Array,
  dispatch: Dispatch = 'even',
  from: TokenFacts = {},
): SlotTimes | undefined {
  const { time } = cost;
  return time.kind === 'slots' ? new SlotCounter(time.model, topology, loads, dispatch, from) : undefined;
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
}

/** Seconds of the slowest ranks, by a model of slots. */
class SlotCounter implements SlotTimes {
  readonly #cost: CostModel;
  #timer: LayerTimer;
  readonly #units: Float64Array;
  #unitsAtBalance = 0;
  readonly #loads: readonly Float32Array[];
  readonly #dispatch: Dispatch;
  readonly #sources: SourceDispatch | undefined;
  #dispatched: PlacementDispatch | undefined;
  readonly routes: SentOnceOfRoutes | undefined;

  constructor(
    model: CostModelJson,
    topology: Topology,
    loads: Float32Array,
    dispatch: Dispatch,
    { routes, sources }: TokenFacts,
  ) {
    const { numLayers, numLogicalExperts } = topology;
    this.#cost = costModel(model);
    this.routes = routes && new SentOnceOfRoutes(routes, topology, this.#cost, dispatch);
    this.#dispatch = dispatch;
    this.#sources = sources;
    this.#timer = this.#timerOf(topology);
    this.#units = zeros('replay: times of layers', Float64Array, numLayers);
    this.#loads = Array.from({ length: numLayers }, (_, layer) =>
      loads.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts),
    );
  }

  changeRanks(topology: Topology): void {
    this.#timer = this.#timerOf(topology);
    this.routes?.changeRanks(topology);
  }

  #timerOf(topology: Topology): LayerTimer {
    const { numLogicalExperts, numPhysicalExperts, numRanks } = topology;
    const stride = numPhysicalExperts / numRanks;
    const rankStarts = Array.from({ length: numRanks + 1 }, (_, rank) => rank * stride);
    const shared = topology.rules && sharedLoads(topology);
    const sizes = { numLogicalExperts, rankStarts, speeds: rankSpeedsOf(topology), shared };
    if (this.#sources !== undefined) {
      const { latencySeconds } = exchangeOf(this.#cost, topology);
      // At best each token is where its experts are.
      const exchange = { secondsPerToken: 0, latencySeconds, leastSeconds: () => 0 };
      return makeLayerTimer(this.#cost, sizes, exchange);
    }
    if (this.#dispatch === 'even') return makeLayerTimer(this.#cost, sizes, exchangeOf(this.#cost, topology));
    const nearest = makeNearestExchange(this.#cost, topology, topology, this.#dispatch);
    this.#dispatched = new PlacementDispatch(nearest);
    return makeLayerTimer(this.#cost, sizes, nearest);
  }

  #dispatchOf(placement: ScoredPlacement, layer: number): SlotDispatch | undefined {
    return (this.#sources ?? this.#dispatched)?.ofLayer(placement, layer);
  }

  unitsOf(placement: ScoredPlacement): Float64Array {
    for (let layer = 0; layer < this.#units.length; layer++)
      this.#units[layer] = this.layerSeconds(this.#loads[layer]!, placement, layer);
    return this.#units;
  }

  tallied(placement: ScoredPlacement, tallies: readonly CostTally[]): Float64Array {
    this.#unitsAtBalance = 0;
    for (let layer = 0; layer < this.#units.length; layer++) {
      const slots = placement.layerSlots(layer);
      const dispatched = this.#dispatchOf(placement, layer);
      const counts = placement.layerCounts(layer);
      const sent = this.routes?.ofLayer(placement, layer);
      const cost = this.#timer.cost(this.#loads[layer]!, slots, counts, dispatched, sent);
      for (const tally of tallies) tally.add(cost);
      this.#units[layer] = cost.seconds;
      this.#unitsAtBalance += this.#timer.secondsAtBalance;
    }
    return this.#units;
  }

  get unitsAtBalance(): number {
    return this.#unitsAtBalance;
  }

  layerSeconds(loads: Float32Array, placement: ScoredPlacement, layer: number): number {
    const dispatched = this.#dispatchOf(placement, layer);
    const slots = placement.layerSlots(layer);
    const sent = this.routes?.ofLayer(placement, layer);
    return this.#timer.seconds(loads, slots, placement.layerCounts(layer), dispatched, sent);
  }
}
