import { show } from '../core/checks.ts';
import { EplbTypeError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import type { LoadMatrix, LoadRow, LoadsInput } from '../loads/load-matrix.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { BalancerDecision } from '../policy/decision.ts';
import { BalancerPlans } from './balancer-plans.ts';
import type { CommitOptions } from './commit-options.ts';
import { LiveState } from './live-state.ts';
import type { EplbMetrics } from './metrics.ts';
import { OpenState } from './open-state.ts';
import { changedSettings, type ExpertLoadBalancerOptions, readOptions } from './options.ts';
import type { PlanOptions, RebalanceOptions } from './plan-request.ts';
import { Planner } from './planner.ts';
import { restoreSnapshot, takeSnapshot } from './restore.ts';
import type { SharedParts, TopologyListener } from './shared-parts.ts';
import type { TopologyChange, TopologyChanged } from './topology-change.ts';

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
  readonly #openState = new OpenState();
  readonly #live: LiveState;
  readonly #planner: Planner;
  readonly #plans: BalancerPlans;
  readonly #loops: SharedParts['loops'] = new Set();
  readonly #stepListeners = new Set<() => void>();
  readonly #topologyListeners = new Set<TopologyListener>();

  static {
    sharedParts = (balancer) => {
      const live = balancer.#live;
      return {
        published: () => live.share(),
        window: live.window,
        sources: live.sources,
        isFresh: (mapping, from) => live.mappings.isFresh(mapping, from),
        isClosed: () => balancer.#openState.isClosed,
        onClose: (listener) => balancer.#openState.onClose(listener),
        onStep: (listener) => listen(balancer.#stepListeners, listener),
        onTopology: (listener) => listen(balancer.#topologyListeners, listener),
        gains: live.gains,
        events: live.events,
        loops: balancer.#loops,
        newestLoads: live.newestLoads,
        numSteps: () => live.numSteps,
        toldElsewhere: balancer.#plans.toldElsewhere,
        planIfUneven: (threshold, signal) => balancer.#plans.decideIfUneven(threshold, signal),
      };
    };
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
    this.threads = settings.threads;
    this.#live = new LiveState(settings, this.#openState);
    const { region, job } = this.#live.made;
    this.#planner = new Planner(settings, region, job, this.#openState);
    this.#plans = new BalancerPlans(this.#live, this.#planner);
  }

  /** The sizes, and what is known of the ranks, checked: as they are now, see {@link changeTopology}. */
  get topology(): Topology {
    return this.#live.topology;
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
    return this.#live.window.numSamples;
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
    this.#live.window.recordPhysical(layer, loads);
  }

  /** As {@link recordLoad}, for the tokens each expert got: loads [logical]. */
  recordLogicalLoad(layer: number, loads: LoadRow): void {
    this.#openState.check();
    this.#live.window.recordLogical(layer, loads);
  }

  /**
   * Ends the step being recorded, with what connected threads have recorded: it becomes the newest sample of
   * the window. Never throws for loads: what only adds up to more than the largest float32 (loads of several
   * threads, or of slots and of experts) counts as that. Its cost does not grow with the window; a step of
   * whole loads up to 65,535 a slot takes half of what another one does.
   */
  advanceWindow(): void {
    this.#openState.check();
    this.#live.advance();
    for (const listener of this.#stepListeners) listener();
    const live = this.#live;
    live.events.tell('load', () => ({ ...live.eventHead, numSteps: live.numSteps }));
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
    const live = this.#live;
    const settings = changedSettings(live.made.settings, change);
    const { former, ...relaid } = live.relay(settings);
    this.#planner.changeTopology(settings, live.made.region, live.made.job);
    live.publish();
    for (const source of live.sources) source.moved?.();
    former?.mapping.close();
    const changed = { ...relaid, generation: live.generation };
    for (const listener of [...this.#topologyListeners]) listener(changed);
    const { numRanks, deadRanks = [] } = this.topology;
    live.events.tell('topology', () => ({
      ...{ ...live.eventHead, numRanks, deadRanks, hostLoads: changed.hostLoads.length },
    }));
    return changed;
  }

  /**
   * The mean tokens per step of each slot, [layers x physical], over the samples recorded so far. What was
   * recorded under an older mapping, or for experts, counts for every replica of the expert evenly; so does
   * what was recorded per slot in a layer that got loads of experts in the same step. A copy.
   */
  getAverageLoad(): LoadMatrix {
    return this.#live.window.averagePhysical();
  }

  /**
   * The mean tokens per step of each expert, [layers x logical], over the samples recorded so far: right to
   * the rounding to float32, whatever loads have left the window. A copy.
   */
  getAverageLogicalLoad(): LoadMatrix {
    return this.#live.window.averageLogical();
  }

  /** The mapping's and the window's tables, copied: as large as the window, so not for every step. */
  metrics(): EplbMetrics {
    const { numLayers, numPhysicalExperts, numLogicalExperts } = this.topology;
    return {
      numLayers,
      numPhysicalExperts,
      numLogicalExperts,
      numSamples: this.#live.window.numSamples,
      workersStarted: this.#planner.workers.started,
      workersWoken: this.#planner.workers.woken,
      realisedGains: this.#live.gains.gains,
      gainBar: this.#live.gains.bar(this.#live.numSteps),
      physicalToLogical: this.mapping.phyToLog,
      logicalToPhysical: this.mapping.logToPhy,
      logicalReplicaCount: this.mapping.replicaCount,
      expertLoadPass: this.#live.window.pass(),
      expertLoadWindow: this.#live.window.samples(),
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
    return this.#plans.rebalance(weight, options);
  }

  /**
   * As {@link rebalance}, in the calling thread, which it blocks for the whole plan. Not for a policy given
   * as a URL. Another mapping can only go live meanwhile when the policy itself commits one.
   */
  rebalanceSync(weight?: LoadsInput, options: Omit<RebalanceOptions, 'signal'> = {}): ExpertMapping {
    return this.#plans.rebalanceSync(weight, options);
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
    return this.#plans.decide(weight, options);
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
   * is not a generation. Nothing changes then.
   */
  commit(mapping: ExpertMapping, options: CommitOptions = {}): void {
    this.#live.commit(mapping, options);
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
    this.#live.commitLayers(mapping, layers, options);
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
    return takeSnapshot(this.#live);
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
    restoreSnapshot(this.#live, snapshot);
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
}

/** Adds a listener. @returns what takes it away */
function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
