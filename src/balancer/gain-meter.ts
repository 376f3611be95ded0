import type { Dispatch } from '../core/dispatch.ts';
import { meanSpeed, ranksPaces } from '../core/rank-speeds.ts';
import type { Topology } from '../core/topology.ts';
import { type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { makeSlotShares, type SlotShares } from '../mapping/slot-shares.ts';
import type { PlanForecast } from '../policy/decision.ts';
import type { GainScale } from '../policy/gain-scale.ts';

/** What gains are in: shares of the mean rank load, or seconds of a policy that knows what its steps cost. */
export type GainUnit = 'share' | 'seconds';

/** A layer of a mapping, as loads are read through it. */
export interface LayerPlacement {
  /** `[physical]`: the expert of each slot; any where it is empty. */
  readonly experts: Int32Array;
  /** `[physical]`: the share of its expert's tokens that each slot gets; 0 where it is empty. */
  readonly shares: Float64Array;
}

function evenPlacement(slots: Int32Array, numLogicalExperts: number): LayerPlacement {
  const experts = new Int32Array(slots.length);
  const counts = new Int32Array(numLogicalExperts);
  const shares = new Float64Array(slots.length);
  for (let slot = 0; slot < slots.length; slot++) if (slots[slot]! >= 0) counts[slots[slot]!]!++;
  for (let slot = 0; slot < slots.length; slot++) {
    const expert = slots[slot]!;
    if (expert < 0) continue;
    experts[slot] = expert;
    shares[slot] = 1 / counts[expert]!;
  }
  return { experts, shares };
}

/** The slots of a layer: not a copy. */
export function slotsOf(mapping: ExpertMapping, layer: number): Int32Array {
  const { phyToLog, numPhysicalExperts } = tablesOf(mapping);
  return phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
}

/** Measures what one placement of a layer gains over another, in the unit of the policy's forecasts. */
export class GainMeter {
  readonly unit: GainUnit;
  readonly #numRanks: number;
  /** Of all ranks. */
  readonly #totalSpeed: number;
  /** `[ranks]`: what each takes for a load of 1; undefined where all take 1. */
  readonly #paces: readonly number[] | undefined;
  readonly #scale: GainScale | undefined;
  readonly #slotShares: SlotShares | undefined;

  /** @param dispatch which copies tokens take, which are on all ranks alike */
  constructor(topology: Topology, scale: GainScale | undefined, dispatch: Dispatch = 'even') {
    if (dispatch === 'nearest')
      this.#slotShares = makeSlotShares(topology, topology.numLogicalExperts, dispatch);
    this.unit = scale === undefined ? 'share' : 'seconds';
    this.#numRanks = topology.numRanks;
    this.#totalSpeed = topology.numRanks * meanSpeed(topology);
    this.#paces = ranksPaces(topology);
    this.#scale = scale;
  }

  /** @param slots `[physical]`: the expert of each slot, -1 when it is empty */
  placementOf(slots: Int32Array, numLogicalExperts: number): LayerPlacement {
    const placement = evenPlacement(slots, numLogicalExperts);
    this.#slotShares?.write(slots, placement.shares);
    return placement;
  }

  /** `[layers]`: what a forecast says of a step. */
  predicted({ gainPerLayer, secondsPerLayer }: PlanForecast): Float64Array {
    return this.unit === 'share' ? gainPerLayer : secondsPerLayer;
  }

  /**
   * What the slowest rank of a layer has less after than before, in one step, by its speed.
   * @param loads `[logical]`
   */
  gain(loads: Float32Array, before: LayerPlacement, after: LayerPlacement): number {
    const difference = this.#slowest(loads, before) - this.#slowest(loads, after);
    if (this.#scale !== undefined && this.#scale.secondsAtBalance === undefined)
      return difference * this.#scale.secondsPerLoad;
    let total = 0;
    for (let expert = 0; expert < loads.length; expert++) total += loads[expert]!;
    const mean = total / this.#totalSpeed;
    return mean === 0 ? 0 : (difference / mean) * (this.#scale?.secondsAtBalance ?? 1);
  }

  #slowest(loads: Float32Array, { experts, shares }: LayerPlacement): number {
    const slotLoad = this.#scale?.slotLoad;
    const perRank = experts.length / this.#numRanks;
    let most = 0;
    for (let first = 0; first < experts.length; first += perRank) {
      const end = first + perRank;
      let sum = 0;
      if (slotLoad === undefined)
        for (let slot = first; slot < end; slot++) sum += loads[experts[slot]!]! * shares[slot]!;
      else
        for (let slot = first; slot < end; slot++)
          if (shares[slot]! > 0) sum += slotLoad(loads[experts[slot]!]! * shares[slot]!);
      if (this.#paces !== undefined) sum *= this.#paces[first / perRank]!;
      if (sum > most) most = sum;
    }
    return most;
  }
}
