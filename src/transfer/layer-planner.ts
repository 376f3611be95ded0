import { type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { bufferedOperations } from './buffered.ts';
import { inPlaceOperations } from './in-place.ts';
import type { LayerOperations, LayerSchedule } from './layer.ts';
import { LayerTables } from './layer-tables.ts';
import type { TransferSetting } from './options.ts';
import { linksOf, Scheduler } from './scheduler.ts';

/** A layer's rounds, and its operations as objects, which are only made when they are asked for. */
export interface LayerPlan {
  readonly schedule: LayerSchedule;
  readonly operations: () => LayerOperations;
  readonly stagingBytes: number;
}

/** Plans single layers. */
export class LayerPlanner {
  readonly #setting: TransferSetting;
  readonly #scheduler: Scheduler;
  readonly #numSlots: number;
  readonly #before: Int32Array;
  readonly #after: Int32Array;

  constructor(setting: TransferSetting, from: ExpertMapping, to: ExpertMapping) {
    const numLogicalExperts = Math.max(from.numLogicalExperts, to.numLogicalExperts);
    this.#setting = setting;
    this.#numSlots = from.numPhysicalExperts;
    this.#scheduler = new Scheduler(setting, this.#numSlots, numLogicalExperts);
    this.#before = tablesOf(from).phyToLog;
    this.#after = tablesOf(to).phyToLog;
  }

  plan(layer: number): LayerPlan {
    const { mode, relay } = this.#setting;
    const schedule = this.#schedule(layer, relay);
    const tables = new LayerTables(this.#setting, this.#before, this.#after, layer * this.#numSlots);
    if (mode === 'buffered') {
      return { schedule, operations: () => bufferedOperations(tables, schedule), stagingBytes: 0 };
    }
    const played = playInPlace(tables, schedule);
    if (!relay) return played;
    // Slots to wait for may undo what relays gain.
    const direct = playInPlace(tables, this.#schedule(layer, false));
    const isWorse =
      direct.schedule.numRounds < played.schedule.numRounds || direct.stagingBytes < played.stagingBytes;
    return isWorse ? { ...direct, schedule: { ...direct.schedule, bounds: schedule.bounds } } : played;
  }

  #schedule(layer: number, relay: boolean): LayerSchedule {
    return this.#scheduler.schedule(layer, this.#before, this.#after, relay);
  }
}

/** Plays a schedule in place. @returns with the rounds as they came to be */
function playInPlace(tables: LayerTables, schedule: LayerSchedule): LayerPlan {
  const operations = inPlaceOperations(tables, schedule);
  const made = operations.rounds.flatMap((round, i) => round.map((transfer) => ({ ...transfer, round: i })));
  const sources = Int32Array.from(made, ({ sourceRank }) => sourceRank);
  const targets = Int32Array.from(made, ({ targetRank }) => targetRank);
  return {
    schedule: {
      ...schedule,
      count: made.length,
      numRounds: operations.rounds.length,
      experts: Int32Array.from(made, ({ expert }) => expert),
      sources,
      targets,
      links: linksOf(tables.setting.links, sources, targets, made.length),
      rounds: Int32Array.from(made, ({ round }) => round),
    },
    operations: () => operations,
    stagingBytes: operations.stagingBytes,
  };
}
