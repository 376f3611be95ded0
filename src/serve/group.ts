import { sharedParts } from '../balancer/expert-load-balancer.ts';
import { EplbError, isOwnError } from '../core/errors.ts';
import { codeOf } from '../core/events.ts';
import type { CostModel } from '../cost/cost-model.ts';
import { ExpertLoadBalancer, type ExpertMapping } from '../index.ts';
import { tablesOf } from '../mapping/expert-mapping.ts';
import { initialMapping } from '../mapping/initial-mapping.ts';
import { checkClosedSlots } from '../policy/closed-slots.ts';
import type { LiveRanks } from '../watch/window-figures.ts';
import { configKeyOf } from './config-key.ts';
import type { Watchers } from './dashboard/feed.ts';
import { type DashboardHost, GroupDashboard } from './dashboard/group-dashboard.ts';
import type { FullDeclaration, GroupParts } from './declaration.ts';
import { holdsExperts } from './epochs/damage.ts';
import type { EpochHost } from './epochs/epoch-host.ts';
import { plainView } from './epochs/epoch-view.ts';
import { GroupEpochs } from './epochs/group-epochs.ts';
import { repairOf } from './epochs/repairs.ts';
import { tell } from './events.ts';
import { averageLoads, GroupPlans, type PlanHost, type PlanQuestion } from './group-plans.ts';
import { checkSameRanks, PlannedRanks } from './group-ranks.ts';
import type { GroupKeeper, SavedGroup, StateRecord } from './group-store.ts';
import { type GroupView, viewOf } from './group-view.ts';
import { laidOut } from './laid-out.ts';
import { type EpochReport, type Held, held, LiveEpochs } from './live-epochs.ts';
import { type LoadReport, LoadSteps, type WholeStep } from './load-steps.ts';
import { mappingOfRecord, mappingRecord } from './mapping-record.ts';
import type { GroupMetrics } from './metrics.ts';
import type { GroupPlan } from './plan-result.ts';
import { expertLoads, withMoreSlots } from './slot-loads.ts';
import type { ServeTime } from './time.ts';

/** A report of loads, or of what went live, or of both. */
export interface StepReport extends EpochReport {
  readonly loads?: StepLoads | undefined;
}

type StepLoads = Omit<LoadReport, 'epoch'>;

/** What a group is made with, beside its declaration. */
export interface GroupOptions {
  readonly store: GroupKeeper;
  /** What was kept of it, to go on from. */
  readonly saved?: SavedGroup | undefined;
  readonly time: ServeTime;
  /** Streams of events. */
  readonly maxListeners: number;
  readonly watchers: Watchers;
  makeMetrics(group: Group): GroupMetrics;
  onFault(error: unknown): void;
}

/** What became of a report. */
export interface ReportOutcome {
  readonly status: 'recorded' | 'part' | 'again' | 'noted';
  readonly epoch: number;
  readonly digest: string;
}

