import type { Dispatch } from '../../core/dispatch.ts';
import { EplbError } from '../../core/errors.ts';
import type { Topology } from '../../core/topology.ts';
import type { KernelRequest } from '../../engine/plan-job.ts';
import type { PlanTables } from '../../engine/plan-tables.ts';
import { type LoadsInput, toLoadMatrix } from '../../loads/load-matrix.ts';
import { checkSamples, type LoadSamples, oneSample, writeSamples } from '../../loads/load-samples.ts';
import { checkShape } from '../../mapping/check-shape.ts';
import { type ExpertMapping, tablesOf } from '../../mapping/expert-mapping.ts';
import { zeros } from '../../memory/allocate.ts';
import {
  AbstractEplbPolicy,
  checkContext,
  type InternalContext,
  type PolicyContext,
  type PolicyNeeds,
} from '../abstract.ts';
import type { PlanDecision } from '../decision.ts';
import type { GainScale } from '../gain-scale.ts';
import { keepMemory } from '../history.ts';
import { argumentTopology, runInline } from '../inline.ts';
import { plannedMapping } from '../job-tables.ts';
import { mayStay } from '../may-stay.ts';
import { judge } from './judgement.ts';
import { type AdaptiveEplbPolicyOptions, type AdaptiveSettings, readAdaptiveOptions } from './options.ts';
import { slotSecondsOf } from './slot-costs.ts';

/**
 * Plans for the next window, moves little, and only when it pays. `DefaultEplbPolicy` evens out the sum of
 * the past. This policy makes the slowest rank of each step fast: for each layer it lowers the mean, over the
 * window's samples, of a smooth maximum of the rank loads, plus a price for each move away from the live
 * mapping. It does so by exchanging slots and overwriting spare replicas.
 *
 * A balancer gives it the steps of the window, and earlier ones if the window is short. If no move is worth
 * its price, the result is the live mapping itself; `decide()` of the balancer, and {@link planExperts}, give
 * the reason.
 * @example
 * ```ts
 * const policy = new AdaptiveEplbPolicy({ price: 0.002, maxMoves: 200 });
 * const decision = policy.planExperts(samples, 80, 1, 1, 16, { previous });
 * if (decision.status === 'kept') console.log(decision.reason);
 * else console.log(decision.forecast?.moves, decision.forecast?.secondsGained);
 * ```
 */
export class AdaptiveEplbPolicy extends AbstractEplbPolicy {
  readonly name: string = 'adaptive';
  override readonly needs: PolicyNeeds;
  override readonly maxSamples: number;
  override readonly rememberedSteps: number;
  readonly #settings: AdaptiveSettings;

  /** @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE`, naming the option */
  constructor(options: AdaptiveEplbPolicyOptions = {}) {
    super();
    this.#settings = readAdaptiveOptions(options);
    const { linkPrice, dispatch } = this.#settings.request;
    const isOfPairs = linkPrice > 0 && dispatch === 'even';
    this.needs = { samples: true, cost: true, ...(isOfPairs && { coactivation: true }) };
    this.maxSamples = this.#settings.request.maxSamples;
    this.rememberedSteps = this.#settings.rememberedSteps;
  }

  /**
   * The mapping of {@link planExperts}, from `context.samples`, or from `weight` as the one sample there is.
   * Blocks the calling thread for the whole plan, some tenths of a millisecond a layer; a balancer plans in
   * its pool instead.
   *
   * @throws also EplbError `EPLB_POLICY` when there are no samples and no previous mapping to keep
   */
  override rebalanceExperts(
    weight: LoadsInput,
    numReplicas: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    context: PolicyContext = {},
  ): ExpertMapping {
    return this.decide(weight, numReplicas, numGroups, numNodes, numRanks, context).mapping;
  }

