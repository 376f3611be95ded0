import { type ExpertLoadBalancer, sharedParts } from '../balancer/expert-load-balancer.ts';
import type { TopologyChanged } from '../balancer/topology-change.ts';
import { tell } from '../core/events.ts';
import type { CostModel } from '../cost/cost-model.ts';
import type { MigrationEvent, MigrationView } from '../migration/coordinator-output.ts';
import { contentTypeOf, exposition, type MetricFamily, type MetricsFormat } from './exposition.ts';
import { type Ages, familiesOf, type GroupFigures } from './families.ts';
import { type CountedMigration, type CountedPlan, Tally } from './tally.ts';
import {
  type ConflictStreak,
  LOOKS_PER_INTERVAL,
  readWatchdogOptions,
  type Signs,
  type WatchCondition,
  Watchdog,
  type WatchdogOptions,
} from './watchdog.ts';
import { type LiveRanks, type WindowFigures, windowFigures } from './window-figures.ts';

/** What is watched. What it has is read when it is looked at. */
export interface Watched {
  readonly name: string;
  readonly policy: string;
  readonly balancer: ExpertLoadBalancer;
  readonly epoch: number;
  readonly isPaused: boolean;
  readonly cost: CostModel | undefined;
  /** What the ranks hold, and who lives; the balancer's own mapping and topology when left out. */
  readonly live?: LiveRanks;
  /** How its migrations and its ranks stand, where a coordinator has them. */
  migration?(): MigrationView | undefined;
}

/** What text of metrics is asked for. */
export interface MetricsTextOptions {
  /** Default 'openmetrics'. */
  readonly format?: MetricsFormat;
  /** Adds a series for each of the first 128 ranks. Default false. */
  readonly ranks?: boolean;
}

/** Counts what happens to a group, and tells what is not as it should be. */
export class GroupWatch {
  readonly #watched: Watched;
  readonly #clock: () => number;
  readonly #patienceMs: number;
  readonly #tally: Tally;
  readonly #watchdog: Watchdog;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #offTopology: () => void;
  readonly #rankEpochs = new Map<number, { readonly epoch: number; readonly atMs: number }>();
  #conflicts: ConflictStreak | undefined;
  #flagged: readonly string[] = [];
  #isClosed = false;

  constructor(watched: Watched, options: WatchdogOptions) {
    const settings = readWatchdogOptions(options);
    const { intervalMs, patience, clock } = settings;
    this.#watched = watched;
    this.#clock = clock;
    this.#patienceMs = patience * intervalMs;
    this.#tally = new Tally(clock);
    this.#watchdog = new Watchdog(settings, clock());
    this.#timer = setInterval(() => this.conditions(), intervalMs / LOOKS_PER_INTERVAL);
    this.#timer.unref?.();
    this.#offTopology = sharedParts(watched.balancer).onTopology((changed) => this.#topologyChanged(changed));
  }

