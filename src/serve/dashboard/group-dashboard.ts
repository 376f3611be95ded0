import { sharedParts } from '../../balancer/expert-load-balancer.ts';
import type { CostModel } from '../../cost/cost-model.ts';
import type { ExpertLoadBalancer, ExpertMapping } from '../../index.ts';
import type { LoadMatrix } from '../../loads/load-matrix.ts';
import { imbalanceSeconds, type LiveRanks } from '../../watch/window-figures.ts';
import type { GroupView } from '../group-view.ts';
import type { WholeStep } from '../load-steps.ts';
import type { GroupMetrics } from '../metrics.ts';
import { balancednessOf, type GroupPlan } from '../plan-result.ts';
import { expertLoads } from '../slot-loads.ts';
import type { ServeTime } from '../time.ts';
import { Changes, Feed, type Watchers } from './feed.ts';
import { GroupHistory } from './history.ts';
import { PlanLog } from './plan-log.ts';
import { type RankLoads, rankLoadsOf, rankMapOf } from './rank-loads.ts';
import type {
  DashboardGroup,
  DashboardNow,
  DashboardPlans,
  DashboardUpdate,
  DashboardView,
  OverviewRow,
  RankMap,
} from './view.ts';

/** The group that is shown. What it has is read when it is looked at. */
export interface DashboardHost {
  readonly name: string;
  readonly balancer: ExpertLoadBalancer;
  readonly cost: CostModel | undefined;
  readonly metrics: GroupMetrics;
  readonly epoch: number;
  readonly live: LiveRanks;
  /** What went wrong with measuring: nothing else is to fail by it. */
  onFault(error: unknown): void;
  mappingAt(epoch: number): ExpertMapping | undefined;
  view(): GroupView;
}

/** Steps are measured this far apart at least, so that it costs no more however fast they come. */
const MEASURE_MS = 1000;

/** A step that was recorded, with the mapping that it was measured under. */
interface RecordedStep extends WholeStep {
  readonly mapping: ExpertMapping;
  readonly atMs: number;
}

interface MeasuredRanks extends Pick<RankMap, 'epoch' | 'measured'> {
  readonly step: number | null;
  readonly ranks: RankLoads;
  readonly secondsLost: number | undefined;
}

const rounded = (value: number) => Number(value.toPrecision(5));
const orNull = (value: number | undefined) => (value === undefined ? null : rounded(value));

/** What the dashboard shows of a group: how it stands, and a bounded past that no file keeps. */
export class GroupDashboard {
  readonly feed: Feed;
  readonly #host: DashboardHost;
  readonly #nowMs: () => number;
  readonly #history = new GroupHistory();
  readonly #log = new PlanLog();
  readonly #changes = new Changes<Omit<DashboardView, 'at' | 'history'>>();
  #newest: RecordedStep | undefined;
  #measured: { readonly of: RecordedStep; readonly ranks: MeasuredRanks } | undefined;
  #measuredMs = Number.NEGATIVE_INFINITY;
  #lastLoadsAt: number | null = null;
  #lastPlanAt: number | null = null;
  #window: { readonly key: string; readonly mean: DashboardNow['windowMean'] } | undefined;
  #map: { readonly of: RankLoads; readonly map: RankMap } | undefined;

  constructor(host: DashboardHost, time: ServeTime, watchers: Watchers) {
    this.#host = host;
    // The clock on the wall, that never goes back.
    const startMs = Date.now() - time.now();
    this.#nowMs = () => Math.round(startMs + time.now());
    this.feed = new Feed({ whole: () => this.view(), changes: () => this.#changesSince() }, time, watchers);
  }

  /** A whole step was recorded. */
  recorded(step: WholeStep): void {
    const atMs = this.#nowMs();
    this.#lastLoadsAt = atMs;
    const mapping = this.#host.mappingAt(step.epoch) ?? this.#host.live.mapping;
    this.#newest = { ...step, mapping, atMs };
    try {
      this.#measureIfDue();
    } catch (error) {
      this.#host.onFault(error);
    }
  }

  /** A plan was asked for. @param loads that it was made for; the window's when left out */
  planned(result: GroupPlan, seconds: number, before: ExpertMapping, loads: LoadMatrix | undefined): void {
    const { status, reason = '', epoch, digest, moves, forecast, balancedness } = result;
    const isPlanned = status === 'planned';
    this.#note({
      ...{ status, reason, seconds, epoch, moves, digest: isPlanned ? digest : null },
      bytes: forecast?.bytes ?? this.#bytesOf(moves),
    });
    if (!isPlanned) return;
    if (balancedness !== undefined) this.#log.predicted(digest, balancedness);
    else this.#predict(digest, before, result.mapping, loads ?? this.#windowLoads());
  }

