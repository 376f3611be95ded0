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
import { OpenGate } from './open-gate.ts';
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
 * Records how many tokens each expert gets, step by step, and plans which experts to replicate and where.
 *
 * Recording and reading are synchronous and cheap. Planning runs in worker threads and never blocks the
 * caller. A balancer makes its plans one after the other. It belongs to one thread; `shareBalancer` lets
 * other threads take part.
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
  /** Its name in events and metrics. */
  readonly name: string;
  /** The most worker threads that a plan may use; 0 when plans are made in this thread. */
  readonly threads: number;
  readonly #openGate = new OpenGate();
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
        isClosed: () => balancer.#openGate.isClosed,
        onClose: (listener) => balancer.#openGate.onClose(listener),
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
   * Allocates all memory that recording and planning will ever use. What other threads read the mapping from
   * is allocated when the first of them connects. No thread is started before the first plan.
   *
   * @throws EplbTypeError `EPLB_KIND`, or `EPLB_OPTION` for an unknown option; EplbRangeError
   *   `EPLB_NOT_WHOLE`, `EPLB_RANGE`, `EPLB_SHAPE`, `EPLB_TOPOLOGY`, or `EPLB_MEMORY` when there is not
   *   enough memory: the message says how much is needed
   */
  constructor(options: ExpertLoadBalancerOptions) {
    const settings = readOptions(options);
    this.windowSize = settings.windowSize;
    this.name = settings.name;
    this.threads = settings.threads;
    this.#live = new LiveState(settings, this.#openGate);
    const { region, job } = this.#live.made;
    this.#planner = new Planner(settings, region, job, this.#openGate);
    this.#plans = new BalancerPlans(this.#live, this.#planner);
  }

  /** The sizes, and the properties of the ranks, checked: as they are now, see {@link changeTopology}. */
  get topology(): Topology {
    return this.#live.topology;
  }

  /**
   * The live mapping. At first, expert i is in the i-th open slot, and the redundant slots repeat the experts
   * from 0 on.
   */
  get mapping(): ExpertMapping {
    return this.#live.mapping;
  }

  /** How many times the live mapping was replaced. */
  get generation(): number {
    return this.#live.generation;
  }

  /** Steps in the window. */
  get numSamples(): number {
    return this.#live.window.numSamples;
  }

  /** How far the plan under way has come; both are 0 when there is none. */
  get planProgress(): { layersDone: number; numLayers: number } {
    return this.#planner.progress;
  }

  /**
   * Adds the tokens that each slot of the live mapping got to the step being recorded. Loads that are
   * recorded twice in a step are added up. A load of an empty slot is shown as it was recorded, but counts
   * for no expert and in no average.
   *
   * @param loads [physical], finite in float32 and >= 0, also when added to what the step has; copied
   * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_LAYER`, `EPLB_SHAPE`, `EPLB_LOAD`; nothing is
   *   recorded then
   */
  recordLoad(layer: number, loads: LoadRow): void {
    this.#openGate.check();
    this.#live.window.recordPhysical(layer, loads);
  }

  /** Like {@link recordLoad}, but with the tokens that each expert got: loads [logical]. */
  recordLogicalLoad(layer: number, loads: LoadRow): void {
    this.#openGate.check();
    this.#live.window.recordLogical(layer, loads);
  }

  /**
   * Ends the step being recorded, together with what connected threads have recorded. The step becomes the
   * newest sample of the window. It never throws for loads: a sum above the largest float32 (of loads from
   * several threads, or of slots and experts) counts as the largest float32. The cost does not grow with the
   * window. A step whose loads are whole numbers up to 65,535 a slot takes half as long as another one.
   */
  advanceWindow(): void {
    this.#openGate.check();
    this.#live.advance();
    for (const listener of this.#stepListeners) listener();
    const live = this.#live;
    live.events.tell('load', () => ({ ...live.eventHead, numSteps: live.numSteps }));
  }

  /**
   * Reports ranks that died, came back, became slower or faster, were added or removed: between two plans,
   * while the host continues. Experts that no live rank has any more get slots that others can spare, by
   * {@link repair}. So the live mapping is whole again at once, but the weights of `hostLoads` have to be
   * loaded. New ranks are empty until the next plan fills them.
   *
   * The window is kept, by experts. A plan under way becomes stale, like all plans made before; a rebalance
   * under way plans again. Connected threads continue, and see the new topology together with the new
   * mapping. The call blocks the thread for as long as copying the window takes.
   *
   * @param change what changes about the ranks; what is left out stays as it is. `deadRanks` names all dead
   *   ranks; `[]` means that all are alive.
   * @throws EplbError `EPLB_CLOSED`; EplbTypeError, EplbRangeError for wrong options; EplbRangeError
   *   `EPLB_TOPOLOGY` when the live ranks have fewer slots than there are experts, or when the policy cannot
   *   plan the topology, `EPLB_MEMORY`. Nothing changes then.
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
    this.#openGate.check();
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
   * The mean tokens per step of each slot, [layers x physical], over the samples in the window. Loads
   * recorded under an older mapping, or for experts, are spread evenly over the replicas of each expert. So
   * are loads recorded per slot in a layer that also got loads of experts in the same step. A copy.
   */
  getAverageLoad(): LoadMatrix {
    return this.#live.window.averagePhysical();
  }

  /**
   * The mean tokens per step of each expert, [layers x logical], over the samples in the window. It is exact
   * up to rounding to float32, whatever loads have left the window. A copy.
   */
  getAverageLogicalLoad(): LoadMatrix {
    return this.#live.window.averageLogical();
  }

  /**
   * A copy of the tables of the mapping and of the window. It is as large as the window, so do not take it
   * every step.
   */
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
   * Starts the worker threads now instead of with the first plan, so that the first plan is as fast as later
   * ones. Also loads the module of a policy that is given as a URL.
   *
   * @throws (as a rejection) EplbError `EPLB_CLOSED`, `EPLB_WORKER_LOST`, `EPLB_POLICY` for a module that
   *   cannot be loaded or exports no policy; `EPLB_THREADS` when no thread can be started, `EPLB_RUNTIME`
   */
  async start(): Promise<void> {
    await this.#planner.start();
  }

  /**
   * Plans a mapping and makes it live, unless another one went live in the meantime: that one is never
   * undone, see {@link RebalanceOptions.ifStale}.
   *
   * @param weight loads [layers x logical] to plan for; by default the average of the window
   * @returns the mapping that is live when the call ends
   * @throws as {@link plan}
   */
  async rebalance(weight?: LoadsInput, options: RebalanceOptions = {}): Promise<ExpertMapping> {
    return this.#plans.rebalance(weight, options);
  }

  /**
   * Like {@link rebalance}, but in the calling thread, which is blocked for the whole plan. Not for a policy
   * given as a URL. During the plan, another mapping can go live only if the policy itself commits one.
   */
  rebalanceSync(weight?: LoadsInput, options: Omit<RebalanceOptions, 'signal'> = {}): ExpertMapping {
    return this.#plans.rebalanceSync(weight, options);
  }

  /**
   * Plans a mapping without making it live, for hosts that move weights first and then {@link commit}.
   * Resolves to the live mapping itself if that is to stay, or if there is nothing to plan from: no `weight`
   * and no sample.
   *
   * @param weight loads [layers x logical]; by default the average of the window at the beginning of the plan
   * @throws (as a rejection) EplbTypeError and EplbRangeError for wrong arguments; EplbError `EPLB_CLOSED`,
   *   `EPLB_CANCELLED`, `EPLB_WORKER_LOST`, `EPLB_THREADS`, `EPLB_RUNTIME` or `EPLB_POLICY`. The live mapping
   *   does not change then.
   */
  async plan(weight?: LoadsInput, options: PlanOptions = {}): Promise<ExpertMapping> {
    return (await this.decide(weight, options)).mapping;
  }

  /**
   * Like {@link plan}, but with the policy's decision: 'planned', with a forecast if the policy makes one, or
   * 'kept', with the live mapping itself and the reason. `generation` is the one that it was planned from.
   */
  async decide(weight?: LoadsInput, options: PlanOptions = {}): Promise<BalancerDecision> {
    return this.#plans.decide(weight, options);
  }

  /**
   * Makes a mapping live. Loads recorded so far stay with the mapping under which they were recorded.
   *
   * A mapping that this balancer planned can go live only while the mapping that it was planned from is live,
   * because the plan says which weights move from where. Mappings made elsewhere, and those that were live
   * before (a rollback), are only checked against `from`.
   *
   * @throws EplbError `EPLB_STALE` for a mapping that was made from another generation than the live one,
   *   `EPLB_CLOSED`; EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE` for a mapping of another shape,
   *   `EPLB_MAPPING` for one with an expert in a closed slot, `EPLB_RANGE`, `EPLB_NOT_WHOLE` for a `from`
   *   that is not a generation. Nothing changes then.
   */
  commit(mapping: ExpertMapping, options: CommitOptions = {}): void {
    this.#live.commit(mapping, options);
  }

  /**
   * Makes some layers of a mapping live, and leaves all others as they are, for hosts that move weights layer
   * by layer. The live mapping is then a new, whole one, with a generation of its own. Loads recorded so far
   * stay with the mapping under which they were recorded, in all layers.
   *
   * The mapping is checked as by {@link commit}. Its remaining layers can still go live as long as nothing
   * but its own layers goes live in between; `from` still names the generation that the whole mapping was
   * made from. When its last layer goes live, the mapping itself is the live one. Layers that are live
   * already change nothing.
   *
   * @param layers from 0, each once, in any order
   * @throws as {@link commit}; EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_LAYER` for a layer that does
   *   not exist or is named twice, `EPLB_NOT_WHOLE`, `EPLB_SHAPE` when none is named. Nothing changes then.
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
   * Everything that the balancer knows, as bytes: the live mapping, the window, the step being recorded, and
   * what the policy remembers. A balancer of the same sizes that is restored from it makes the same plans,
   * byte for byte. So an engine can start warm. The call blocks the thread for as long as copying the window
   * takes. Loads of other threads that no step has taken yet are not included.
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
   * Takes over the state of another balancer with the same sizes and the same kind of policy. The mapping
   * goes live as if it were committed.
   *
   * @param snapshot as returned by `snapshot()`; it is read, not kept
   * @throws EplbError `EPLB_CLOSED`, `EPLB_STALE` when this balancer has already recorded or committed
   *   anything itself; EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_FORMAT` for bytes that are damaged or
   *   not a snapshot, `EPLB_SHAPE` for a balancer of other sizes, `EPLB_MAPPING`. Nothing changes then.
   */
  restore(snapshot: Uint8Array): void {
    this.#openGate.check();
    restoreSnapshot(this.#live, snapshot);
  }

  /**
   * Cancels the plan under way, ends the threads and refuses all further work. Reading remains possible.
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
