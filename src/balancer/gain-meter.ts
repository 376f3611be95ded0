import type { Dispatch } from '../core/dispatch.ts';
import { meanSpeed, ranksPaces } from '../core/rank-speeds.ts';
import { sharedLoads } from '../core/rules.ts';
import { describeTopology, type Topology } from '../core/topology.ts';
import { replicatedWords } from '../mapping/score-tables.ts';
import { makeSlotShares, type SlotShares } from '../mapping/slot-shares.ts';
import { zeros } from '../memory/allocate.ts';
import { Carver } from '../memory/carver.ts';
import type { KernelSizes, Pointer } from '../memory/kernel-exports.ts';
import { kernelSizes, type LaidOutRegion, leaseKernelMemory } from '../memory/kernel-memory.ts';
import type { PlanForecast } from '../policy/decision.ts';
import type { GainScale } from '../policy/gain-scale.ts';

/** What gains are in: shares of the mean rank load, or seconds of a policy that knows what its steps cost. */
export type GainUnit = 'share' | 'seconds';

/** Where a meter's numbers lie in the kernels' memory. */
export interface GainLayout {
  /** f32[logical]: the loads of a layer. */
  readonly loads: Pointer;
  /** f64[2][logical + 1]: those of each expert, last of empty slots; and what each of several slots gets. */
  readonly shares: Pointer;
  /** f64[ranks], and f64[2]: the greatest of them and the mean. */
  readonly rankLoads: Pointer;
  readonly stats: Pointer;
  /** i32[logical]: the replicas of the experts of one placement. */
  readonly counts: Pointer;
  /** i32[layers][2][physical + replicatedWords]: the placements before and after. */
  readonly tables: Pointer;
  readonly end: Pointer;
}

/** Lays out what a meter has, from `start` on. */
export function carveGains(topology: Topology, sizes: KernelSizes, start: Pointer): GainLayout {
  const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = topology;
  const carver = new Carver(start);
  return {
    loads: carver.take(4 * numLogicalExperts),
    shares: carver.take(sizes.scoreLayersScratchBytes(numLogicalExperts)),
    rankLoads: carver.take(8 * numRanks),
    stats: carver.take(16),
    counts: carver.take(4 * numLogicalExperts),
    tables: carver.take(4 * 2 * numLayers * (numPhysicalExperts + replicatedWords(topology))),
    end: carver.end,
  };
}

/**
 * Measures what one placement of a layer gains over another, in the unit of the policy's forecasts. It has
 * one pair of placements a layer, as tables for the kernel, which is four times as quick as plain code is
 * (measured). The kernel counts copies as even: where tokens take the nearest one, it is plain code.
 */
export class GainMeter {
  readonly unit: GainUnit;
  /** `[logical]`: the loads of a layer that {@link gain} reads. The caller writes them. */
  readonly loads: Float32Array;
  readonly #topology: Topology;
  readonly #scale: GainScale | undefined;
  readonly #memory: LaidOutRegion<GainLayout>;
  readonly #words: number;
  readonly #shares: Float64Array;
  readonly #rankLoads: Float64Array;
  readonly #stats: Float64Array;
  readonly #tables: Int32Array;
  /** Of all ranks. */
  readonly #totalSpeed: number;
  /** `[ranks]`: what each takes for a load of 1; undefined where all take 1. */
  readonly #paces: readonly number[] | undefined;
  /** Where tokens take the nearest copy: what shares them, and `[layers][2][physical]`, slots' shares. */
  readonly #nearest: { readonly sharing: SlotShares; readonly shares: Float64Array } | undefined;
  /** `[ranks]`: what a shared expert adds, as a share of the layer's load; undefined where there is none. */
  readonly #shared: readonly number[] | undefined;

