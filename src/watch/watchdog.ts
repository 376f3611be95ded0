import type { RealisedGain } from '../balancer/gain-record.ts';
import { checkAtLeast } from '../core/checks.ts';
import { EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import type { FailureStreak } from './tally.ts';

/** Options of a watchdog. */
export interface WatchdogOptions {
  /**
   * Milliseconds within which a healthy system reports loads at least once, ends the plans that it started,
   * and makes progress with a migration. Default 60,000.
   */
  readonly intervalMs?: number;
  /** Number of intervals that a cause has to last before it is flagged. Default 1.5. */
  readonly patience?: number;
  /** Milliseconds that only grow; by default `performance.now()`. */
  readonly clock?: () => number;
}

/** What a watchdog looks at. */
export type ConditionType =
  /** Loads are recorded. */
  | 'LoadsArrive'
  /** Plans do not fail, and end; a rebalancer that runs looks at the loads. */
  | 'PlansSucceed'
  /** A migration under way gets on; migrations do not fail. */
  | 'MigrationProceeds'
  /** The newest plan that was measured gains at least half of its forecast. */
  | 'GainMeetsForecast'
  /** Ranks serve one epoch, and do not contradict each other. */
  | 'RanksAgree';

const CONDITION_TYPES: readonly ConditionType[] = [
  'LoadsArrive',
  'PlansSucceed',
  'MigrationProceeds',
  'GainMeetsForecast',
  'RanksAgree',
];

/** One thing that is as it should be, or not, with the reason. */
export interface WatchCondition {
  readonly type: ConditionType;
  readonly status: boolean;
  readonly reason: string;
}

/** Looks in an interval: so what has stood for its patience is flagged a quarter of an interval later. */
export const LOOKS_PER_INTERVAL = 4;

/** Options that are checked and complete. @throws EplbTypeError, EplbRangeError */
export function readWatchdogOptions(options: WatchdogOptions): Required<WatchdogOptions> {
  const given = checkOptions('watchdog', options, ['intervalMs', 'patience', 'clock']);
  const { intervalMs = 60_000, patience = 1.5, clock = () => performance.now() } = given;
  if (typeof clock !== 'function') throw new EplbTypeError('EPLB_KIND', 'watchdog.clock: is not a function');
  return {
    intervalMs: checkAtLeast('watchdog.intervalMs', intervalMs, 1),
    patience: checkAtLeast('watchdog.patience', patience, 0),
    clock,
  };
}

/**
 * What is so at the time of a look. None of it is told by a loop that may have ended: ages are of a clock,
 * and the rest is read where it is.
 */
export interface Signs {
  readonly lastLoadMs: number | undefined;
  readonly planFailures: FailureStreak | undefined;
  /** Plans that ended. */
  readonly numPlans: number;
  readonly isPlanning: boolean;
  /** Milliseconds between two looks of a rebalancer that runs; undefined without one. */
  readonly loopIntervalMs: number | undefined;
  readonly migrationFailures: FailureStreak | undefined;
  /** Where the migration under way is: what changes when it gets on. */
  readonly migrationPhase: string | undefined;
  /** The newest measured plan that gained too little. */
  readonly shortfall: RealisedGain | undefined;
  /** Of ranks that were heard of, the epochs that they serve. */
  readonly rankEpochs: ReadonlyMap<number, number>;
  /** Ranks that have not said that they are at the live epoch. */
  readonly unconfirmedRanks: readonly number[];
  readonly conflicts: ConflictStreak | undefined;
}

/** Reports that contradict what is known, with no long time between two. */
export interface ConflictStreak {
  readonly reason: string;
  readonly firstMs: number;
  readonly lastMs: number;
}

/** Why something is not as it should be. */
interface Cause {
  readonly reason: string;
  /** Since when, where that is known; else since it is seen, for as long as the key stays the same. */
  readonly sinceMs?: number;
  readonly key?: string;
  /** Of it alone, where it has to stand longer than others, or not as long. */
  readonly patienceMs?: number;
}

const FINE: Readonly<Record<ConditionType, string>> = {
  LoadsArrive: 'loads arrive',
  PlansSucceed: 'plans succeed',
  MigrationProceeds: 'no migration is stuck',
  GainMeetsForecast: 'plans gain what they promised, or are not measured yet',
  RanksAgree: 'no rank is known to be at another epoch',
};

/** More than the longest pause of a rebalancer after errors. */
const LAPSE_INTERVALS = 20;

/** Conflicts that are further apart than the patience are not a streak; nor is one moment. */
const LEAST_CONFLICT_INTERVALS = 0.5;

/**
 * Decides what is flagged: a cause that has stood for the patience. It is cleared with the first look that
 * does not find it any more. A pure function of the looks and their times.
 */
export class Watchdog {
  readonly #startMs: number;
  readonly #intervalMs: number;
  readonly #patience: number;
  /** Since when a cause is seen. */
  readonly #seen = new Map<string, { readonly key: string; readonly sinceMs: number }>();

  constructor({ intervalMs, patience }: Required<WatchdogOptions>, startMs: number) {
    this.#startMs = startMs;
    this.#intervalMs = intervalMs;
    this.#patience = patience;
  }

  get #patienceMs(): number {
    return this.#patience * this.#intervalMs;
  }

  look(signs: Signs, nowMs: number): WatchCondition[] {
    const causes: Readonly<Record<ConditionType, readonly (Cause | undefined)[]>> = {
      LoadsArrive: [this.#noLoads(signs, nowMs)],
      PlansSucceed: [
        this.#failing('plans', signs.planFailures, nowMs),
        this.#planInFlight(signs),
        this.#idleLoop(signs),
      ],
      MigrationProceeds: [
        this.#failing('migrations', signs.migrationFailures, nowMs),
        signs.migrationPhase === undefined
          ? undefined
          : { key: signs.migrationPhase, reason: `a migration is stuck: ${signs.migrationPhase}` },
      ],
      GainMeetsForecast: [fallsShort(signs)],
      RanksAgree: [this.#conflict(signs, nowMs), otherEpochs(signs), unconfirmed(signs)],
    };
    return CONDITION_TYPES.map((type) => {
      const standing = causes[type].filter((cause, i) => this.#stands(`${type} ${i}`, cause, nowMs));
      const reason = standing.map((cause) => cause!.reason).join('; ');
      return { type, status: standing.length === 0, reason: reason || FINE[type] };
    });
  }

  /** Whether a cause has stood for long enough. */
  #stands(name: string, cause: Cause | undefined, nowMs: number): boolean {
    if (cause === undefined) {
      this.#seen.delete(name);
      return false;
    }
    const { sinceMs: givenMs, key = '', patienceMs = this.#patienceMs } = cause;
    let seen = this.#seen.get(name);
    if (seen?.key !== key) {
      seen = { key, sinceMs: nowMs };
      this.#seen.set(name, seen);
    }
    return nowMs - (givenMs ?? seen.sinceMs) >= patienceMs;
  }

  #noLoads({ lastLoadMs }: Signs, nowMs: number): Cause {
    const sinceMs = lastLoadMs ?? this.#startMs;
    const seconds = ((nowMs - sinceMs) / 1000).toFixed(1);
    return { sinceMs, reason: lastLoadMs === undefined ? 'no loads yet' : `no loads for ${seconds} s` };
  }

  /** A failure that was the last word for long is none any more: nobody has tried again. */
  #failing(what: string, streak: FailureStreak | undefined, nowMs: number): Cause | undefined {
    if (streak === undefined || nowMs - streak.lastMs > LAPSE_INTERVALS * this.#intervalMs) return undefined;
    return { sinceMs: streak.sinceMs, reason: `${what} fail: ${streak.reason}` };
  }

  #planInFlight({ isPlanning, numPlans }: Signs): Cause | undefined {
    if (!isPlanning) return undefined;
    return { key: String(numPlans), reason: 'a plan was begun and does not end' };
  }

  /** A loop that looks, however it ends up, says so each time. */
  #idleLoop({ loopIntervalMs, numPlans }: Signs): Cause | undefined {
    if (loopIntervalMs === undefined) return undefined;
    const patienceMs = this.#patience * Math.max(this.#intervalMs, loopIntervalMs);
    return { key: String(numPlans), patienceMs, reason: 'the rebalancer runs, but looks at no loads' };
  }

  #conflict({ conflicts }: Signs, nowMs: number): Cause | undefined {
    if (conflicts === undefined || nowMs - conflicts.lastMs >= this.#patienceMs) return undefined;
    const lastedMs = conflicts.lastMs - conflicts.firstMs;
    if (lastedMs < LEAST_CONFLICT_INTERVALS * this.#intervalMs) return undefined;
    return { sinceMs: conflicts.firstMs, patienceMs: 0, reason: conflicts.reason };
  }
}

function fallsShort({ shortfall }: Signs): Cause | undefined {
  if (shortfall === undefined) return undefined;
  const { number, realisedGain, predictedGain = realisedGain } = shortfall;
  const share = ((100 * realisedGain) / predictedGain).toFixed(0);
  return { key: String(number), reason: `plan ${number} gains ${share} % of what it promised` };
}

function otherEpochs({ rankEpochs }: Signs): Cause | undefined {
  const epochs = [...rankEpochs.values()];
  const newest = Math.max(...epochs);
  const behind = [...rankEpochs].filter(([, epoch]) => epoch < newest).map(([rank]) => rank);
  if (behind.length === 0) return undefined;
  return { reason: `ranks ${listed(behind)} are not at epoch ${newest}, as others are` };
}

function unconfirmed({ unconfirmedRanks }: Signs): Cause | undefined {
  if (unconfirmedRanks.length === 0) return undefined;
  return { reason: `ranks ${listed(unconfirmedRanks)} have not confirmed the live epoch` };
}

const MOST_LISTED = 8;

function listed(ranks: readonly number[]): string {
  const more = ranks.length > MOST_LISTED ? ` and ${ranks.length - MOST_LISTED} more` : '';
  return ranks.slice(0, MOST_LISTED).join(', ') + more;
}
