import type { Topology } from '../core/topology.ts';
import type { CostModel } from '../cost/cost-model.ts';
import { readTransferOptions } from './options.ts';
import { Scheduler } from './scheduler.ts';
import { PlanTiming } from './timing.ts';

/** Makes a {@link MoveTimer}. A function, as an import of the library leaves this module out. */
export const makeMoveTimer = (cost: CostModel, topology: Topology): MoveTimer =>
  new MoveTimer(cost, topology);

/** Times what `planTransfer` would plan for changes of placements, without making its operations. */
export class MoveTimer {
  readonly #scheduler: Scheduler;
  readonly #timing: PlanTiming;

  constructor(cost: CostModel, topology: Topology) {
    const { numPhysicalExperts, numLogicalExperts } = topology;
    const setting = readTransferOptions({ cost, topology }, topology);
    this.#scheduler = new Scheduler(setting, numPhysicalExperts, numLogicalExperts);
    this.#timing = new PlanTiming(setting);
  }

  /**
   * Seconds of each of some layers, in their order: as rounds or as batches, whichever is shorter for all of
   * them.
   *
   * @param before [layers x physical], the expert of each slot, -1 when empty
   * @param after the same
   */
  layerSeconds(before: Int32Array, after: Int32Array, layers: readonly number[]): number[] {
    const schedules = layers.map((layer) => this.#scheduler.schedule(layer, before, after, false));
    const times = this.#timing.times(schedules)!;
    const { schedule } = this.#timing.choose(times);
    return times.map((time) => time[schedule]);
  }
}