  get name(): string {
    return this.#watched.name;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What was counted so far. */
  get tally(): Tally {
    return this.#tally;
  }

  planned(plan: CountedPlan): void {
    this.#tally.planned(plan);
  }

  /** @param moves of a mapping that went live */
  committed(moves: number): void {
    this.#tally.committed(moves, moves * (this.#watched.cost?.bytesPerExpert ?? 0));
  }

  /** A step of loads was recorded. */
  recorded(): void {
    this.#tally.recorded();
  }

  refused(code: string): void {
    this.#tally.refusals.add(code);
  }

  migrated(migration: CountedMigration): void {
    this.#tally.migrated(migration);
  }

  /** Takes what a coordinator of migrations tells: its `onEvent`. */
  coordinated(event: MigrationEvent): void {
    const change = changeOf(event);
    if (change === undefined) return;
    const sinceMs = this.#tally.migrationSinceMs ?? this.#clock();
    this.#tally.migrated(change);
    const seconds = (this.#clock() - sinceMs) / 1000;
    tell('migration', () => ({ group: this.name, epoch: this.#watched.epoch, ...change, seconds }));
  }

  /** A rank says which epoch it serves. */
  rankServes(rank: number, epoch: number): void {
    this.#rankEpochs.set(rank, { epoch, atMs: this.#clock() });
  }

  /** A report contradicts what is known. */
  conflicted(reason: string): void {
    const nowMs = this.#clock();
    const isStreak = this.#conflicts !== undefined && nowMs - this.#conflicts.lastMs < this.#patienceMs;
    const firstMs = isStreak ? this.#conflicts!.firstMs : nowMs;
    this.#conflicts = { reason, firstMs, lastMs: nowMs };
  }

  ages(): Ages {
    const { lastPlanMs, lastLoadMs } = this.#tally;
    const age = (sinceMs: number | undefined) =>
      sinceMs === undefined ? undefined : (this.#clock() - sinceMs) / 1000;
    return { planSeconds: age(lastPlanMs), loadSeconds: age(lastLoadMs) };
  }

  /** What is so now, and what is not. Tells of what has changed. */
  conditions(): readonly WatchCondition[] {
    if (this.#isClosed) return [];
    const conditions = this.#watchdog.look(this.#signs(), this.#clock());
    const flagged = conditions.filter(({ status }) => !status).map(({ type }) => type as string);
    const before = this.#flagged;
    this.#flagged = flagged;
    for (const condition of conditions) {
      if (before.includes(condition.type) !== condition.status) continue;
      tell('condition', () => ({ group: this.name, epoch: this.#watched.epoch, ...condition }));
    }
    return conditions;
  }

  /** The window's mean step under what is live; undefined while it is empty, or where no rank lives. */
  windowFigures(): WindowFigures | undefined {
    const { balancer, cost, live = balancer } = this.#watched;
    if (balancer.numSamples === 0) return undefined;
    return windowFigures(balancer.getAverageLogicalLoad(), live, cost);
  }

  /** All that metrics are made of. */
  figures(isByRank: boolean): GroupFigures {
    const { name: group, policy, epoch, isPaused, balancer } = this.#watched;
    return {
      ...{ group, policy, epoch, isPaused, isByRank },
      windowSteps: balancer.numSamples,
      tally: this.#tally,
      ages: this.ages(),
      window: this.windowFigures(),
      gain: sharedParts(balancer).gains.gains.at(-1),
      conditions: this.conditions(),
      ranks: this.#ranks(),
    };
  }

  /** Watches no more. */
  remove(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#offTopology();
  }

  #topologyChanged({ hostLoads }: TopologyChanged): void {
    this.#tally.numTopologyChanges++;
    const { balancer, epoch } = this.#watched;
    // Else the balancer has told of it itself.
    if (!sharedParts(balancer).events.isMuted) return;
    const { numRanks, deadRanks = [] } = balancer.topology;
    const { name: group } = this;
    tell('topology', () => ({ group, epoch, numRanks, deadRanks, hostLoads: hostLoads.length }));
  }

  #signs(): Signs {
    const { balancer } = this.#watched;
    const { gains, numSteps, loops } = sharedParts(balancer);
    const { lastLoadMs, planFailures, numPlans, migrationFailures } = this.#tally;
    const intervals = [...loops].map(({ rebalanceInterval }) => rebalanceInterval);
    const view = this.#watched.migration?.();
    this.#forgetSilentRanks();
    return {
      ...{ lastLoadMs, planFailures, numPlans, migrationFailures },
      isPlanning: balancer.planProgress.numLayers > 0,
      loopIntervalMs: intervals.length === 0 ? undefined : Math.max(...intervals),
      migrationPhase: this.#phase(view),
      shortfall: gains.shortfall(numSteps()),
      rankEpochs: new Map([...this.#rankEpochs].map(([rank, { epoch }]) => [rank, epoch])),
      unconfirmedRanks: (view?.ranks ?? []).flatMap(({ state }, rank) =>
        state === 'unconfirmed' ? [rank] : [],
      ),
      conflicts: this.#conflicts,
    };
  }

  #phase(view: MigrationView | undefined): string | undefined {
    if (view?.operation !== undefined) {
      const { operationId, phase, waitingFor } = view.operation;
      return `${operationId} is ${phase}, and waits for ranks ${waitingFor.join(', ')}`;
    }
    const { migrationSinceMs } = this.#tally;
    return migrationSinceMs === undefined ? undefined : 'weights are being moved';
  }

  /** Of a rank that says nothing any more nobody knows the epoch. */
  #forgetSilentRanks(): void {
    const nowMs = this.#clock();
    for (const [rank, { atMs }] of this.#rankEpochs) {
      if (nowMs - atMs > 2 * this.#patienceMs) this.#rankEpochs.delete(rank);
    }
  }

  #ranks(): Record<string, number> {
    const { balancer, live = balancer } = this.#watched;
    const { numRanks, deadRanks = [] } = live.topology;
    const view = this.#watched.migration?.();
    const dead = deadRanks.length;
    if (view === undefined) return { live: numRanks - dead, dead };
    const ranks = { serving: 0, unconfirmed: 0, fenced: 0, dead };
    for (const [rank, { state }] of view.ranks.entries()) if (!deadRanks.includes(rank)) ranks[state]++;
    return ranks;
  }
}

/** What an event means for a migration as a whole. */
function changeOf(event: MigrationEvent): CountedMigration | undefined {
  if (event.type === 'begun') return { status: 'begun' };
  if (event.type !== 'ended') return undefined;
  const { outcome } = event;
  if (outcome.status !== 'aborted') return { status: outcome.status };
  return { status: 'aborted', reason: outcome.reason.cause };
}

/** Watches a group from now on. @throws EplbTypeError, EplbRangeError for wrong options */
export function watchGroup(watched: Watched, options: WatchdogOptions): GroupWatch {
  return new GroupWatch(watched, options);
}

/** The metrics of groups as text, and its content type. */
export function metricsText(
  watches: Iterable<GroupWatch>,
  { format = 'openmetrics', ranks = false }: MetricsTextOptions,
  more: readonly MetricFamily[] = [],
): { readonly text: string; readonly contentType: string } {
  const figures = Array.from(watches, (watch) => watch.figures(ranks));
  return { text: exposition([...familiesOf(figures), ...more], format), contentType: contentTypeOf(format) };
}
