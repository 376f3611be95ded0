import { show } from '../core/checks.ts';
import { EplbError, EplbTypeError } from '../core/errors.ts';
import { codeOf, EventTeller, type GroupEvent } from '../core/events.ts';
import { emptyClosedSlots, openSlotsOfRanks } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';
import type { LoadMatrix, LoadRow, LoadsInput } from '../loads/load-matrix.ts';
import type { LoadWindow } from '../loads/load-window.ts';
import { refill } from '../loads/refill-window.ts';
import { checkShape } from '../mapping/check-shape.ts';
import { checkMapping, ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { LiveMapping } from '../mapping/live-mapping.ts';
import { makePublished, type PublishedState } from '../mapping/published-mapping.ts';
import { rankLayoutOf, relayRanks } from '../mapping/relay-ranks.ts';
import { checkClosedSlots } from '../policy/closed-slots.ts';
import type { BalancerDecision, PlanDecision } from '../policy/decision.ts';
import { keepMemory, memoryOf } from '../policy/history.ts';
import { repairSlots } from '../policy/repair/repair.ts';
import { type CommitOptions, readCommitOptions, readLayers } from './commit-options.ts';
import type { GainRecord } from './gain-record.ts';
import type { EplbMetrics } from './metrics.ts';
import { OpenState } from './open-state.ts';
import { changedSettings, type ExpertLoadBalancerOptions, readOptions } from './options.ts';
import { type PlanOutcome, planEvent } from './plan-event.ts';
import {
  type PlanOptions,
  type PlanRequest,
  REBALANCE_NAMES,
  type RebalanceOptions,
  readMostPlans,
} from './plan-request.ts';
import { Planner, type PlanSource } from './planner.ts';
import { decodeSnapshot, encodeSnapshot, type SnapshotSizes } from './snapshot.ts';
import type { TopologyChange, TopologyChanged } from './topology-change.ts';
import { makeState, movedState, type TopologyState } from './topology-state.ts';

/** Other threads' loads, on their way into the window. */
export interface LoadSource {
  /** Brings what was recorded into the step being recorded; called before a step ends. */
  drain(): void;
  /** A mapping went live. */
  committed(): void;
  /** The mapping is published elsewhere from now on, as the topology has changed. */
  moved?(): void;
}

/** Is told of a change of the topology. */
type TopologyListener = (changed: TopologyChanged) => void;

/** What the library's other parts need of a balancer at the moment: sharing it with threads, watching it. */
export interface SharedParts {
  /** Where other threads read the live mapping: from the first call on. */
  published(): PublishedState;
  readonly window: LoadWindow;
  readonly sources: Set<LoadSource>;
  /** Whether a mapping may go live that was made from this generation. */
  isFresh(mapping: ExpertMapping, from: number): boolean;
  isClosed(): boolean;
  /** Tells when the balancer is closed. @returns what ends that */
  onClose(listener: () => void): () => void;
  /** Tells when a step has ended. @returns what ends that */
  onStep(listener: () => void): () => void;
  /** Tells when the topology has changed. @returns what ends that */
  onTopology(listener: TopologyListener): () => void;
  readonly gains: GainRecord;
  readonly events: EventTeller;
  /** The rebalancers that run. */
  readonly loops: Set<{ readonly rebalanceInterval: number }>;
  /** Writes the loads of experts of a layer in the step that ended last. */
  newestLoads(layer: number, out: Float32Array): void;
  /** Steps that were ever recorded. */
  numSteps(): number;
  /** Of plans that their caller tells of itself. */
  readonly toldElsewhere: WeakSet<AbortSignal>;
  /**
   * Plans from the window as `plan` does, or resolves to undefined when its ranks' loads do not differ by
   * more than this.
   */
  planIfUneven(imbalanceThreshold: number, signal: AbortSignal): Promise<BalancerDecision | undefined>;
}

/** Returns `value` when it is a balancer. @throws EplbTypeError `EPLB_KIND` */
export function checkBalancer(title: string, value: unknown): ExpertLoadBalancer {
  if (value instanceof ExpertLoadBalancer) return value;
  throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not an ExpertLoadBalancer`);
}

/** The inner parts of a balancer. Internal. */
export let sharedParts: (balancer: ExpertLoadBalancer) => SharedParts;

/**
 * Records the tokens each expert got, step by step, and plans which experts to replicate and where.
 *
 * Recording and reading are synchronous and cheap; planning runs in worker threads and never blocks the
 * caller. Plans of one balancer are made one after the other. One thread owns a balancer; `shareBalancer`
 * lets others take part.
 *
 * @example
 * ```ts
 * const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
 * await using balancer = new ExpertLoadBalancer(sizes);
 * balancer.recordLogicalLoad(0, [90, 10, 40, 60]);
 * balancer.advanceWindow();
 * const mapping = await balancer.rebalance();
 * mapping.getPhysicalExperts(0, 0); // the slots of expert 0
 * ```
 */
export class ExpertLoadBalancer {
  readonly windowSize: number;
  /** What events and metrics call it. */
  readonly name: string;
  /** The most worker threads that a plan may have; 0 when plans are made in this thread. */
  readonly threads: number;
  /** What is made anew when the topology changes. */
  #state: TopologyState;
  readonly #planner: Planner;
  readonly #openState = new OpenState();
  readonly #sources = new Set<LoadSource>();
  readonly #live: LiveMapping;
  readonly #events: EventTeller;
  readonly #loops: SharedParts['loops'] = new Set();
  readonly #toldElsewhere = new WeakSet<AbortSignal>();
  readonly #stepListeners = new Set<() => void>();
  readonly #topologyListeners = new Set<TopologyListener>();
  /** That were ever recorded. */
  #numSteps = 0;
  /** Where other threads read the live mapping, once any may. */
  #published: PublishedState | undefined;

  static {
    sharedParts = (balancer) => ({
      published: () => balancer.#share(),
      window: balancer.#window,
      sources: balancer.#sources,
      isFresh: (mapping, from) => balancer.#live.isFresh(mapping, from),
      isClosed: () => balancer.#openState.isClosed,
      onClose: (listener) => balancer.#openState.onClose(listener),
      onStep: (listener) => listen(balancer.#stepListeners, listener),
      onTopology: (listener) => listen(balancer.#topologyListeners, listener),
      gains: balancer.#gains,
      events: balancer.#events,
      loops: balancer.#loops,
      newestLoads: balancer.#newestLoads,
      numSteps: () => balancer.#numSteps,
      toldElsewhere: balancer.#toldElsewhere,
      planIfUneven: (threshold, signal) =>
        balancer.#planner.enqueue(() => balancer.#decideIfUneven(threshold, signal)),
    });
  }

  /**
   * Carves all memory the balancer will ever use; no thread is started before the first plan.
   *
   * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION` for an option of another name; EplbRangeError
   * `EPLB_NOT_WHOLE`, `EPLB_RANGE`, `EPLB_SHAPE`, `EPLB_TOPOLOGY`, or `EPLB_MEMORY` when the memory, of which
   * the message says how much, cannot be had
   */
  constructor(options: ExpertLoadBalancerOptions) {
    const settings = readOptions(options);
    this.windowSize = settings.windowSize;
    this.name = settings.name;
    this.#events = new EventTeller(settings.name);
    this.threads = settings.threads;
    this.#state = makeState(settings);
    this.#live = new LiveMapping(this.#state.first);
    this.#planner = new Planner(settings, this.#state.region, this.#state.job, this.#openState);
  }

  /** The sizes, and what is known of the ranks, checked: as they are now, see {@link changeTopology}. */
  get topology(): Topology {
    return this.#state.settings.topology;
  }

  get #window(): LoadWindow {
    return this.#state.window;
  }

  /** What plans promised, and what came. */
  get #gains(): GainRecord {
    return this.#state.gains;
  }

  /**
   * The live mapping. At first, expert i is in slot i, of those that are open, and the redundant slots repeat
   * the experts from 0 on.
   */
  get mapping(): ExpertMapping {
    return this.#live.mapping;
  }

  /** How often the live mapping was replaced. */
  get generation(): number {
    return this.#live.generation;
  }

  /** Steps in the window. */
  get numSamples(): number {
    return this.#window.numSamples;
  }

  /** How far the plan in flight is; both 0 when there is none. */
  get planProgress(): { layersDone: number; numLayers: number } {
    return this.#planner.progress;
  }

  /**
   * Adds the tokens each slot of the live mapping got to the step being recorded. Loads given twice in a step
   * add up. What an empty slot is given is shown as it was recorded, but counts for no expert and in no
   * average.
   *
   * @param loads [physical], finite in float32 and >= 0, also together with what the step has; copied
   * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_LAYER`, `EPLB_SHAPE`, `EPLB_LOAD`; nothing is
   * recorded then
   */
  recordLoad(layer: number, loads: LoadRow): void {
    this.#openState.check();
    this.#window.recordPhysical(layer, loads);
  }

  /** As {@link recordLoad}, for the tokens each expert got: loads [logical]. */
  recordLogicalLoad(layer: number, loads: LoadRow): void {
    this.#openState.check();
    this.#window.recordLogical(layer, loads);
  }

  /**
   * Ends the step being recorded, with what connected threads have recorded: it becomes the newest sample of
   * the window. Never throws for loads: what only adds up to more than the largest float32 (loads of several
   * threads, or of slots and of experts) counts as that. Its cost does not grow with the window; a step of
   * whole loads up to 65,535 a slot takes half of what another one does.
   */
  advanceWindow(): void {
    this.#openState.check();
    for (const source of this.#sources) source.drain();
    this.#window.advance();
    this.#numSteps++;
    this.#gains.step(this.#newestLoads);
    for (const listener of this.#stepListeners) listener();
    this.#events.tell('load', () => ({ ...this.#eventHead, numSteps: this.#numSteps }));
  }

  /**
   * Tells of ranks that died, came back, became slower or faster, were added or taken away: between two
   * plans, while the host goes on. Experts that no live rank has any more get slots that others can spare, by
   * {@link repair}: so the live mapping is whole again at once, though the weights of `hostLoads` have to be
   * loaded. New ranks are empty until the next plan fills them.
   *
   * The window is kept, by experts. A plan in flight is stale, like all that was made before; a rebalance in
   * flight plans again. Threads that are connected go on, and see the new topology with the new mapping.
   * Blocks the calling thread for as long as copying the window takes.
   *
   * @param change what becomes of the ranks: what is left out stays as it is. `deadRanks` names all that are
   * dead, `[]` that all live.
   * @throws EplbError `EPLB_CLOSED`; EplbTypeError, EplbRangeError for wrong options; EplbRangeError
   * `EPLB_TOPOLOGY` when the live ranks have fewer slots than there are experts, or for a topology that the
   * policy cannot plan, `EPLB_MEMORY`. Nothing changes then.
   * @example
   * ```ts
   * const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 3 };
   * await using balancer = new ExpertLoadBalancer({ ...sizes, policy: new AdaptiveEplbPolicy() });
   * const { hostLoads } = balancer.changeTopology({ deadRanks: [1] });
   * hostLoads; // [{ layer: 0, expert: 2, rank: 0, slot: 0 }, { layer: 0, expert: 3, rank: 0, slot: 1 }]
   * balancer.mapping.phyToLog; // [2, 3, -1, -1, 0, 1]
   * await balancer.rebalance([[90, 10, 40, 60]]); // for balance on the ranks that are left
   * ```
   */
  changeTopology(change: TopologyChange): TopologyChanged {
    this.#openState.check();
    const settings = changedSettings(this.#state.settings, change);
    for (const source of this.#sources) source.drain();
    const { mapping, hostLoads, brokenRules } = this.#relaid(settings.topology);
    const next = movedState(this.#state, settings, this.mapping, mapping);
    const former = this.#published;
    this.#published = former && makePublished(settings.topology);
    this.#state = next;
    this.#live.relay(mapping, this.#numSteps);
    this.#planner.changeTopology(settings, next.region, next.job);
    this.#publish();
    for (const source of this.#sources) source.moved?.();
    former?.mapping.close();
    const { generation } = this;
    const changed = { mapping, generation, hostLoads, brokenRules };
    for (const listener of [...this.#topologyListeners]) listener(changed);
    const { numRanks, deadRanks = [] } = this.topology;
    this.#events.tell('topology', () => ({
      ...{ ...this.#eventHead, numRanks, deadRanks, hostLoads: hostLoads.length },
    }));
    return changed;
  }

  /** The live mapping on other ranks. */
  #relaid(next: Topology): Omit<TopologyChanged, 'generation'> {
    const { topology } = this;
    const { phyToLog } = tablesOf(this.mapping);
    const slots = relayRanks(phyToLog, topology.numLayers, rankLayoutOf(topology), rankLayoutOf(next));
    emptyClosedSlots(slots, next);
    const loads = this.#window.averageLogical();
    const openSlots = openSlotsOfRanks(next);
    const { rankSpeed, deadRanks, rules } = next;
    return repairSlots(slots, { loads, openSlots, rankSpeed, deadRanks, rules });
  }

  /**
   * The mean tokens per step of each slot, [layers x physical], over the samples recorded so far. What was
   * recorded under an older mapping, or for experts, counts for every replica of the expert evenly; so does
   * what was recorded per slot in a layer that got loads of experts in the same step. A copy.
   */
  getAverageLoad(): LoadMatrix {
    return this.#window.averagePhysical();
  }

  /**
   * The mean tokens per step of each expert, [layers x logical], over the samples recorded so far: right to
   * the rounding to float32, whatever loads have left the window. A copy.
   */
  getAverageLogicalLoad(): LoadMatrix {
    return this.#window.averageLogical();
  }

  /** The mapping's and the window's tables, copied: as large as the window, so not for every step. */
  metrics(): EplbMetrics {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.topology;
    return {
      numLayers,
      numPhysicalExperts,
      numLogicalExperts,
      numSamples: this.#window.numSamples,
      workersStarted: this.#planner.workers.started,
      workersWoken: this.#planner.workers.woken,
      realisedGains: this.#gains.gains,
      gainBar: this.#gains.bar(this.#numSteps),
      physicalToLogical: this.mapping.phyToLog,
      logicalToPhysical: this.mapping.logToPhy,
      logicalReplicaCount: this.mapping.replicaCount,
      expertLoadPass: this.#window.pass(),
      expertLoadWindow: this.#window.samples(),
    };
  }

  /**
   * Starts the worker threads now instead of with the first plan, which is then as quick as the others, and
   * loads the module of a policy that is given as a URL.
   *
   * @throws (as a rejection) EplbError `EPLB_CLOSED`, `EPLB_WORKER_LOST`, `EPLB_POLICY` for a module that
   * cannot be loaded or exports no policy; `EPLB_THREADS` where no thread can be had, `EPLB_RUNTIME`
   */
  async start(): Promise<void> {
    await this.#planner.start();
  }

  /**
   * Plans a mapping and makes it live, unless another one went live meanwhile: that is never undone, see
   * {@link RebalanceOptions.ifStale}.
   *
   * @param weight loads [layers x logical] to plan for; the average of the window when left out
   * @returns the mapping that is live by then
   * @throws as {@link plan}
   */
  async rebalance(weight?: LoadsInput, options: RebalanceOptions = {}): Promise<ExpertMapping> {
    const mostPlans = readMostPlans(options);
    const request = this.#planner.take(weight, options, REBALANCE_NAMES);
    return this.#planner.enqueue(async () => {
      for (let plans = 0; plans < mostPlans; plans++) {
        const { mapping, generation } = await this.#told(() => this.#decide(request));
        // Made live before the next plan begins, which is to start from it.
        if (generation === this.generation) return this.#makeLive(mapping);
      }
      return this.mapping;
    });
  }

  /**
   * As {@link rebalance}, in the calling thread, which it blocks for the whole plan. Not for a policy given
   * as a URL. Another mapping can only go live meanwhile when the policy itself commits one.
   */
  rebalanceSync(weight?: LoadsInput, options: Omit<RebalanceOptions, 'signal'> = {}): ExpertMapping {
    for (let plansLeft = readMostPlans(options); plansLeft > 0; plansLeft--) {
      const { generation } = this;
      const { mapping, ...decision } = this.#planSync(weight, options);
      if (decision.status === 'planned') this.#gains.expect(mapping, decision.forecast);
      if (generation === this.generation) return this.#makeLive(mapping);
    }
    return this.mapping;
  }

  /**
   * Plans a mapping without making it live, for hosts that move weights first and {@link commit} then.
   * Resolves to the live mapping itself when it is to stay, or when there is nothing to plan from: no
   * `weight` and no sample.
   *
   * @param weight loads [layers x logical]; the average of the window as it is when the plan begins, when
   * left out
   * @throws (as a rejection) EplbTypeError and EplbRangeError for wrong arguments; EplbError `EPLB_CLOSED`,
   * `EPLB_CANCELLED`, `EPLB_WORKER_LOST`, `EPLB_THREADS`, `EPLB_RUNTIME` or `EPLB_POLICY`. The live mapping
   * is untouched then.
   */
  async plan(weight?: LoadsInput, options: PlanOptions = {}): Promise<ExpertMapping> {
    return (await this.decide(weight, options)).mapping;
  }

  /**
   * As {@link plan}, with what the policy says of it: 'planned', with what to expect of the mapping when the
   * policy forecasts that, or 'kept', with the live mapping itself and the reason. `generation` is what it
   * was planned from.
   */
  async decide(weight?: LoadsInput, options: PlanOptions = {}): Promise<BalancerDecision> {
    const request = this.#planner.take(weight, options);
    const plan = () => this.#planner.enqueue(() => this.#decide(request));
    const { signal } = request;
    return signal && this.#toldElsewhere.has(signal) ? plan() : this.#told(plan);
  }

  /**
   * Makes a mapping live. Loads recorded so far stay with the mapping they were recorded under.
   *
   * A mapping that this balancer planned goes live only while the mapping that it was planned from is live:
   * it says which weights move from where. Mappings made elsewhere and those that once were live (a rollback)
   * are only checked against `from`.
   *
   * @throws EplbError `EPLB_STALE` for a mapping that was made from another generation than the live one,
   * `EPLB_CLOSED`; EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE` for a mapping of another shape,
   * `EPLB_MAPPING` for one with an expert in a closed slot, `EPLB_RANGE`, `EPLB_NOT_WHOLE` for a `from` that
   * is no generation. Nothing changes then.
   */
  commit(mapping: ExpertMapping, options: CommitOptions = {}): void {
    this.#checkCommit(mapping, options);
    this.#makeLive(mapping);
  }

  /**
   * Makes layers of a mapping live, and leaves all others as they are: for hosts that move weights layer by
   * layer. The live mapping is a new whole one, with a generation of its own. Loads recorded so far stay with
   * the mapping they were recorded under, in all layers.
   *
   * It is checked as {@link commit} checks. What is left of a mapping stays good while nothing but its own
   * layers goes live; `from` still names the generation that all of it was made from. When its last layer
   * goes live the mapping itself is the live one. Layers that are live already change nothing.
   *
   * @param layers from 0, each once, in any order
   * @throws as {@link commit}; EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_LAYER` for a layer that there
   * is not or that is named twice, `EPLB_NOT_WHOLE`, `EPLB_SHAPE` when none is named. Nothing changes then.
   * @example
   * ```ts
   * const sizes = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
   * await using balancer = new ExpertLoadBalancer(sizes);
   * const mapping = await balancer.plan([[90, 10, 40, 60], [10, 90, 40, 60]]);
   * balancer.commitLayers(mapping, [1]); // EPLB_STALE when anything else went live meanwhile
   * balancer.commitLayers(mapping, [0]);
   * balancer.mapping === mapping; // true
   * ```
   */
  commitLayers(mapping: ExpertMapping, layers: readonly number[], options: CommitOptions = {}): void {
    const from = this.#checkCommit(mapping, options);
    const named = readLayers(layers, this.topology.numLayers);
    const joined = this.#live.joined(mapping, named);
    if (joined === this.mapping || joined === mapping) {
      this.#makeLive(joined);
      return;
    }
    keepMemory(joined, this.#joinMemories(mapping, named));
    const replace = () => this.#live.replaceLayers(joined, mapping, named, this.#numSteps, from);
    this.#goLive(joined, mapping, named, replace);
  }

  /**
   * All that the balancer knows, as bytes: the live mapping, the window, the step being recorded, and what
   * the policy remembers. A balancer of the same sizes that is restored from it plans the same, byte for
   * byte: so an engine starts warm. Blocks the calling thread for as long as copying the window takes. Not of
   * other threads' loads that no step has taken yet.
   *
   * @example
   * ```ts
   * await writeFile('balancer.snapshot', balancer.snapshot());
   * // ... in the next process
   * next.restore(await readFile('balancer.snapshot'));
   * ```
   */
  snapshot(): Uint8Array {
    const { isPlanned, since } = this.#live;
    return encodeSnapshot(this.#sizes, {
      phyToLog: tablesOf(this.mapping).phyToLog,
      logToPhy: this.mapping.logToPhy,
      isFirst: this.#live.isFirst(this.mapping),
      isPlanned,
      numSteps: this.#numSteps,
      since,
      memory: memoryOf(this.mapping) ?? new Uint8Array(),
      gains: this.#gains.content(),
      window: this.#window.content(),
      samples: this.#window.sampleMemory?.content(),
    });
  }

  /**
   * Takes over what another balancer of the same sizes and the same kind of policy knew. The mapping goes
   * live as if it were committed.
   *
   * @param snapshot as `snapshot()` gave it; read, not kept
   * @throws EplbError `EPLB_CLOSED`, `EPLB_STALE` when this balancer has recorded or committed anything
   * itself; EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_FORMAT` for bytes that are damaged or no
   * snapshot, `EPLB_SHAPE` for a balancer of other sizes, `EPLB_MAPPING`. Nothing changes then.
   */
  restore(snapshot: Uint8Array): void {
    this.#openState.check();
    const { numLayers, numLogicalExperts } = this.topology;
    const content = decodeSnapshot(snapshot, this.#sizes);
    const isNew = this.#numSteps === 0 && this.generation === 0 && this.#window.content().rows.length === 0;
    if (!isNew) {
      const message = 'the balancer has recorded steps or committed mappings of its own: restore a new one';
      throw new EplbError('EPLB_STALE', message);
    }
    const { isFirst, isPlanned, phyToLog, logToPhy, since, memory, window, samples } = content;
    const mapping = isFirst
      ? this.mapping
      : new ExpertMapping({ phyToLog, logToPhy, numLayers, numLogicalExperts });
    checkShape('snapshot', mapping, this.topology);
    checkClosedSlots('snapshot', tablesOf(mapping).phyToLog, this.topology);
    refill(this.#window, this.topology, window, mapping);
    if (samples !== undefined) this.#window.sampleMemory?.refill(samples);
    this.#numSteps = content.numSteps;
    if (memory.length > 0) keepMemory(mapping, memory);
    this.#live.resume(mapping, isPlanned, since);
    this.#gains.refill(content.gains, mapping);
    if (!isFirst) this.#publish();
  }

  /**
   * Cancels the plan in flight, ends the threads and refuses all further work. Reading stays possible.
   * Idempotent.
   */
  async close(): Promise<void> {
    await this.#planner.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @returns the generation that the mapping was made from, where the options say so. */
  #checkCommit(mapping: ExpertMapping, options: CommitOptions): number | undefined {
    try {
      return this.#checkedCommit(mapping, options);
    } catch (error) {
      const { message } = error as Error;
      this.#events.tell('refusal', () => ({ ...this.#eventHead, code: codeOf(error), message }));
      throw error;
    }
  }

  #checkedCommit(mapping: ExpertMapping, options: CommitOptions): number | undefined {
    this.#openState.check();
    const { from, force } = readCommitOptions(options);
    checkMapping('mapping', mapping);
    // First: a plan that is stale as ranks have changed may have another shape, too.
    if (!force) this.#live.checkFresh(mapping, from);
    checkShape('mapping', mapping, this.topology);
    checkClosedSlots('mapping', tablesOf(mapping).phyToLog, this.topology);
    return from;
  }

  #makeLive(mapping: ExpertMapping): ExpertMapping {
    if (mapping === this.mapping) return mapping;
    const layers = Array.from({ length: this.topology.numLayers }, (_, layer) => layer);
    this.#goLive(mapping, mapping, layers, () => this.#live.replace(mapping, this.#numSteps));
    return mapping;
  }

  /** @param plan what these layers are of */
  #goLive(mapping: ExpertMapping, plan: ExpertMapping, layers: Iterable<number>, replace: () => void): void {
    this.#window.changeMapping(mapping);
    this.#gains.committed(plan, this.mapping, mapping, layers, this.#numSteps);
    const before = this.mapping;
    replace();
    this.#publish();
    const { numRanks } = this.topology;
    this.#events.tell('commit', () => ({
      ...{ ...this.#eventHead, digest: mapping.digest(), moves: mapping.movesFrom(before, numRanks) },
    }));
  }

  /** What the policy remembers when layers of a mapping are live: of each what was left with its plan. */
  #joinMemories(next: ExpertMapping, layers: ReadonlySet<number>): Uint8Array | undefined {
    const { since } = this.#live;
    const sinceNext = this.#live.sinceOf(next, this.#numSteps);
    const newest = Math.max(since, sinceNext);
    const partOf = (mapping: ExpertMapping, plannedAt: number) => ({
      memory: memoryOf(mapping),
      isInitial: this.#live.isFirst(mapping),
      extraSteps: newest - plannedAt,
    });
    const [named, others] = [partOf(next, sinceNext), partOf(this.mapping, since)];
    return this.#planner.joinMemories((layer) => (layers.has(layer) ? named : others));
  }

  /** Publishes the mapping from now on: a commit of a balancer that nobody shares need not copy it. */
  #share(): PublishedState {
    if (this.#published !== undefined) return this.#published;
    const published = makePublished(this.topology);
    this.#published = published;
    this.#publish();
    return published;
  }

  /** Shows other threads what is live. */
  #publish(): void {
    this.#published?.mapping.write(this.mapping, this.generation);
    for (const source of this.#sources) source.committed();
  }

  get #sizes(): SnapshotSizes {
    const samples = this.#window.sampleMemory?.sizes;
    return { topology: this.topology, windowSize: this.windowSize, samples };
  }

  /** What every event begins with. */
  get #eventHead(): GroupEvent {
    return { group: this.name, epoch: this.generation };
  }

  /** Plans, and tells what became of that. */
  async #told(plan: () => Promise<BalancerDecision>): Promise<BalancerDecision> {
    const startMs = performance.now();
    try {
      const decision = await plan();
      this.#tellPlan(decision, startMs);
      return decision;
    } catch (error) {
      this.#tellPlan({ status: 'failed', reason: codeOf(error) }, startMs);
      throw error;
    }
  }

  #planSync(weight: LoadsInput | undefined, options: Omit<RebalanceOptions, 'signal'>): PlanDecision {
    const startMs = performance.now();
    const decision = this.#planner.planSync(weight, options, this.#source);
    this.#tellPlan(decision, startMs);
    return decision;
  }

  #tellPlan(outcome: PlanOutcome, startMs: number): void {
    const seconds = (performance.now() - startMs) / 1000;
    this.#events.tell('plan', () => planEvent(this, outcome, seconds));
  }

  async #decide(request: PlanRequest): Promise<BalancerDecision> {
    const before = this.#now();
    return this.#note(await this.#planner.plan(request, () => this.#source), before);
  }

  async #decideIfUneven(threshold: number, signal: AbortSignal): Promise<BalancerDecision | undefined> {
    const before = this.#now();
    const decision = await this.#planner.planIfUneven(threshold, signal, () => this.#source);
    return decision && this.#note(decision, before);
  }

  /**
   * Remembers what a plan was made from. What stays is the mapping that is live now: one that is live no more
   * must not come back by the commit of a plan that changes nothing.
   */
  #note(decision: PlanDecision, before: PlanMoment): BalancerDecision {
    const { generation, numSteps } = before;
    if (decision.status === 'planned') {
      this.#live.notePlan(decision.mapping, generation, numSteps);
      // What was planned for other ranks never goes live as it is.
      if (generation >= this.#live.relaidAt) this.#gains.expect(decision.mapping, decision.forecast);
    }
    const isKept = decision.status === 'kept' && decision.mapping === before.mapping;
    return { ...decision, mapping: isKept ? this.mapping : decision.mapping, generation };
  }

  #now(): PlanMoment {
    return { mapping: this.mapping, generation: this.generation, numSteps: this.#numSteps };
  }

  readonly #newestLoads = (layer: number, out: Float32Array) => this.#window.newestLogical(layer, out);

  get #source(): PlanSource {
    const { mapping } = this;
    const isInitial = this.#live.isFirst(mapping);
    const numNewSteps = this.#numSteps - this.#live.since;
    const history = { numNewSteps, isInitial, memory: memoryOf(mapping) };
    return { mapping, history, window: this.#window };
  }
}

/** Adds a listener. @returns what takes it away */
function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** What a plan is made from. */
interface PlanMoment {
  readonly mapping: ExpertMapping;
  readonly generation: number;
  readonly numSteps: number;
}
