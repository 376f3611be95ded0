import { type SlotDispatch, secondsBetween, slotDispatchOf } from '../cost/nearest-exchange.ts';
import type { CostModel, Dispatch, Topology } from '../index.ts';
import { makeCopyShares } from '../mapping/copy-shares.ts';
import { zeros } from '../memory/allocate.ts';
import { LayerCache, type VersionedPlacement } from './layer-cache.ts';
import { liveRanks } from './layer-copies.ts';

interface KnownLayer extends SlotDispatch {
  /** The number of the step that it is of. */
  ofStep: number;
}

/**
 * What slots get and take in a step whose loads are known by the rank that tokens are on. Tokens of ranks
 * that have died are on all that live alike; on ranks that came later there are none.
 */
export class SourceDispatch {
  /** [layers x ranks x logical]: of the step, for the ranks that there are. */
  readonly loads: Float32Array;
  readonly #numSourceRanks: number;
  readonly #dispatch: Dispatch;
  readonly #cost: CostModel | undefined;
  #topology: Topology;
  #live: readonly number[];
  #between: (source: number, target: number) => number;
  #step = 0;
  readonly #known = new LayerCache<KnownLayer>();

  /** @param numSourceRanks that were recorded: at most as many as ever come */
  constructor(numSourceRanks: number, topology: Topology, cost: CostModel | undefined, dispatch: Dispatch) {
    const { numLayers, numRanks, numLogicalExperts } = topology;
    this.loads = zeros('replay: loads by ranks', Float32Array, numLayers * numRanks * numLogicalExperts);
    this.#numSourceRanks = numSourceRanks;
    this.#dispatch = dispatch;
    this.#cost = cost;
    this.#topology = topology;
    this.#live = liveRanks(topology);
    this.#between = betweenOf(cost, topology);
  }

  changeRanks(topology: Topology): void {
    this.#topology = topology;
    this.#live = liveRanks(topology);
    this.#between = betweenOf(this.#cost, topology);
    this.#known.clear();
  }

  /** @param recorded [layers x recorded ranks x logical], checked */
  takeStep(recorded: Float32Array): void {
    const { numLayers, numRanks, numLogicalExperts: numExperts, deadRanks = [] } = this.#topology;
    const isDead = new Set(deadRanks);
    const loads = this.loads.fill(0);
    this.#step++;
    for (let layer = 0; layer < numLayers; layer++) {
      for (let rank = 0; rank < this.#numSourceRanks; rank++) {
        const from = (layer * this.#numSourceRanks + rank) * numExperts;
        const targets = isDead.has(rank) ? this.#live : [rank];
        for (const target of targets) {
          const to = (layer * numRanks + target) * numExperts;
          for (let expert = 0; expert < numExperts; expert++)
            loads[to + expert]! += recorded[from + expert]! / targets.length;
        }
      }
    }
  }

  /** Of a layer of a placement as it is, for the loads of the step. */
  ofLayer(placement: VersionedPlacement, layer: number): SlotDispatch {
    const known = this.#known.of(placement, layer, (slots, before) => ({
      ...(before ?? slotDispatchOf(slots.length)),
      ofStep: -1,
    }));
    if (known.ofStep !== this.#step) {
      known.ofStep = this.#step;
      this.#write(layer, placement.layerSlots(layer), known);
    }
    return known;
  }

  #write(layer: number, slots: Int32Array, { shares, seconds }: SlotDispatch): void {
    const { numRanks, numLogicalExperts: numExperts } = this.#topology;
    const perRank = slots.length / numRanks;
    const copies = makeCopyShares(slots, this.#topology, this.#dispatch);
    shares.fill(0);
    seconds.fill(0);
    for (let expert = 0; expert < numExperts; expert++) {
      let total = 0;
      for (let source = 0; source < numRanks; source++)
        total += this.loads[(layer * numRanks + source) * numExperts + expert]!;
      for (let source = 0; source < numRanks; source++) {
        const load = this.loads[(layer * numRanks + source) * numExperts + expert]!;
        // Without any token copies share as they would of tokens on all ranks alike.
        const part = total === 0 ? 1 / numRanks : load / total;
        if (part === 0) continue;
        const numSlots = copies.findSlots(expert, source);
        for (let i = 0; i < numSlots; i++) {
          const slot = copies.slots[i]!;
          shares[slot]! += part / numSlots;
          seconds[slot]! += (part / numSlots) * this.#between(source, Math.floor(slot / perRank));
        }
      }
    }
  }
}

function betweenOf(cost: CostModel | undefined, topology: Topology): (a: number, b: number) => number {
  return cost === undefined ? () => 0 : secondsBetween(cost, topology);
}

/** Loads of steps by the rank that tokens are on, added up: see `TrafficSum`. */
export class SourceSum {
  /** [layers x ranks x logical] */
  readonly values: Float64Array;
  readonly #loads: Float32Array;

  constructor({ loads }: SourceDispatch) {
    this.values = zeros('replay: loads by ranks', Float64Array, loads.length);
    this.#loads = loads;
  }

  add(): void {
    const { values } = this;
    const loads = this.#loads;
    for (let i = 0; i < loads.length; i++) values[i]! += loads[i]!;
  }
}