  /**
   * Plans all layers in the calling thread, or tells why the live mapping is to stay.
   *
   * @param samples loads of the last steps, oldest first
   * @param context `previous` is the live mapping: what moves is counted from it. Without one, nothing has a
   * price. It may have experts in slots that `slotsPerRank` closes: these leave in the fewest moves first,
   * whatever moves cost and however few are allowed.
   * @throws EplbTypeError and EplbRangeError for wrong arguments; EplbError `EPLB_POLICY` when there are
   * neither samples nor a previous mapping to keep
   */
  planExperts(
    samples: LoadSamples,
    numReplicas: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    context: PolicyContext = {},
  ): PlanDecision {
    const { previous, coactivation } = checkContext(context);
    const { history } = context as InternalContext;
    const checked = checkSamples(samples);
    const { numLayers, numExperts, numSamples } = checked;
    const topology = argumentTopology(
      numLayers,
      numExperts,
      numReplicas,
      numGroups,
      numNodes,
      numRanks,
      context,
    );
    if (previous !== undefined) checkShape('previous', previous, topology);
    if (numSamples === 0) {
      if (previous === undefined) {
        throw new EplbError('EPLB_POLICY', 'samples: there are none, and no previous mapping to keep');
      }
      if (mayStay(previous, topology)) {
        return { status: 'kept', reason: 'no samples', mapping: previous };
      }
    }
    // What is in closed slots, or breaks a rule, has to leave without samples too.
    const noLoads = { data: zeros('samples', Float32Array, numLayers * numExperts), numLayers, numExperts };
    const used = numSamples === 0 ? oneSample(noLoads) : checked;
    const { request } = this.#settings;
    const tables = runInline(
      request,
      topology,
      (buffer, layout) => {
        const room = new Float32Array(buffer, layout.samples, request.maxSamples * numLayers * numExperts);
        return { from: 'samples', ...writeSamples(used, request.maxSamples, room) };
      },
      { previous, coactivation, history },
    );
    return this.decideOn(topology, tables, previous);
  }

  /** @internal */
  override kernelRequest(): KernelRequest | undefined {
    // A subclass that plans otherwise is asked itself.
    return this.rebalanceExperts === AdaptiveEplbPolicy.prototype.rebalanceExperts
      ? this.#settings.request
      : undefined;
  }

  /** @internal */
  override get tokenDispatch(): Dispatch {
    return this.#settings.request.dispatch;
  }

  /** @internal */
  override gainScale(topology: Topology): GainScale | undefined {
    const { request, cost } = this.#settings;
    if (!request.hasCost) return undefined;
    const { secondsAtBalance, secondsPerLoad } = cost;
    const { slotCosts } = request;
    const slotLoad = slotCosts && slotSecondsOf(slotCosts, topology);
    return { secondsAtBalance, secondsPerLoad, slotLoad };
  }

  /** @internal */
  override decide(
    weight: LoadsInput,
    numReplicas: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    context: PolicyContext,
  ): PlanDecision {
    const { samples = oneSample(toLoadMatrix('weight', weight)) } = checkContext(context);
    return this.planExperts(samples, numReplicas, numGroups, numNodes, numRanks, context);
  }

  /** @internal */
  override decideOn(
    topology: Topology,
    tables: PlanTables,
    previous: ExpertMapping | undefined,
  ): PlanDecision {
    const { stats, memory, ...filled } = tables;
    if (stats === undefined) throw new EplbError('EPLB_INTERNAL', 'a search without statistics');
    const mapping = () => {
      const planned = plannedMapping(topology, filled);
      keepMemory(planned, memory);
      return planned;
    };
    // The first placement moves nothing, and there is nothing to keep.
    if (previous === undefined) return { status: 'planned', mapping: mapping() };
    const { phyToLog: before } = tablesOf(previous);
    const isSame = filled.phyToLog.every((expert, slot) => expert === before[slot]);
    const judgement = judge(this.#settings, topology, stats, isSame);
    if (judgement.status === 'kept') return { ...judgement, mapping: previous };
    keepReplicaOrder(filled, previous);
    return { ...judgement, mapping: mapping() };
  }
}

/** Layers that stay as they are also keep which replica of its expert each slot is. */
function keepReplicaOrder({ phyToLog, replicaRank }: PlanTables, previous: ExpertMapping): void {
  const { numLayers, numPhysicalExperts, phyToLog: before, replicaRank: order } = tablesOf(previous);
  for (let layer = 0; layer < numLayers; layer++) {
    const first = layer * numPhysicalExperts;
    const end = first + numPhysicalExperts;
    let slot = first;
    while (slot < end && phyToLog[slot] === before[slot]) slot++;
    if (slot === end) replicaRank.set(order.subarray(first, end), first);
  }
}
