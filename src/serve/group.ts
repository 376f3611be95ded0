import { performance } from 'node:perf_hooks';
import { sharedParts } from '../balancer/expert-load-balancer.ts';
import { EplbError, EplbRangeError, isOwnError } from '../core/errors.ts';
import { codeOf } from '../core/events.ts';
import type { CostModel } from '../cost/cost-model.ts';
import { type BalancerDecision, ExpertLoadBalancer, type ExpertMapping, type LoadSamples } from '../index.ts';
import type { LoadMatrix } from '../loads/load-matrix.ts';
import { tablesOf } from '../mapping/expert-mapping.ts';
import { canonical, type FullDeclaration, type GroupParts } from './declaration.ts';
import { tell } from './events.ts';
import { type GroupStore, type SavedGroup, type StateRecord, withPlan } from './group-store.ts';
import { type GroupView, viewOf } from './group-view.ts';
import { type EpochReport, type Held, held, LiveEpochs } from './live-epochs.ts';
import { type LoadReport, LoadSteps, type WholeStep } from './load-steps.ts';
import type { GroupMetrics } from './metrics.ts';
import {
  balancednessOf,
  forecastJson,
  hexSha256,
  mappingOfRecord,
  mappingRecord,
  type PlanResult,
  recordOf,
  resultOf,
} from './plan-result.ts';

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

/** What became of a report. */
export interface ReportOutcome {
  readonly status: 'recorded' | 'part' | 'again' | 'noted';
  readonly epoch: number;
  readonly digest: string;
}

/** A group of ranks: its balancer, its epoch, what was answered, and how it is kept. */
export class Group {
  readonly name: string;
  readonly declaration: FullDeclaration;
  readonly balancer: ExpertLoadBalancer;
  readonly cost: CostModel | undefined;
  /** Names the configuration in keys of plans. */
  readonly configKey: string;
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
  #numWaiting = 0;
  #lastChange: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(name: string, parts: GroupParts, store: GroupStore, metrics: (group: Group) => GroupMetrics) {
    const { declaration, topology, policy, cost } = parts;
    this.name = name;
    this.declaration = declaration;
    this.cost = cost;
    this.configKey = hexSha256(canonical(declaration));
    this.balancer = new ExpertLoadBalancer({ ...topology, policy, windowSize: declaration.windowSize });
    // The group itself tells of them, by its epochs.
    sharedParts(this.balancer).events.isMuted = true;
    this.#store = store;
    this.#steps = new LoadSteps(topology);
    this.#epochs = new LiveEpochs(this.balancer.mapping);
    this.#lastPrevious = this.#epochs.live;
    this.#dryRun = declaration.dryRun;
    this.#metrics = metrics(this);
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
    const snapshot = await this.#store.readWindow();
    if (snapshot !== undefined && this.#restore(snapshot)) this.#windowSource = 'refilled';
    if (saved.table === undefined) return;
    const mapping = mappingOfRecord(saved.table);
    if (!mapping.equals(this.balancer.mapping)) this.balancer.commit(mapping, { force: true });
    this.#epochs.go(saved.epoch, held(mapping));
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
      balancer: this.balancer,
      windowSource: this.#windowSource,
      lastStep: this.#steps.lastStep,
      numIncomplete: this.#steps.numIncomplete,
      counters: this.#counters,
      ages: this.#metrics.ages(),
      watched: this.#metrics.conditions(),
    });
  }

  /** The live mapping. */
  mapping(): ExpertMapping {
    return this.#epochs.live.mapping;
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
  setMode(mode: { readonly paused?: boolean; readonly dryRun?: boolean }): Promise<void> {
    return this.#change(async () => {
      const { paused = this.#paused, dryRun = this.#dryRun } = mode;
      if (paused === this.#paused && dryRun === this.#dryRun) return;
      await this.#append({ kind: 'mode', paused, dryRun });
      this.#paused = paused;
      this.#dryRun = dryRun;
    });
  }

  /**
   * Takes loads, and what the engine says it made live.
   *
   * @throws EplbError `EPLB_STALE`, `EPLB_CONFLICT`, `EPLB_CLOSED`, `EPLB_FILE`; EplbRangeError. Nothing
   * changes then.
   */
  report(report: StepReport): Promise<ReportOutcome> {
    const taken = this.#change<ReportOutcome>(async () => {
      const { loads } = report;
      const epoch = report.epoch ?? this.epoch;
      if (loads?.rank !== undefined) this.#metrics.rankServes(loads.rank, epoch);
      const next = this.#epochs.nextOf(report);
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
    return taken.catch((error) => {
      // Refused, but it says that ranks do not agree.
      if (codeOf(error) === 'EPLB_CONFLICT') this.#metrics.conflicted(error.message);
      this.#metrics.refused(codeOf(error));
      throw error;
    });
  }

  #checkReadable(kind: LoadReport['kind'], epoch: number, next: Held | undefined): void {
    if (kind === 'logical' || next !== undefined || this.#epochs.mappingAt(epoch) !== undefined) return;
    const message = `loads: the mapping of epoch ${epoch} is not known any more; the live one is ${this.epoch}`;
    throw new EplbError('EPLB_STALE', message);
  }

  async #makeLive(epoch: number, next: Held): Promise<void> {
    const { mapping } = next;
    await this.#append({ kind: 'live', epoch, table: mappingRecord(mapping) });
    const moves = mapping.movesFrom(this.#epochs.live.mapping, this.declaration.numRanks);
    this.balancer.commit(mapping, { force: true });
    this.#counters = { ...this.#counters, numMoves: this.#counters.numMoves + moves };
    this.#epochs.go(epoch, next);
    this.#metrics.committed(moves);
    tell('commit', () => ({ group: this.name, epoch, digest: next.digest, moves }));
  }

  #record({ epoch, kind, loads }: WholeStep): void {
    const isLive = kind === 'physical' && epoch === this.epoch;
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
    tell('load', () => ({ group: this.name, epoch: this.epoch, numSteps: this.#counters.numSteps }));
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
    decision: Extract<BalancerDecision, { status: 'planned' }>,
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
    if (before.digest === this.#epochs.live.digest && epoch === this.epoch) this.#epochs.remember(next);
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

  #append(record: StateRecord): Promise<void> {
    return this.#store.append(record, () => ({
      declaration: this.declaration,
      epoch: record.kind === 'live' ? record.epoch : this.epoch,
      table: record.kind === 'live' ? record.table : mappingRecord(this.#epochs.live.mapping),
      plans:
        record.kind === 'plan'
          ? withPlan(
              this.#plans.map(([id, plan]) => [id, recordOf(plan)] as const),
              record.planId,
              record.plan,
            )
          : this.#plans.map(([id, plan]) => [id, recordOf(plan)] as const),
      paused: record.kind === 'mode' ? record.paused : this.#paused,
      dryRun: record.kind === 'mode' ? record.dryRun : this.#dryRun,
      counters: this.#savedCounters(),
    }));
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
