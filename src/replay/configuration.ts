import type { RankOptions } from '../core/topology.ts';
import type { CostModelJson, Dispatch } from '../index.ts';
import type { RankEvent } from './rank-events.ts';

/** All that decides a replay's numbers, beside the recording. */
export interface ReplayConfiguration extends RankOptions {
  /** Name or module file of the policy; `static` never plans. */
  readonly policy: string;
  /** The level of failures that its plans let load survive; left out where there is none. */
  readonly survive?: string;
  /** Slots of the tables: as many for every rank as for the largest one. */
  readonly numPhysicalExperts: number;
  /** At the beginning. */
  readonly numRanks: number;
  readonly numNodes: number;
  readonly numGroups: number;
  /** Which copy of an expert a token takes; left out where it is any, 'even'. */
  readonly dispatch?: Dispatch;
  /** What becomes of ranks meanwhile, by step; left out where nothing does. */
  readonly events?: readonly RankEvent[];
  /** Steps that plans look back on. */
  readonly windowSize: number;
  readonly trigger: TriggerOptions;
  /** Seconds that every plan is taken to need; `measured`: each the seconds that it took here. */
  readonly planningSeconds: number | 'measured';
  /** Layers that change to the new mapping in one step. */
  readonly layersPerStep: number;
  readonly cost: ReplayCost;
}

/**
 * When a plan is started. The conditions that are given are looked at after a step, its loads being in the
 * window; while a plan is being made or taking effect, none is. With `require: 'any'` one that holds is
 * enough, with `'all'` every one has to.
 */
export interface TriggerOptions {
  /** Holds when this many steps have passed since the last plan was started, or since the beginning. */
  readonly interval?: number;
  /**
   * Holds when, over the layers, the largest of (largest / smallest rank load) is more than this; rank loads
   * of the live mapping, added over the window. A rank without load beside one with load counts as infinite;
   * one without experts is left out.
   */
  readonly loadThreshold?: number;
  /**
   * Holds when the drift is more than this, in [0, 1]: the mean over layers of half the sum over experts of
   * |a - b|, a the expert's share of the layer's load over the window now, b when the last plan was started
   * (1 / experts before the first).
   */
  readonly drift?: number;
  /** `any` when left out. */
  readonly require?: 'any' | 'all';
  /** `loadThreshold` and `drift` are looked at every so many steps; 1 when left out. */
  readonly checkEvery?: number;
}

/**
 * How loads, moves and planning turn into seconds: the cost model of slots of the main entry with its links,
 * or the public competition's yardstick, or tokens alone. All times are modelled, none is measured on a
 * device.
 *
 * With `time.kind` 'slots' the moves of a plan take the seconds of its transfer plan by that model: see
 * `planTransfer`. Rounds and sources are those of the whole plan, also where its layers change step by step.
 * The bytes, the two rates, `concurrentTransfers` and `countedMoves` are then as `slotCost` makes them. For
 * the others moves take their bytes / these rates.
 */
export interface ReplayCost {
  /** Name of the preset, or the file's. */
  readonly name: string;
  /**
   * `slots`: a step takes, summed over layers, what the slowest rank takes by a cost model of slots, dispatch
   * and combine included. `peak-to-average`: the whole replay takes `secondsAtBalance` x the mean over steps
   * and layers of PAR, whatever the loads add up to. `load`: a step takes, summed over layers,
   * `secondsPerLoad` x the largest rank load, which promises savings of small batches that no device gives.
   */
  readonly time:
    | { readonly kind: 'load'; readonly secondsPerLoad: number }
    | { readonly kind: 'slots'; readonly model: CostModelJson }
    | { readonly kind: 'peak-to-average'; readonly secondsAtBalance: number };
  /** Weights of one expert of one layer, in bytes. */
  readonly bytesPerExpert: number;
  /** Of a link between two ranks of a node. */
  readonly intraNodeBytesPerSecond: number;
  /** Of a rank's link to other nodes. */
  readonly interNodeBytesPerSecond: number;
  /**
   * `rank`: the slots of a rank are filled one after the other and the ranks at once, so that a layer takes
   * as long as the rank that receives most; by a transfer plan, also as long as the one that sends most.
   * `none`: every move of a layer waits for the one before.
   */
  readonly concurrentTransfers: 'rank' | 'none';
  /**
   * What is paid for: slots whose expert was not on the rank before (`rank`), or every slot whose expert
   * changed (`slot`). A transfer plan pays with seconds once for an expert that several slots of a rank get.
   */
  readonly countedMoves: 'rank' | 'slot';
  /**
   * How long a step takes for the clock that planning time is measured against: a plan takes effect after
   * ceil(planning seconds / this) steps. `modelled`: the mean of the steps so far, by this model (without
   * moving weights).
   */
  readonly stepSeconds: number | 'modelled';
  /** Loads of 0 are read as 1 when scored, as the public competition does. */
  readonly zeroLoadsCountAsOne: boolean;
}

/** @deprecated The older name of {@link ReplayCost}. */
export type CostModel = ReplayCost;
