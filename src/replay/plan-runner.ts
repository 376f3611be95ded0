import { sharedParts } from '../balancer/expert-load-balancer.ts';
import { loadError } from '../core/checks.ts';
import { EplbError, EplbRangeError } from '../core/errors.ts';
import type { RecordedRoutes } from '../formats/recording.ts';
import {
  CoactivationRecorder,
  ExpertLoadBalancer,
  type ExpertMapping,
  type PlanOptions,
  type Topology,
  type TopologyChange,
} from '../index.ts';
import { usesPairs } from '../policy/abstract.ts';
import { checkedSlots } from './check-mapping.ts';
import type { ReplaySettings } from './options.ts';
import { mappingOfShown, type ShownRanks, shownRanks, slotsOfAll, slotsOfShown } from './survivors.ts';

/** A plan that was made, checked. */
interface MadePlan {
  /** Of the ranks that the policy is shown. */
  readonly mapping: ExpertMapping;
  /** [layers x physical], of all ranks. */
  readonly slots: Int32Array;
  /** The layers to change, in order. */
  readonly layerOrder: readonly number[];
  readonly measuredSeconds: number;
  readonly keptReason?: string;
}

/**
 * The policy's side of a replay: a balancer whose window gets every step when it is over, and nothing else of
 * the recording. What a policy is given are copies and the window's own numbers, so it cannot look ahead.
 */
export class ReplayPlanner {
  readonly #balancer: ExpertLoadBalancer;
  readonly #policy: Exclude<ReplaySettings['policy'], 'static'>;
  readonly #name: string;
  /** Of all ranks. */
  #topology: Topology;
  #shown: ShownRanks;
  readonly #routes: RecordedRoutes | undefined;
  readonly #recorder: CoactivationRecorder | undefined;
  #tokensCounted: number;
  readonly #rows: readonly Float32Array[];