  /** None could be made. */
  failed(code: string, seconds: number): void {
    const { epoch } = this.#host;
    this.#note({ status: 'failed', reason: code, seconds, epoch, moves: 0, bytes: null, digest: null });
  }

  /** Another mapping is live. */
  wentLive(epoch: number, digest: string, moves: number): void {
    const gainNumber = sharedParts(this.#host.balancer).gains.gains.at(-1)?.number;
    const live = { epoch, digest, moves, bytes: this.#bytesOf(moves), gainNumber };
    this.#log.wentLive({ ...live, at: this.#nowMs() });
  }

  /** All that is shown. */
  view(): DashboardView {
    const at = this.#nowMs();
    this.#measureIfDue();
    return { at, ...this.#parts(), history: this.#history.view() };
  }

  /** Rank loads of the newest step in full, or of the window; undefined before the first. */
  rankLoads(): MeasuredRanks | undefined {
    const newest = this.#newest;
    if (newest === undefined) return this.#ofWindow();
    if (this.#measured?.of !== newest) this.#measure(newest);
    return this.#measured?.of === newest ? this.#measured.ranks : undefined;
  }

  /** Its row in the list of all groups. */
  row(): OverviewRow {
    this.#measureIfDue();
    const { group, policy, numLayers, numRanks, epoch, paused, dryRun, underWay, ranks } = this.#host.view();
    const measured = this.#measured?.ranks;
    return {
      ...{ group, policy, numLayers, numRanks, epoch, paused, dryRun },
      state: underWay?.state ?? null,
      flagged: this.#host.metrics.conditions().flatMap(({ type, status }) => (status ? [] : [type])),
      deadRanks: ranks.dead,
      balancedness: measured?.ranks.tokens === 0 ? null : orNull(measured?.ranks.balancedness),
      secondsLost: orNull(measured?.secondsLost),
      ...{ lastLoadsAt: this.#lastLoadsAt, lastPlanAt: this.#lastPlanAt },
    };
  }

  #note(plan: Omit<Parameters<PlanLog['planned']>[0], 'at'>): void {
    this.#lastPlanAt = this.#nowMs();
    this.#log.planned({ ...plan, at: this.#lastPlanAt });
  }

  #predict(digest: string, before: ExpertMapping, after: ExpertMapping, loads: LoadMatrix | undefined): void {
    if (loads === undefined) return;
    const { topology } = this.#host.live;
    const slots = topology.numPhysicalExperts;
    // Its ranks may have become others meanwhile.
    if (before.numPhysicalExperts !== slots || after.numPhysicalExperts !== slots) return;
    this.#log.predict(digest, loads, (kept) => ({
      before: balancednessOf(kept, before, topology),
      after: balancednessOf(kept, after, topology),
    }));
  }

