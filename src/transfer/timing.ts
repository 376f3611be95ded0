import { type TransferSeconds, TransferTimer } from '../cost/transfer-seconds.ts';
import type { LayerSchedule } from './layer.ts';
import type { TransferSchedule, TransferSetting } from './options.ts';

/** How a plan's rounds may be issued, and what that takes. */
export interface PlanSchedule {
  readonly schedule: TransferSchedule;
  readonly scheduleReason: string;
  readonly roundsPerBatch: number | null;
  readonly seconds: number | null;
  readonly secondsIn: { readonly rounds: number; readonly batch: number | null } | null;
  readonly leastSeconds: number | null;
}

/** Times a plan by the link model, and chooses how its rounds may be issued. */
export class PlanTiming {
  readonly #setting: TransferSetting;
  readonly #timer: TransferTimer | undefined;
  /** The most rounds whose transfers may be on their way together. */
  readonly #most: number;

  /** @throws EplbRangeError `EPLB_RANGE` for a class of links that the cost does not have */
  constructor(setting: TransferSetting) {
    const { cost, links, bytesPerExpert, oneAtATime, maxBytesInFlight } = setting;
    this.#setting = setting;
    this.#timer = cost && new TransferTimer(cost, links.classes, bytesPerExpert, setting);
    const bytesOfRound = (oneAtATime ? 1 : 2) * bytesPerExpert;
    const most = Math.floor(maxBytesInFlight / bytesOfRound);
    this.#most = Number.isNaN(most) ? Number.POSITIVE_INFINITY : most;
  }

  /** Seconds of each layer; undefined without a cost. */
  times(schedules: readonly LayerSchedule[]): TransferSeconds[] | undefined {
    const timer = this.#timer;
    return timer && schedules.map((schedule) => timer.secondsOf(schedule, schedule.numRounds, this.#most));
  }

  choose(times: readonly TransferSeconds[] | undefined): PlanSchedule {
    const total = (kind: keyof TransferSeconds) => times?.reduce((sum, time) => sum + time[kind], 0) ?? null;
    const rounds = total('rounds');
    const batch = this.#whyNoBatch() === undefined ? total('batch') : null;
    const { schedule, reason } = this.#pick(rounds, batch);
    const isBatch = schedule === 'batch';
    return {
      schedule,
      scheduleReason: reason,
      roundsPerBatch: isBatch ? (Number.isFinite(this.#most) ? this.#most : null) : 1,
      seconds: isBatch ? batch : rounds,
      secondsIn: rounds === null ? null : { rounds, batch },
      leastSeconds: total('least'),
    };
  }

  #pick(rounds: number | null, batch: number | null): { schedule: TransferSchedule; reason: string } {
    const { schedule, cost } = this.#setting;
    const why = this.#whyNoBatch();
    if (why !== undefined) return { schedule: 'rounds', reason: why };
    if (schedule !== 'auto') return { schedule, reason: 'it was asked for' };
    if (rounds === null || batch === null) return { schedule: 'rounds', reason: 'there is no link model' };
    const by = `by the link model of ${cost!.name}`;
    return batch < rounds
      ? { schedule: 'batch', reason: `${by} a batch takes less than rounds` }
      : { schedule: 'rounds', reason: `${by} rounds take no more than a batch` };
  }

  /** Why rounds cannot be issued together. */
  #whyNoBatch(): string | undefined {
    if (this.#setting.mode === 'inPlace') return 'in place a round has to wait for the one before';
    if (this.#setting.relay) return 'a rank passes on what it received in an earlier round';
    return undefined;
  }
}