  /**
   * @param loads [layers x logical]: where every step's loads are put
   * @param routes the recording's, when it has them: pairs are counted up to the step that a plan is made
   *   after
   * @param fromStep the first step that is replayed
   */
  constructor(
    settings: ReplaySettings,
    loads: Float32Array,
    routes: RecordedRoutes | undefined,
    fromStep: number,
  ) {
    const { topology, policy, configuration, start, threads } = settings;
    if (policy === 'static') throw new EplbError('EPLB_INTERNAL', 'a static placement plans nothing');
    const { numLayers, numLogicalExperts } = topology;
    this.#policy = policy;
    this.#name = configuration.policy;
    this.#topology = topology;
    this.#shown = shownRanks(policy, topology, settings.atFirst);
    const { windowSize } = configuration;
    this.#balancer = new ExpertLoadBalancer({ ...this.#shown.topology, policy, threads, windowSize });
    // The replay compares placements itself.
    sharedParts(this.#balancer).gains.disable();
    if (start !== undefined) this.#balancer.commit(this.#mappingOf(start.phyToLog, start));
    this.#rows = Array.from({ length: numLayers }, (_, layer) =>
      loads.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts),
    );
    const needsPairs = routes !== undefined && usesPairs(policy);
    this.#routes = needsPairs ? routes : undefined;
    this.#recorder = needsPairs
      ? new CoactivationRecorder({ numLayers, numExperts: numLogicalExperts })
      : undefined;
    this.#tokensCounted = fromStep * (routes?.tokensPerStep ?? 0);
  }

  get numSamples(): number {
    return this.#balancer.numSamples;
  }

  /** Starts the worker threads, so that the first plan is measured as the others are. */
  async start(): Promise<void> {
    await this.#balancer.start();
  }

  /**
   * Puts the step whose loads lie in the replay's memory into the window.
   *
   * @throws EplbRangeError `EPLB_LOAD`
   */
  record(step: number): void {
    for (let layer = 0; layer < this.#rows.length; layer++) {
      const row = this.#rows[layer]!;
      try {
        this.#balancer.recordLogicalLoad(layer, row);
      } catch {
        const bad = row.findIndex((load) => !(load >= 0 && load < Number.POSITIVE_INFINITY));
        throw loadError(`recording: step ${step}`, layer, bad, row[bad]);
      }
    }
    this.#balancer.advanceWindow();
  }

  /**
   * The ranks are others from now on: the policy goes on with the window as it is, as that of a live balancer
   * does.
   *
   * @param slots [layers x physical], live; none of them on a dead rank
   */
  changeRanks(topology: Topology, slots: Int32Array): void {
    this.#topology = topology;
    this.#shown = shownRanks(this.#policy, topology);
    const { mapping } = this.#balancer.changeTopology(changeTo(this.#shown.topology));
    // Layers of a plan may have changed that did not take effect whole; and policies that are shown some of
    // the ranks are shown other ones.
    const live = this.#mappingOf(slots);
    if (!live.equals(mapping)) this.#balancer.commit(live);
  }

  /** Mean loads [layers x logical] over the window. A copy. */
  meanLoads(): Float32Array {
    return this.#balancer.getAverageLogicalLoad().data;
  }

  /** Plans from the window as it is. @param step the last step in it */
  async plan(step: number): Promise<MadePlan> {
    const options: PlanOptions = await this.#planOptions(step);
    const started = performance.now();
    const decision = await this.#balancer.decide(undefined, options);
    const measuredSeconds = (performance.now() - started) / 1000;
    const { mapping } = decision;
    const own = checkedSlots(mapping, this.#shown.topology, this.#name);
    const slots = slotsOfAll(own, this.#topology, this.#shown);
    const kept = decision.status === 'kept' ? { keptReason: decision.reason } : {};
    return { mapping, slots, layerOrder: this.#layerOrder(), measuredSeconds, ...kept };
  }

  /**
   * A plan has taken effect whole, which the balancer takes up: the next one starts from it.
   *
   * @param slots [layers x physical], live; other than the plan's where the policy left layers out of its
   *   order
   */
  commit({ mapping, layerOrder }: MadePlan, slots: Int32Array): void {
    const isWhole = layerOrder.length === this.#topology.numLayers;
    this.#balancer.commit(isWhole ? mapping : this.#mappingOf(slots));
  }

  async close(): Promise<void> {
    await this.#balancer.close();
  }

  /** Slots of all ranks as a mapping of those that are shown: `whole`, where it is one of all of them. */
  #mappingOf(slots: Int32Array, whole?: ExpertMapping): ExpertMapping {
    if (whole !== undefined && this.#shown.ranks === undefined) return whole;
    return mappingOfShown(slotsOfShown(slots, this.#topology, this.#shown), this.#shown);
  }

  async #planOptions(step: number): Promise<PlanOptions> {
    if (this.#recorder === undefined || this.#routes === undefined) return {};
    const to = Math.min((step + 1) * this.#routes.tokensPerStep, this.#routes.numTokens);
    for await (const { ids, numTokens } of this.#routes.read({ from: this.#tokensCounted, to })) {
      this.#recorder.record(ids, numTokens, this.#routes.topK);
    }
    this.#tokensCounted = to;
    return { coactivation: this.#recorder.matrix() };
  }

  /** The policy's own order of layers where it has one; by index else. */
  #layerOrder(): readonly number[] {
    const { numLayers } = this.#topology;
    const told: unknown =
      typeof this.#policy === 'object' && 'layerOrder' in this.#policy ? this.#policy.layerOrder : undefined;
    if (told === undefined) return Array.from({ length: numLayers }, (_, layer) => layer);
    const isLayer = (layer: unknown) =>
      typeof layer === 'number' && Number.isInteger(layer) && layer >= 0 && layer < numLayers;
    if (Array.isArray(told) && told.every(isLayer) && new Set(told).size === told.length) return told.slice();
    throw new EplbRangeError(
      'EPLB_POLICY',
      `policy ${JSON.stringify(this.#name)}: its layerOrder is not a list of different layers from 0 to ` +
        `${numLayers - 1}`,
    );
  }
}

/** All that a topology says of its ranks, what is usual too: what a change leaves out stays as it was. */
function changeTo({ numPhysicalExperts, numRanks, numNodes, ...topology }: Topology): TopologyChange {
  const { deadRanks = [], nodeOfRank, failureDomains = {}, linkClasses, rules } = topology;
  const stride = numPhysicalExperts / numRanks;
  const { slotsPerRank = new Array<number>(numRanks).fill(stride) } = topology;
  const { rankSpeed = new Array<number>(numRanks).fill(1) } = topology;
  return {
    ...{ numRanks, numNodes, slotsPerRank, rankSpeed, deadRanks, failureDomains },
    ...(nodeOfRank && { nodeOfRank }),
    ...(linkClasses && { linkClasses }),
    // They say whether a shared expert's slots are off those of ranks already.
    ...(rules && { rules }),
  };
}