  #windowLoads(): LoadMatrix | undefined {
    const { balancer } = this.#host;
    return balancer.numSamples === 0 ? undefined : balancer.getAverageLogicalLoad();
  }

  #bytesOf(moves: number): number | null {
    const { cost } = this.#host;
    return cost?.bytesPerExpert === undefined ? null : moves * cost.bytesPerExpert;
  }

  #measureIfDue(): void {
    const newest = this.#newest;
    if (newest === undefined || this.#measured?.of === newest) return;
    if (this.#nowMs() - this.#measuredMs >= MEASURE_MS) this.#measure(newest);
  }

  #measure(of: RecordedStep): void {
    this.#measuredMs = this.#nowMs();
    const { cost, live } = this.#host;
    const { topology } = live;
    const ranks = rankLoadsOf(of, topology);
    if (ranks === undefined) return;
    const { loads, kind, mapping, epoch, step, atMs } = of;
    const logical = kind === 'physical' ? expertLoads(loads, mapping) : loads;
    const secondsLost = cost && imbalanceSeconds(logical, mapping, topology, cost);
    const measured = kind === 'physical' ? 'slots' : 'experts';
    this.#measured = { of, ranks: { step, epoch, measured, ranks, secondsLost } };
    const { balancedness, means, tokens } = ranks;
    // Of a step without tokens nothing can be said.
    if (tokens === 0) return;
    this.#history.add({ atMs, epoch, balancedness, secondsLost });
    const mean = means.reduce((sum, one) => sum + one, 0);
    this.#log.measured(epoch, this.#host.epoch, mean, mean / balancedness);
  }

  /** After a restart, before the first step. */
  #ofWindow(): MeasuredRanks | undefined {
    const { balancer, live, epoch } = this.#host;
    if (balancer.numSamples === 0) return undefined;
    const loads = balancer.getAverageLogicalLoad();
    const ranks = rankLoadsOf({ kind: 'logical', loads, mapping: live.mapping }, live.topology);
    return ranks && { step: null, epoch, measured: 'experts', ranks, secondsLost: undefined };
  }

  #parts(): Omit<DashboardView, 'at' | 'history'> {
    const view = this.#host.view();
    return {
      group: this.#groupPart(view),
      now: this.#nowPart(view),
      plans: this.#plansPart(view),
      rankLoads: this.#rankMap(),
    };
  }

  #groupPart(view: GroupView): DashboardGroup {
    const { group, policy, numLayers, numLogicalExperts, numPhysicalExperts, numNodes } = view;
    const { numRanks, windowSize, epoch, digest, paused, dryRun, underWay, ranks, conditions } = view;
    return {
      ...{ group, policy, numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes },
      ...{ windowSize, epoch, digest, paused, dryRun, underWay, ranks, conditions },
      hasCost: this.#host.cost !== undefined,
    };
  }

  #nowPart({ window }: GroupView): DashboardNow {
    const measured = this.#measured?.ranks;
    return {
      ...{ lastLoadsAt: this.#lastLoadsAt, lastPlanAt: this.#lastPlanAt, window },
      newest:
        measured === undefined
          ? null
          : {
              ...{ step: measured.step!, epoch: measured.epoch, tokens: Math.round(measured.ranks.tokens) },
              balancedness: rounded(measured.ranks.balancedness),
              secondsLost: orNull(measured.secondsLost),
            },
      windowMean: this.#windowMean(),
    };
  }

  #windowMean(): DashboardNow['windowMean'] {
    const { epoch, live, metrics } = this.#host;
    const { deadRanks, rankSpeed, numRanks } = live.topology;
    const key = [metrics.tally.numSteps, epoch, numRanks, `${deadRanks}`, `${rankSpeed}`].join(' ');
    if (this.#window?.key === key) return this.#window.mean;
    const figures = metrics.windowFigures();
    const mean =
      figures === undefined
        ? null
        : {
            balancedness: rounded(figures.balancednessRatioOfSums),
            secondsLost: orNull(figures.imbalanceSeconds),
            ...{ worstLayer: figures.worstLayer, worstRank: figures.worstRank },
            activeExperts: rounded(figures.activeExperts),
          };
    this.#window = { key, mean };
    return mean;
  }

  #plansPart({ gains }: GroupView): DashboardPlans {
    const { plans, moves, moveBytes } = this.#host.metrics.tally;
    return {
      counts: [...plans.entries()].map(({ labels: [result = '', reason = ''], count }) => ({
        ...{ result, reason, count },
      })),
      last: this.#log.plans(),
      live: this.#log.live(gains),
      moves: { ...moves },
      bytes: this.#bytesOf(0) === null ? null : { ...moveBytes },
    };
  }

  #rankMap(): RankMap | null {
    // The newest one that was measured: this measures none, as it may be asked for often.
    const measured = this.#newest === undefined ? this.#ofWindow() : this.#measured?.ranks;
    if (measured === undefined) return null;
    const { ranks, step, epoch, measured: by } = measured;
    if (this.#map?.of !== ranks) {
      this.#map = { of: ranks, map: rankMapOf(ranks, { step, epoch, measured: by }) };
    }
    return this.#map.map;
  }

  #changesSince(): DashboardUpdate | undefined {
    const at = this.#nowMs();
    this.#measureIfDue();
    const changed = this.#changes.of(this.#parts());
    const points = this.#history.news();
    if (points === undefined && Object.keys(changed).length === 0) return undefined;
    return { at, ...changed, ...(points && { points }) };
  }
}
