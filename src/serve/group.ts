import { performance } from 'node:perf_hooks';
import { checkTopology } from '../core/check-topology.ts';
import { EplbError, EplbRangeError, isOwnError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import type { CostModel } from '../cost/cost-model.ts';
import { type BalancerDecision, ExpertLoadBalancer, type ExpertMapping, type LoadSamples } from '../index.ts';
import type { LoadMatrix } from '../loads/load-matrix.ts';
import { tablesOf } from '../mapping/expert-mapping.ts';
import { checkClosedSlots } from '../policy/closed-slots.ts';
import { checkPlannable } from '../policy/plannable.ts';
import { canonical, type FullDeclaration, type GroupParts } from './declaration.ts';
import type { EpochHost } from './epochs/epoch-host.ts';
import { plainView } from './epochs/epoch-view.ts';
import { GroupEpochs } from './epochs/group-epochs.ts';
import { repairOf } from './epochs/repairs.ts';
import { tell } from './events.ts';
import { type GroupStore, type SavedGroup, type StateRecord, withPlan } from './group-store.ts';
import { type GroupView, viewOf } from './group-view.ts';
import { type EpochReport, type Held, held, LiveEpochs } from './live-epochs.ts';
import { type LoadReport, LoadSteps, type WholeStep } from './load-steps.ts';
import { hexSha256, mappingOfRecord, mappingRecord } from './mapping-record.ts';
import type { GroupMetrics } from './metrics.ts';
import { balancednessOf, forecastJson, type PlanResult, recordOf, resultOf } from './plan-result.ts';
import type { ServeTime } from './time.ts';

/** Plans that may wait at one time. */
const MOST_WAITING = 64;

/** What a plan is asked with. */
export interface PlanQuestion {
  /** [layers x experts] to plan for; the window when left out. */
  readonly loads?: LoadMatrix | undefined;
  readonly samples?: LoadSamples | undefined;
  /** What the ranks hold; the live mapping when left out. */
  readonly previous?: ExpertMapping | undefined;
  /** Which epoch has to be live. */
  readonly generation?: number | undefined;
  /** Names the plan where no loads are given. */
  readonly planId?: string | undefined;
  /** Whether the answer is to say how balanced the loads are. */
  readonly saysBalance: boolean;
}

/** A report of loads, or of what went live, or of both. */
export interface StepReport extends EpochReport {
  readonly loads?: Omit<LoadReport, 'epoch'> | undefined;
}

/** What a group is made with, beside its declaration. */
export interface GroupOptions {
  readonly store: GroupStore;
  /** What was kept of it, to go on from. */
  readonly saved?: SavedGroup | undefined;
  readonly time: ServeTime;
  /** Streams of events. */
  readonly maxListeners: number;
  makeMetrics(group: Group): GroupMetrics;
  onFault(error: unknown): void;
}

/** What became of a report. */
export interface ReportOutcome {
  readonly status: 'recorded' | 'part' | 'again' | 'noted';
  readonly epoch: number;
  readonly digest: string;
}

/** Who is dead, and how fast ranks are: null when all are as fast as usual. */
interface KnownRanks {
  readonly deadRanks: readonly number[];
  readonly speed: readonly number[] | null;
}

/** A group of ranks: its balancer, its epoch, what was answered, and how it is kept. */
export class Group {
  readonly name: string;
  readonly declaration: FullDeclaration;
  readonly balancer: ExpertLoadBalancer;
  readonly cost: CostModel | undefined;
  /** How it comes from one epoch to the next. */
  readonly epochs: GroupEpochs;
  readonly #parts: GroupParts;
  readonly #store: GroupStore;
  readonly #metrics: GroupMetrics;
  readonly #steps: LoadSteps;
  readonly #epochs: LiveEpochs;
  /** What the last plan started from. */
  #lastPrevious: Held;
  #plans: readonly (readonly [string, PlanResult])[] = [];
  readonly #planning = new Map<string, Promise<PlanResult>>();
  #paused = false;
  #dryRun: boolean;
  #windowSource: 'empty' | 'refilled' | 'recorded' = 'empty';
  #counters = { numSteps: 0, numPlanned: 0, numKept: 0, numMoves: 0 };
  #unsavedSteps = 0;
  #configKey: string | undefined;
  #numWaiting = 0;
  #lastChange: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** Who is dead and how fast ranks are, as plans are to know; and whether the policy plans for that. */
  #ranks: KnownRanks;
  #ranksArePlanned = true;

  constructor(name: string, parts: GroupParts, options: GroupOptions) {
    const { declaration, topology, whole, policy, cost } = parts;
    const { store, saved, time, maxListeners, makeMetrics, onFault } = options;
    this.name = name;
    this.declaration = declaration;
    this.cost = cost;
    this.#parts = parts;
    const { dead = [], speed = declaration.rankSpeed ?? null } = saved?.epochs?.ranks ?? {
      dead: (declaration.deadRanks ?? []).map((rank) => ({ rank })),
    };
    this.#ranks = { deadRanks: dead.map(({ rank }) => rank), speed };
    const planned = this.#plannable(this.#ranks);
    this.#ranksArePlanned = planned !== undefined;
    const { windowSize } = declaration;
    this.balancer = new ExpertLoadBalancer({ ...(planned ?? whole), policy, windowSize });
    this.#store = store;
    this.#steps = new LoadSteps(topology);
    this.#epochs = new LiveEpochs(this.balancer.mapping);
    this.#lastPrevious = this.#epochs.live;
    this.#dryRun = declaration.dryRun;
    this.#metrics = makeMetrics(this);
    this.epochs = new GroupEpochs(this.#epochHost(onFault), time, maxListeners, saved?.epochs);
  }

  /** Names the configuration in keys of plans: with the ranks as they are. */
  get configKey(): string {
    this.#configKey ??= hexSha256(canonical({ ...this.declaration, now: this.#ranks }));
    return this.#configKey;
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
    this.#plans = saved.plans.map(([planId, plan]) => [planId, resultOf(plan)] as const);
    const { lastStep, ...counters } = saved.counters ?? { ...this.#counters, lastStep: undefined };
    this.#counters = { ...counters };
    this.#steps.resume(lastStep);
    const first = this.#epochs.live.mapping;
    const snapshot = await this.#store.readWindow();
    if (snapshot !== undefined && this.#restore(snapshot)) this.#windowSource = 'refilled';
    const { earlier } = saved;
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
    for (const [, { status, epoch, previousDigest, ...plan }] of this.#plans) {
      const isFromLive = epoch === this.epoch && previousDigest === this.digest;
      if (status === 'planned') this.#epochs.remember(plan, isFromLive ? epoch : undefined);
    }
    await this.epochs.start();
  }

  /** Brings the balancer to the live mapping: unless that has experts on ranks that are dead by now. */
  #commitLive(): void {
    const { mapping } = this.#epochs.live;
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
      isKept: this.#store.isKept,
      underWay: this.epochs.underWay,
      ranks: this.epochs.rankCounts,
      balancer: this.balancer,
      windowSource: this.#windowSource,
      lastStep: this.#steps.lastStep,
      numIncomplete: this.#steps.numIncomplete,
      counters: this.#counters,
      ages: this.#metrics.ages(),
    });
  }

  /** The live mapping. */
  get live(): Held {
    return this.#epochs.live;
  }

  /** Mappings that plans are likely to start from: the live one, and that of the last question. */
  knownMappings(): readonly Held[] {
    return [this.#epochs.live, this.#lastPrevious];
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
    return this.#change(async () => {
      const { loads } = report;
      const epoch = report.epoch ?? this.epoch;
      const next = this.#epochs.nextOf(report);
      if (next !== undefined && this.epochs.isCoordinated) {
        const message = `loads: epoch ${epoch} is not ${this.epoch}, the live one: ranks take part in the epochs`;
        throw new EplbError('EPLB_STALE', `${message} of this group, which go up by POST epochs alone`);
      }
      if (loads !== undefined) {
        this.#checkReadable(loads.kind, epoch, next);
        this.#steps.check({ ...loads, epoch });
      }
      if (next !== undefined) await this.#makeLive(epoch, next);
      const step = loads && this.#steps.take({ ...loads, epoch });
      if (typeof step === 'object') this.#record(step);
      const status = step === undefined ? 'noted' : typeof step === 'object' ? 'recorded' : step;
      return { status, epoch: this.epoch, digest: this.#epochs.live.digest };
    });
  }

  #checkReadable(kind: LoadReport['kind'], epoch: number, next: Held | undefined): void {
    if (kind === 'logical' || next !== undefined || this.#epochs.mappingAt(epoch) !== undefined) return;
    const message = `loads: the mapping of epoch ${epoch} is not known any more; the live one is ${this.epoch}`;
    throw new EplbError('EPLB_STALE', message);
  }

  async #makeLive(epoch: number, next: Held): Promise<void> {
    checkClosedSlots('loads', tablesOf(next.mapping).phyToLog, this.balancer.topology);
    await this.#append({ kind: 'live', epoch, table: mappingRecord(next.mapping) });
    this.#goLive(epoch, next);
    this.epochs.hub.publish('epoch', { what: 'reported', ...plainView(epoch, next.digest) });
  }

  /** Another mapping is live, which is durable by now. */
  #goLive(epoch: number, next: Held): void {
    const moves = next.mapping.movesFrom(this.#epochs.live.mapping, this.declaration.numRanks);
    this.#epochs.go(epoch, next);
    this.#commitLive();
    this.#counters = { ...this.#counters, numMoves: this.#counters.numMoves + moves };
    this.#metrics.committed(moves);
    tell('commit', () => ({ group: this.name, epoch, digest: next.digest, moves }));
  }

  #record({ epoch, kind, loads }: WholeStep): void {
    // The balancer is ahead of the epoch while ranks are dead and the repair is on its way.
    const isLive =
      kind === 'physical' && epoch === this.epoch && this.balancer.mapping === this.#epochs.live.mapping;
    const matrix = kind === 'physical' && !isLive ? this.#toLogical(loads, epoch) : loads;
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
    tell('load', () => ({ group: this.name, numSteps: this.#counters.numSteps }));
  }

  /** Loads of slots as those of experts, by the mapping that they were measured under. */
  #toLogical(loads: LoadMatrix, epoch: number): LoadMatrix {
    const { phyToLog, numLogicalExperts, numLayers } = tablesOf(this.#epochs.mappingAt(epoch)!);
    const data = new Float32Array(numLayers * numLogicalExperts);
    for (let i = 0; i < loads.data.length; i++) {
      const expert = phyToLog[i]!;
      if (expert >= 0) data[Math.floor(i / loads.numExperts) * numLogicalExperts + expert]! += loads.data[i]!;
    }
    return { data, numLayers, numExperts: numLogicalExperts };
  }

  /**
   * Plans, and changes nothing but what is known of plans.
   *
   * @throws EplbError `EPLB_STALE` for another generation than the live one, `EPLB_LIMIT`, `EPLB_CLOSED`
   */
  plan(question: PlanQuestion): Promise<PlanResult> {
    const { planId, loads, samples, generation } = question;
    if (generation !== undefined && generation !== this.epoch) {
      const message = `plan: generation ${generation} is not ${this.epoch}, the live one`;
      return Promise.reject(new EplbError('EPLB_STALE', message));
    }
    if (loads !== undefined || samples !== undefined) return this.#planNow(question);
    if (planId === undefined) {
      const message = 'plan: give loads to plan for, or a planId to plan from the window';
      return Promise.reject(new EplbRangeError('EPLB_OPTION', message));
    }
    const stands = this.#plans.find(([id]) => id === planId)?.[1];
    if (stands !== undefined) return Promise.resolve(stands);
    const known = this.#planning.get(planId);
    if (known !== undefined) return known;
    const planned = this.#planOnce(planId, question).finally(() => this.#planning.delete(planId));
    this.#planning.set(planId, planned);
    return planned;
  }

  /** Plans from the window. The answer is durable before anybody gets it. */
  async #planOnce(planId: string, question: PlanQuestion): Promise<PlanResult> {
    const result = await this.#planNow(question);
    await this.#change(async () => {
      await this.#append({ kind: 'plan', planId, plan: recordOf(result) });
      this.#plans = withPlan(this.#plans, planId, result);
    });
    return result;
  }

  async #planNow(question: PlanQuestion): Promise<PlanResult> {
    this.#checkOpen();
    if (this.#numWaiting >= MOST_WAITING) {
      throw new EplbError(
        'EPLB_LIMIT',
        `plan: ${MOST_WAITING} plans of this group are waiting; ask again later`,
      );
    }
    this.#numWaiting++;
    const started = performance.now();
    try {
      const result = await this.#decide(question);
      this.#note(result, (performance.now() - started) / 1000);
      return result;
    } catch (error) {
      const code = isOwnError(error) ? error.code : 'EPLB_INTERNAL';
      this.#metrics.planned({ status: 'failed', reason: code, seconds: 0, moves: 0, bytes: 0 });
      const seconds = (performance.now() - started) / 1000;
      const failed = { status: 'failed', reason: code, seconds, moves: 0, bytes: 0 } as const;
      tell('plan', () => ({ group: this.name, epoch: this.epoch, ...failed }));
      throw error;
    } finally {
      this.#numWaiting--;
    }
  }

  async #decide({ loads, samples, previous, saysBalance }: PlanQuestion): Promise<PlanResult> {
    const epoch = this.epoch;
    const before = this.#heldOf(previous);
    if (this.#paused) return this.#kept(before, epoch, 'paused');
    if (!this.#ranksArePlanned && this.#ranks.deadRanks.length > 0)
      return this.#repaired(before, epoch, loads);
    const decision = await this.balancer.decide(loads, {
      previous: before.mapping,
      ...(samples === undefined ? {} : { samples }),
    });
    if (decision.status === 'kept') return this.#kept(before, epoch, decision.reason);
    const result = this.#planned(decision, before, epoch);
    if (result.status === 'kept' || !saysBalance || loads === undefined) return result;
    const { topology } = this.balancer;
    const balancedness = {
      before: balancednessOf(loads, before.mapping, topology),
      after: balancednessOf(loads, decision.mapping, topology),
    };
    return { ...result, balancedness };
  }

  /** What keeps every expert on a rank that lives, for policies that cannot plan around dead ones. */
  #repaired(before: Held, epoch: number, loads = this.#averageLoads()): PlanResult {
    const { deadRanks, speed } = this.#ranks;
    const { whole } = this.#parts;
    const damage = {
      live: before.mapping,
      whole,
      deadRanks,
      servingRanks: [],
      speed,
      forSpeed: false,
      loads,
    };
    try {
      return this.#planned({ mapping: repairOf(damage) }, before, epoch);
    } catch (error) {
      if (!isOwnError(error) || error.code !== 'EPLB_TOPOLOGY') throw error;
      return this.#kept(before, epoch, 'too few slots');
    }
  }

  #averageLoads(): LoadMatrix | undefined {
    return this.balancer.numSamples === 0 ? undefined : this.balancer.getAverageLogicalLoad();
  }

  #heldOf(previous: ExpertMapping | undefined): Held {
    if (previous === undefined) return this.#epochs.live;
    const known = this.knownMappings().find(({ mapping }) => mapping === previous);
    this.#lastPrevious = known ?? held(previous);
    return this.#lastPrevious;
  }

  #kept({ mapping, bytes, digest }: Held, epoch: number, reason: string): PlanResult {
    return { status: 'kept', reason, epoch, mapping, bytes, digest, previousDigest: digest, moves: 0 };
  }

  #planned(
    decision: Pick<Extract<BalancerDecision, { status: 'planned' }>, 'mapping' | 'forecast'>,
    before: Held,
    epoch: number,
  ): PlanResult {
    const next = held(decision.mapping);
    if (next.digest === before.digest) return this.#kept(before, epoch, 'unchanged');
    const moves = next.mapping.movesFrom(before.mapping, this.declaration.numRanks);
    const forecast = decision.forecast === undefined ? {} : { forecast: forecastJson(decision.forecast) };
    if (this.#dryRun) {
      return { ...this.#kept(before, epoch, 'dry run'), dryRun: { digest: next.digest, moves, ...forecast } };
    }
    const isFromLive = before.digest === this.#epochs.live.digest && epoch === this.epoch;
    this.#epochs.remember(next, isFromLive ? epoch : undefined);
    return { status: 'planned', epoch, ...next, previousDigest: before.digest, moves, ...forecast };
  }

  #note({ status, reason, moves, epoch, forecast }: PlanResult, seconds: number): void {
    const key = status === 'planned' ? 'numPlanned' : 'numKept';
    this.#counters = { ...this.#counters, [key]: this.#counters[key] + 1 };
    const bytes = forecast?.bytes ?? moves * (this.cost?.bytesPerExpert ?? 0);
    const plan = { status, ...(reason === undefined ? {} : { reason }), seconds, moves, bytes };
    this.#metrics.planned(plan);
    tell('plan', () => ({ group: this.name, epoch, ...plan }));
  }

  /** Writes the window down, if anything was recorded since. */
  saveWindow(): Promise<void> {
    return this.#change(async () => {
      if (this.#unsavedSteps === 0 || !this.#store.isKept) return;
      this.#unsavedSteps = 0;
      await this.#store.saveWindow(this.balancer.snapshot());
      await this.#append({ kind: 'counters', counters: this.#savedCounters() });
    });
  }

  /** Ends planning. What is kept stays, unless the group is removed. */
  async close({ remove = false } = {}): Promise<void> {
    this.epochs.close();
    if (!remove) await this.saveWindow();
    await this.#change(async () => {
      this.#isClosed = true;
    });
    await this.balancer.close();
    await (remove ? this.#store.remove() : this.#store.close());
    this.#metrics.remove();
  }

  #savedCounters() {
    const { lastStep } = this.#steps;
    return { ...this.#counters, ...(lastStep === undefined ? {} : { lastStep }) };
  }

  /** What the ranks are, as a topology that the policy can plan; undefined when it cannot. */
  #plannable({ deadRanks, speed }: KnownRanks): Topology | undefined {
    const { whole, policy } = this.#parts;
    try {
      const { rankSpeed: _, ...others } = whole;
      const now = checkTopology({ ...others, deadRanks, ...(speed && { rankSpeed: speed }) });
      checkPlannable(policy.kernelRequest(), now);
      return { ...others, deadRanks, ...(speed && { rankSpeed: speed }) };
    } catch (error) {
      if (isOwnError(error) && error.code === 'EPLB_TOPOLOGY') return undefined;
      throw error;
    }
  }

  /** Ranks are dead or slow from now on: plans are for those that live, as far as the policy can. */
  #changeRanks(deadRanks: readonly number[], speed: readonly number[] | null): void {
    if (String(deadRanks) === String(this.#ranks.deadRanks) && String(speed) === String(this.#ranks.speed))
      return;
    this.#ranks = { deadRanks, speed };
    this.#configKey = undefined;
    this.#ranksArePlanned = this.#plannable(this.#ranks) !== undefined;
    if (!this.#ranksArePlanned) return;
    this.balancer.changeTopology({ deadRanks, rankSpeed: speed ?? this.#ranksAlike });
    // The window is of other slots now.
    this.#unsavedSteps++;
    this.#commitLive();
  }

  get #ranksAlike(): readonly number[] {
    return Array.from({ length: this.declaration.numRanks }, () => 1);
  }

  #epochHost(onFault: (error: unknown) => void): EpochHost {
    const group = this;
    return {
      name: this.name,
      declaration: this.declaration,
      whole: this.#parts.whole,
      get isPaused() {
        return group.isPaused;
      },
      get isDryRun() {
        return group.isDryRun;
      },
      live: () => ({ epoch: this.epoch, held: this.#epochs.live }),
      answered: (digest) => this.#epochs.answered(digest),
      mappingAt: (epoch) => this.mappingAt(epoch),
      averageLoads: () => this.#averageLoads(),
      nextStep: () => (this.#steps.lastStep ?? 0) + 1,
      change: (work) => this.#change(work),
      append: (record) => this.#append(record),
      goLive: (epoch, next) => this.#goLive(epoch, next),
      changeRanks: (deadRanks, speed) => this.#changeRanks(deadRanks, speed),
      repairOf,
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
        plans: this.#plans.map(([id, plan]) => [id, recordOf(plan)] as const),
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