/** A group of ranks: its balancer, its epoch, what was answered, and how it is kept. */
export class Group {
  readonly name: string;
  readonly balancer: ExpertLoadBalancer;
  readonly cost: CostModel | undefined;
  /** How it comes from one epoch to the next. */
  readonly epochs: GroupEpochs;
  /** What the dashboard shows of it. */
  readonly dashboard: GroupDashboard;
  readonly #store: GroupKeeper;
  readonly #metrics: GroupMetrics;
  readonly #steps: LoadSteps;
  readonly #epochs: LiveEpochs;
  #declaration: FullDeclaration;
  #ranks: PlannedRanks;
  readonly #plans: GroupPlans;
  #paused = false;
  #dryRun: boolean;
  #windowSource: 'empty' | 'refilled' | 'recorded' = 'empty';
  #counters = { numSteps: 0, numMoves: 0 };
  #unsavedSteps = 0;
  #configKey: string | undefined;
  #lastChange: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(name: string, parts: GroupParts, options: GroupOptions) {
    const { declaration, topology, policy, cost } = parts;
    const { store, saved, time, maxListeners, watchers, makeMetrics, onFault } = options;
    this.name = name;
    this.#declaration = declaration;
    this.cost = cost;
    this.#ranks = new PlannedRanks(parts, saved?.epochs?.ranks);
    const { windowSize } = declaration;
    this.balancer = new ExpertLoadBalancer({ ...this.#ranks.topology, policy, windowSize });
    // The group itself tells of them, by its epochs.
    sharedParts(this.balancer).events.isMuted = true;
    this.#store = store;
    this.#steps = new LoadSteps(topology);
    // Ranks that died since have a part in the first epoch.
    const first = initialMapping(topology);
    const { mapping } = this.balancer;
    this.#epochs = new LiveEpochs(first.equals(mapping) ? mapping : first);
    this.#dryRun = declaration.dryRun;
    this.#metrics = makeMetrics(this);
    this.dashboard = new GroupDashboard(this.#dashboardHost(onFault), time, watchers);
    this.#plans = new GroupPlans(this.#planHost());
    this.epochs = new GroupEpochs(this.#epochHost(onFault), time, maxListeners, saved?.epochs);
  }

  /** Names the configuration in keys of plans: with the ranks as they are. */
  get configKey(): string {
    this.#configKey ??= configKeyOf(this.declaration, this.#ranks);
    return this.#configKey;
  }

  get declaration(): FullDeclaration {
    return this.#declaration;
  }

  get epoch(): number {
    return this.#epochs.epoch;
  }

  get digest(): string {
    return this.#epochs.live.digest;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  get isDryRun(): boolean {
    return this.#dryRun;
  }

  /** Makes a new group durable. */
  async declare(): Promise<void> {
    await this.#store.read();
    await this.#append({ kind: 'group', declaration: this.declaration });
  }

  /** Goes on from what was kept. */
  async resume(saved: SavedGroup): Promise<void> {
    this.#paused = saved.paused;
    this.#dryRun = saved.dryRun;
    const none = { numSteps: 0, numMoves: 0, numPlanned: 0, numKept: 0 };
    const { lastStep, numSteps, numMoves, ...counts } = saved.counters ?? { ...none, lastStep: undefined };
    this.#counters = { numSteps, numMoves };
    this.#steps.resume(lastStep);
    const first = this.#epochs.live.mapping;
    const snapshot = await this.#store.readWindow();
    if (snapshot !== undefined && this.#restore(snapshot)) this.#windowSource = 'refilled';
    const { earlier } = saved;
    if (saved.table !== undefined) this.#epochs.forgetFirst();
    if (earlier !== undefined) {
      this.#epochs.recall(
        earlier.epoch,
        earlier.table === undefined ? first : mappingOfRecord(earlier.table),
      );
    }
    if (saved.table !== undefined) {
      const kept = mappingOfRecord(saved.table);
      const { mapping } = this.balancer;
      this.#epochs.go(saved.epoch, held(kept.equals(mapping) ? mapping : kept));
      this.#commitLive();
    }
    this.#plans.resume(saved.plans, counts);
    await this.epochs.start();
  }

  /** Brings the balancer to the live mapping: unless that has experts on ranks that are dead by now. */
  #commitLive(): void {
    const mapping = this.#ranks.lay(this.#epochs.live.mapping);
    if (mapping === this.balancer.mapping) return;
    try {
      this.balancer.commit(mapping, { force: true });
    } catch (error) {
      if (!isOwnError(error) || error.code !== 'EPLB_MAPPING') throw error;
    }
  }

  /** @returns whether the snapshot is one of this group */
  #restore(snapshot: Uint8Array): boolean {
    try {
      this.balancer.restore(snapshot);
      return this.balancer.numSamples > 0;
    } catch (error) {
      if (isOwnError(error)) return false;
      throw error;
    }
  }

  /** All that is known of the group, for people and machines. */
  view(): GroupView {
    return viewOf({
      name: this.name,
      declaration: this.declaration,
      epoch: this.epoch,
      digest: this.#epochs.live.digest,
      paused: this.#paused,
      dryRun: this.#dryRun,
      kept: this.#store,
      underWay: this.epochs.underWay,
      ranks: this.epochs.rankCounts,
      brokenRules: this.#ranks.brokenRules(this.#epochs.live),
      balancer: this.balancer,
      windowSource: this.#windowSource,
      lastStep: this.#steps.lastStep,
      numIncomplete: this.#steps.numIncomplete,
      counters: { ...this.#counters, ...this.#plans.counts },
      ages: this.#metrics.ages(),
      watched: this.#metrics.conditions(),
    });
  }

  /** The live mapping. */
  get live(): Held {
    return this.#epochs.live;
  }

  /** The same as a table of all ranks, and these as they are by now. */
  get liveRanks(): LiveRanks {
    return { mapping: this.#ranks.lay(this.#epochs.live.mapping), topology: this.#ranks.now };
  }

  /** Mappings that plans are likely to start from. */
  knownMappings(): readonly Held[] {
    return this.#plans.knownMappings();
  }

  /**
   * Plans, and changes nothing but what is known of plans.
   *
   * @throws EplbError `EPLB_STALE` for another generation than the live one, `EPLB_LIMIT`, `EPLB_CLOSED`
   */
  plan(question: PlanQuestion): Promise<GroupPlan> {
    return this.#plans.plan(question);
  }

  /** A mapping as a table of all ranks by now. @throws EplbError `EPLB_STALE` */
  lay(mapping: ExpertMapping): ExpertMapping {
    return this.#ranks.lay(mapping);
  }

  /** The mapping of one of the last epochs; undefined when it is not known any more. */
  mappingAt(epoch: number): ExpertMapping | undefined {
    return this.#epochs.mappingAt(epoch);
  }

  /** Changes whether plans are offered. Durable when it resolves. */
  async setMode(mode: { readonly paused?: boolean; readonly dryRun?: boolean }): Promise<void> {
    await this.#change(async () => {
      const { paused = this.#paused, dryRun = this.#dryRun } = mode;
      if (paused === this.#paused && dryRun === this.#dryRun) return;
      await this.#append({ kind: 'mode', paused, dryRun });
      this.#paused = paused;
      this.#dryRun = dryRun;
      this.epochs.hub.publish('mode', { paused, dryRun });
    });
    await this.epochs.modeChanged();
  }

  /**
   * Takes loads, and what the engine says it made live.
   *
   * @throws EplbError `EPLB_STALE`, `EPLB_CONFLICT`, `EPLB_CLOSED`, `EPLB_FILE`; EplbRangeError. Nothing
   * changes then.
   */
  report(report: StepReport): Promise<ReportOutcome> {
    const taken = this.#change<ReportOutcome>(async () => {
      const epoch = report.epoch ?? this.epoch;
      const { rank } = report.loads ?? {};
      if (rank !== undefined) this.#metrics.rankServes(rank, epoch);
      const next = this.#epochs.nextOf(report);
      const measured = next?.mapping ?? this.#epochs.mappingAt(epoch);
      const loads = report.loads && this.#onAllRanks(report.loads, measured);
      if (next !== undefined && this.epochs.isCoordinated) {
        const message = `loads: epoch ${epoch} is not ${this.epoch}, the live one: ranks take part in the epochs`;
        throw new EplbError('EPLB_STALE', `${message} of this group, which go up by POST epochs alone`);
      }
      if (loads !== undefined) {
        this.#checkReadable(loads.kind, epoch, next);
        this.#steps.check({ ...loads, epoch });
      }
      if (next !== undefined) await this.#makeLive(epoch, next);
      const isWaitedFor = (rank: number) => this.#hasPart(rank, epoch, loads!.kind);
      const step = loads && this.#steps.take({ ...loads, epoch }, isWaitedFor);
      if (typeof step === 'object') this.#record(step);
      const status = step === undefined ? 'noted' : typeof step === 'object' ? 'recorded' : step;
      return { status, epoch: this.epoch, digest: this.#epochs.live.digest };
    });
    return taken.catch((error) => {
      // Refused, but it says that ranks do not agree.
      if (codeOf(error) === 'EPLB_CONFLICT') this.#metrics.conflicted(error.message);
      this.#metrics.refused(codeOf(error));
      throw error;
    });
  }

  /** Loads of the slots that a mapping has, as those of all ranks by now. */
  #onAllRanks(loads: StepLoads, measured: ExpertMapping | undefined): StepLoads {
    const { kind, rank, loads: matrix } = loads;
    const { numPhysicalExperts } = this.#ranks.whole;
    const isOlder = matrix.numExperts === measured?.numPhysicalExperts;
    if (kind !== 'physical' || rank !== undefined || !isOlder) return loads;
    if (matrix.numExperts >= numPhysicalExperts) return loads;
    return { ...loads, loads: withMoreSlots(matrix, numPhysicalExperts) };
  }

  #checkReadable(kind: LoadReport['kind'], epoch: number, next: Held | undefined): void {
    if (kind === 'logical' || next !== undefined || this.#epochs.mappingAt(epoch) !== undefined) return;
    const message = `loads: the mapping of epoch ${epoch} is no longer known; the live one is ${this.epoch}`;
    throw new EplbError('EPLB_STALE', message);
  }

  /** Whether a rank counts anything: one that serves no steps does not, nor one without experts to count. */
  #hasPart(rank: number, epoch: number, kind: LoadReport['kind']): boolean {
    if (!this.epochs.servesSteps(rank)) return false;
    const mapping = kind === 'physical' ? this.#epochs.mappingAt(epoch) : undefined;
    return mapping === undefined || holdsExperts(this.#ranks.lay(mapping), rank, this.declaration.numRanks);
  }

  async #makeLive(epoch: number, next: Held): Promise<void> {
    checkClosedSlots('loads', tablesOf(this.#ranks.lay(next.mapping)).phyToLog, this.balancer.topology);
    await this.#append({ kind: 'live', epoch, table: mappingRecord(next.mapping) });
    this.#goLive(epoch, next);
    this.epochs.hub.publish('epoch', { what: 'reported', ...plainView(epoch, next.digest) });
  }

  /** Another mapping is live, which is durable by now. */
  #goLive(epoch: number, next: Held): void {
    const before = this.#ranks.lay(this.#epochs.live.mapping);
    const moves = this.#ranks.lay(next.mapping).movesFrom(before, this.declaration.numRanks);
    this.#epochs.go(epoch, next);
    this.#commitLive();
    this.#counters = { ...this.#counters, numMoves: this.#counters.numMoves + moves };
    this.#metrics.committed(moves);
    this.dashboard.wentLive(epoch, next.digest, moves);
    tell('commit', () => ({ group: this.name, epoch, digest: next.digest, moves }));
  }

  #record(step: WholeStep): void {
    const { epoch, kind, loads } = step;
    // The balancer is ahead of the epoch while ranks are dead and the repair is on its way.
    const live = this.#ranks.lay(this.#epochs.live.mapping);
    const isLive = kind === 'physical' && epoch === this.epoch && this.balancer.mapping === live;
    const isFolded = kind === 'physical' && !isLive;
    const matrix = isFolded ? expertLoads(loads, this.#ranks.lay(this.#epochs.mappingAt(epoch)!)) : loads;
    for (let layer = 0; layer < matrix.numLayers; layer++) {
      const row = matrix.data.subarray(layer * matrix.numExperts, (layer + 1) * matrix.numExperts);
      if (isLive) this.balancer.recordLoad(layer, row);
      else this.balancer.recordLogicalLoad(layer, row);
    }
    this.balancer.advanceWindow();
    this.#windowSource = 'recorded';
    this.#unsavedSteps++;
    this.#counters = { ...this.#counters, numSteps: this.#counters.numSteps + 1 };
    this.#metrics.recorded();
    this.dashboard.recorded(step);
    tell('load', () => ({ group: this.name, epoch: this.epoch, numSteps: this.#counters.numSteps }));
  }

  /** Writes the window down, if anything was recorded since. */
  saveWindow(): Promise<void> {
    return this.#change(async () => {
      if (this.#unsavedSteps === 0 || !this.#store.isKept) return;
      this.#unsavedSteps = 0;
      if (this.#store.keepsWindow) await this.#store.saveWindow(this.balancer.snapshot());
      await this.#append({ kind: 'counters', counters: this.#savedCounters() });
    });
  }

  /**
   * Takes other ranks than before, of a declaration that says nothing else otherwise: see
   * `EpochCore.resize`. Durable when it resolves.
   *
   * @throws EplbError `EPLB_CONFLICT`, `EPLB_CLOSED`; EplbRangeError
   */
  async resize(parts: GroupParts): Promise<void> {
    checkSameRanks(this.#ranks.whole, parts.whole);
    const { declaration, topology } = parts;
    await this.epochs.resize({
      ...{ numRanks: declaration.numRanks, deadRanks: topology.deadRanks ?? [], speed: topology.rankSpeed },
      move: (saved) => this.#moveTo(new PlannedRanks(parts, saved), declaration),
    });
    await this.saveWindow();
  }

  #moveTo(ranks: PlannedRanks, declaration: FullDeclaration): void {
    ranks.moveTo(this.balancer);
    this.#ranks = ranks;
    this.#declaration = declaration;
    this.#configKey = undefined;
    this.#steps.resize(ranks.whole);
    this.#epochs.keepOnly((mapping) => laidOut(mapping, ranks.whole) !== undefined);
    this.#unsavedSteps++;
    this.#commitLive();
  }

  /** Ends planning. What is kept stays, unless the group is removed. @param saves whether more is written */
  async close({ remove = false, saves = true } = {}): Promise<void> {
    this.epochs.close();
    this.dashboard.feed.close();
    if (!remove && saves) await this.saveWindow();
    await this.#change(async () => {
      this.#isClosed = true;
    });
    await this.balancer.close();
    await (remove ? this.#store.remove() : this.#store.close());
    this.#metrics.remove();
  }

  #savedCounters() {
    const { lastStep } = this.#steps;
    return { ...this.#counters, ...this.#plans.counts, ...(lastStep === undefined ? {} : { lastStep }) };
  }

  /** Ranks are dead or slow from now on: plans are for those that live, as far as the policy can. */
  #changeRanks(deadRanks: readonly number[], speed: readonly number[] | null): void {
    if (!this.#ranks.change(this.balancer, deadRanks, speed)) return;
    this.#configKey = undefined;
    // The window that was written is of other slots.
    this.#unsavedSteps++;
    this.#commitLive();
  }

  #planHost(): PlanHost {
    const group = this;
    return {
      ...{ name: this.name, balancer: this.balancer, cost: this.cost },
      ...{ epochs: this.#epochs, ranks: () => this.#ranks },
      ...{ metrics: this.#metrics, dashboard: this.dashboard },
      get isPaused() {
        return group.isPaused;
      },
      get isDryRun() {
        return group.isDryRun;
      },
      checkOpen: () => this.#checkOpen(),
      change: (work) => this.#change(work),
      append: (record) => this.#append(record),
    };
  }

  #dashboardHost(onFault: (error: unknown) => void): DashboardHost {
    const group = this;
    return {
      ...{ name: this.name, balancer: this.balancer, cost: this.cost, metrics: this.#metrics },
      get epoch() {
        return group.epoch;
      },
      get live() {
        return group.liveRanks;
      },
      onFault,
      mappingAt: (epoch) => this.mappingAt(epoch),
      view: () => this.view(),
    };
  }

  #epochHost(onFault: (error: unknown) => void): EpochHost {
    const group = this;
    return {
      name: this.name,
      keepsAcks: this.#store.keepsAcks,
      get declaration() {
        return group.declaration;
      },
      get declared() {
        return group.#ranks.declared;
      },
      get whole() {
        return group.#ranks.whole;
      },
      lay: (mapping) => this.#ranks.lay(mapping),
      get isPaused() {
        return group.isPaused;
      },
      get isDryRun() {
        return group.isDryRun;
      },
      live: () => ({ epoch: this.epoch, held: this.#epochs.live }),
      answered: (digest) => this.#epochs.answered(digest),
      mappingAt: (epoch) => this.mappingAt(epoch),
      averageLoads: () => averageLoads(this.balancer),
      nextStep: () => (this.#steps.lastStep ?? 0) + 1,
      change: (work) => this.#change(work),
      append: (record) => this.#append(record),
      resized: (epochs) => {
        const { earlier } = this.#epochs;
        return this.#append({
          ...{ kind: 'resized', declaration: this.declaration, epochs },
          table: mappingRecord(this.#epochs.live.mapping),
          earlier: earlier && { epoch: earlier.epoch, table: mappingRecord(earlier.mapping) },
        });
      },
      goLive: (epoch, next) => this.#goLive(epoch, next),
      changeRanks: (deadRanks, speed) => this.#changeRanks(deadRanks, speed),
      repairOf,
      coordinated: (event) => this.#metrics.coordinated(event),
      onFault,
    };
  }

  #append(record: StateRecord): Promise<void> {
    return this.#store.append(record, () => {
      const { earlier } = this.#epochs;
      return {
        declaration: this.declaration,
        epoch: this.epoch,
        table: mappingRecord(this.#epochs.live.mapping),
        plans: this.#plans.records,
        paused: this.#paused,
        dryRun: this.#dryRun,
        counters: this.#savedCounters(),
        earlier: earlier && { epoch: earlier.epoch, table: mappingRecord(earlier.mapping) },
        epochs: this.epochs.saved,
      };
    });
  }

  /** Runs changes one after the other. */
  #change<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastChange.then(() => {
      this.#checkOpen();
      return work();
    });
    this.#lastChange = result.catch(() => {});
    return result;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new EplbError('EPLB_CLOSED', `group ${this.name}: is being removed or closed`);
  }
}
