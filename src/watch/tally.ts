import type { MigrationStatusEvent, PlanEvent } from '../core/events.ts';
import { Histogram } from './histogram.ts';

/** A plan, as it is counted. */
export type CountedPlan = Pick<PlanEvent, 'status' | 'reason' | 'seconds' | 'moves' | 'bytes'>;

/** What became of a migration, as it is counted. */
export type CountedMigration = Pick<MigrationStatusEvent, 'status' | 'reason'>;

/** Failures without a success since. */
export interface FailureStreak {
  readonly reason: string;
  /** When the first one was, and the last one. */
  readonly sinceMs: number;
  readonly lastMs: number;
}

const PLANNING_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
const MIGRATION_SECONDS = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300];

/** Results and reasons that have series of their own, and codes of refusals. */
const MOST_PLAN_LABELS = 12;
const MOST_CODES = 6;
/** What the others are counted as. */
const OTHER = 'other';

/** The host ended these itself. */
const ENDED_BY_HOST = ['EPLB_CANCELLED', 'EPLB_CLOSED', 'stopped', 'closed', 'requested'];

/** What is counted of one group. All times are those of one clock. */
export class Tally {
  readonly startMs: number;
  readonly #clock: () => number;
  readonly plans = new LabelCounts(MOST_PLAN_LABELS);
  readonly refusals = new LabelCounts(MOST_CODES);
  readonly migrations = { active: 0, aborted: 0, fenced: 0 };
  readonly planning = new Histogram(PLANNING_SECONDS);
  readonly migrating = new Histogram(MIGRATION_SECONDS);
  numSteps = 0;
  numTopologyChanges = 0;
  /** Of plans made, and of mappings that went live. */
  readonly moves = { planned: 0, live: 0 };
  readonly moveBytes = { planned: 0, live: 0 };
  numPlans = 0;
  lastPlanMs: number | undefined;
  lastLoadMs: number | undefined;
  planFailures: FailureStreak | undefined;
  migrationFailures: FailureStreak | undefined;
  /** When the migration under way began. */
  migrationSinceMs: number | undefined;

  constructor(clock: () => number) {
    this.#clock = clock;
    this.startMs = clock();
  }

  planned({ status, reason = '', seconds, moves, bytes }: CountedPlan): void {
    this.numPlans++;
    this.lastPlanMs = this.#clock();
    this.plans.add(status, reason);
    this.moves.planned += moves;
    this.moveBytes.planned += bytes;
    if (seconds > 0) this.planning.observe(seconds);
    if (status !== 'failed') this.planFailures = undefined;
    else this.planFailures = this.#longer(this.planFailures, reason);
  }

  committed(moves: number, bytes: number): void {
    this.moves.live += moves;
    this.moveBytes.live += bytes;
  }

  recorded(): void {
    this.lastLoadMs = this.#clock();
    this.numSteps++;
  }

  migrated({ status, reason = status }: CountedMigration): void {
    if (status === 'begun') {
      this.migrationSinceMs = this.#clock();
      return;
    }
    this.migrations[status]++;
    if (this.migrationSinceMs !== undefined) {
      this.migrating.observe((this.#clock() - this.migrationSinceMs) / 1000);
    }
    this.migrationSinceMs = undefined;
    if (status === 'active') this.migrationFailures = undefined;
    else this.migrationFailures = this.#longer(this.migrationFailures, reason);
  }

  #longer(streak: FailureStreak | undefined, reason: string): FailureStreak | undefined {
    if (ENDED_BY_HOST.includes(reason)) return streak;
    const lastMs = this.#clock();
    return { reason, sinceMs: streak?.sinceMs ?? lastMs, lastMs };
  }
}

/** Counts by labels, of which only so many have a series of their own. */
class LabelCounts {
  readonly #most: number;
  readonly #counts = new Map<string, { readonly labels: readonly string[]; count: number }>();

  constructor(most: number) {
    this.#most = most;
  }

  /** The last label is 'other' once there are too many. */
  add(...labels: readonly string[]): void {
    const known = this.#counts.get(labels.join('\n'));
    if (known !== undefined) known.count++;
    else if (this.#counts.size < this.#most || labels.at(-1) === OTHER) {
      this.#counts.set(labels.join('\n'), { labels, count: 1 });
    } else this.add(...labels.slice(0, -1), OTHER);
  }

  entries(): Iterable<{ readonly labels: readonly string[]; readonly count: number }> {
    return this.#counts.values();
  }
}