  /** @param dispatch which copies tokens take, which are on all ranks alike */
  constructor(
    topology: Topology,
    scale: GainScale | undefined,
    memory: LaidOutRegion<GainLayout>,
    dispatch: Dispatch = 'even',
  ) {
    const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = topology;
    const { buffer } = memory.region;
    const { loads, shares, rankLoads, stats, tables } = memory.layout;
    this.unit = scale === undefined ? 'share' : 'seconds';
    this.#topology = topology;
    this.#scale = scale;
    this.#shared = topology.rules && sharedLoads(topology);
    this.#memory = memory;
    this.#words = replicatedWords(topology);
    this.loads = new Float32Array(buffer, loads, numLogicalExperts);
    this.#shares = new Float64Array(buffer, shares, 2 * (numLogicalExperts + 1));
    this.#rankLoads = new Float64Array(buffer, rankLoads, numRanks);
    this.#stats = new Float64Array(buffer, stats, 2);
    this.#tables = new Int32Array(buffer, tables, 2 * numLayers * (numPhysicalExperts + this.#words));
    this.#totalSpeed = numRanks * meanSpeed(topology);
    this.#paces = ranksPaces(topology);
    if (dispatch === 'nearest')
      this.#nearest = {
        sharing: makeSlotShares(topology, numLogicalExperts, dispatch),
        shares: zeros('gains', Float64Array, 2 * numLayers * numPhysicalExperts),
      };
  }

  /**
   * Another one, for other placements of the same topology.
   * @throws EplbRangeError `EPLB_MEMORY`
   */
  another(): GainMeter {
    const memory = leaseKernelMemory(describeTopology(this.#topology), (start) =>
      carveGains(this.#topology, kernelSizes(), start),
    );
    const dispatch = this.#nearest === undefined ? 'even' : 'nearest';
    return new GainMeter(this.#topology, this.#scale, memory, dispatch);
  }

  /** `[layers]`: what a forecast says of a step. */
  predicted({ gainPerLayer, secondsPerLayer }: PlanForecast): Float64Array {
    return this.unit === 'share' ? gainPerLayer : secondsPerLayer;
  }

  /** Sets the placements that {@link gain} compares. @param before and `after`: `[physical]`, -1 is empty */
  setLayer(layer: number, before: Int32Array, after: Int32Array): void {
    this.#setTables(2 * layer, before);
    this.#setTables(2 * layer + 1, after);
  }

  /** What the slowest rank of a layer has less after than before, by its speed, with these loads. */
  gain(layer: number): number {
    const difference = this.#slowest(2 * layer) - this.#slowest(2 * layer + 1);
    if (this.#scale !== undefined && this.#scale.secondsAtBalance === undefined)
      return difference * this.#scale.secondsPerLoad;
    const mean = (this.#stats[1]! * this.#topology.numRanks) / this.#totalSpeed;
    return mean === 0 ? 0 : (difference / mean) * (this.#scale?.secondsAtBalance ?? 1);
  }

  #setTables(index: number, slots: Int32Array): void {
    const { counts } = this.#memory.layout;
    const { numLogicalExperts, numPhysicalExperts } = this.#topology;
    this.#tables.set(slots, index * (numPhysicalExperts + this.#words));
    if (this.#nearest !== undefined) {
      const { sharing, shares } = this.#nearest;
      sharing.write(slots, shares.subarray(index * numPhysicalExperts, (index + 1) * numPhysicalExperts));
      return;
    }
    const at = this.#tablesAt(index);
    const replicated = at + 4 * numPhysicalExperts;
    this.#memory.region.kernels.scoreTables(at, numPhysicalExperts, numLogicalExperts, replicated, counts);
  }

  #tablesAt(index: number): Pointer {
    return this.#memory.layout.tables + 4 * index * (this.#topology.numPhysicalExperts + this.#words);
  }

  #slowest(index: number): number {
    const slotLoad = this.#scale?.slotLoad;
    if (this.#nearest !== undefined) this.#scoreNearest(index, this.#nearest.shares, slotLoad);
    else {
      this.#scoreEven(index);
      if (slotLoad !== undefined) this.#timeRanks(index, slotLoad);
      else if (this.#paces === undefined && this.#shared === undefined) return this.#stats[0]!;
    }
    const total = this.#shared === undefined ? 0 : this.loads.reduce((sum, load) => sum + load, 0);
    let most = 0;
    for (let rank = 0; rank < this.#rankLoads.length; rank++) {
      const shared = total * (this.#shared?.[rank] ?? 0);
      const more = shared > 0 && slotLoad !== undefined ? slotLoad(shared) : shared;
      const time = (this.#rankLoads[rank]! + more) * (this.#paces?.[rank] ?? 1);
      if (time > most) most = time;
    }
    return most;
  }

  #scoreEven(index: number): void {
    const { numLogicalExperts, numPhysicalExperts, numRanks } = this.#topology;
    const { loads, shares, rankLoads, stats } = this.#memory.layout;
    const offsets = this.#tablesAt(index);
    this.#memory.region.kernels.scoreLayers(
      loads,
      offsets,
      offsets + 4 * numPhysicalExperts,
      this.#words,
      1,
      numLogicalExperts,
      numPhysicalExperts,
      numRanks,
      0,
      rankLoads,
      stats,
      shares,
      1,
      0,
    );
  }

  /** Rank loads of slots that get unlike shares of their experts' tokens; what each counts as, if told. */
  #scoreNearest(index: number, shares: Float64Array, slotLoad = (tokens: number) => tokens): void {
    const { numPhysicalExperts, numRanks } = this.#topology;
    const perRank = numPhysicalExperts / numRanks;
    let slot = index * (numPhysicalExperts + this.#words);
    let share = index * numPhysicalExperts;
    let total = 0;
    for (let rank = 0; rank < numRanks; rank++) {
      let sum = 0;
      for (const end = slot + perRank; slot < end; slot++, share++) {
        const expert = this.#tables[slot]!;
        if (expert < 0) continue;
        const tokens = this.loads[expert]! * shares[share]!;
        total += tokens;
        sum += slotLoad(tokens);
      }
      this.#rankLoads[rank] = sum;
    }
    this.#stats[1] = total / numRanks;
  }

  /** Makes loads of the ranks from what each slot's share counts as. */
  #timeRanks(index: number, slotLoad: (tokens: number) => number): void {
    const { numLogicalExperts, numPhysicalExperts, numRanks } = this.#topology;
    const shares = this.#shares;
    const perRank = numPhysicalExperts / numRanks;
    let slot = index * (numPhysicalExperts + this.#words);
    for (let rank = 0; rank < numRanks; rank++) {
      let sum = 0;
      for (const end = slot + perRank; slot < end; slot++) {
        const at = this.#tables[slot]! >> 3;
        if (at !== numLogicalExperts) sum += slotLoad(shares[at]!);
      }
      this.#rankLoads[rank] = sum;
    }
  }
}
