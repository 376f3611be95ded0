import { checkObject, show, slotsPerRankOf } from '../core/checks.ts';
import { checkDispatch, type Dispatch } from '../core/dispatch.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { checkLinkClasses, checkRankSpeed } from '../core/rank-options.ts';
import { rankSpeedsOf } from '../core/rank-speeds.ts';
import { checkRules, sharedLoads } from '../core/rules.ts';
import type { Topology } from '../core/topology.ts';
import { copyLoads, type LoadsInput, toLoadMatrix } from '../loads/load-matrix.ts';
import { readNodes } from '../loads/slot-loads.ts';
import { checkMapping, type ExpertMapping, replicaCountOf, tablesOf } from '../mapping/expert-mapping.ts';
import { type CostModel, isCostModel } from './cost-model.ts';
import { exchangeOf, NO_EXCHANGE } from './exchange.ts';
import { checkWithin } from './fields.ts';
import { type LayerCost, LayerTimer } from './layer-timer.ts';
import { makeNearestExchange, slotDispatchOf } from './nearest-exchange.ts';

/** What the time of layers follows, at their slowest ranks. */
export type TimeBound = 'tokens' | 'active experts' | 'neither';

/** What layers come to together: a step, or many. */
export interface CostSummary {
  /** Sum over layers: what a step takes. */
  readonly seconds: number;
  readonly secondsAtBalance: number;
  /** What balance can still give: (seconds - secondsAtBalance) / seconds, 0 where there is no time. */
  readonly possibleSaving: number;
  /** Mean over layers of {@link LayerCost.meanActiveExperts}. */
  readonly meanActiveExperts: number;
  /** The most of any rank in any layer. */
  readonly maxActiveExperts: number;
  /**
   * What most of the slowest ranks' time is: slots that wait for tokens, slots that wait for their weights
   * (active experts), or neither: what a rank takes whatever it holds.
   */
  readonly boundBy: TimeBound;
  /** Shares of the slowest ranks' time; together 1, or all 0. */
  readonly shares: { readonly tokens: number; readonly activeExperts: number; readonly neither: number };
}

/** How {@link layerCosts} counts; what ranks differ in, as a topology says it. */
export interface LayerCostOptions
  extends Pick<Topology, 'rankSpeed' | 'deadRanks' | 'nodeOfRank' | 'linkClasses' | 'rules'> {
  /**
   * 'even': dispatch and combine count, every rank's tokens beginning on all ranks alike. Default 'none': the
   * time is that of the experts alone.
   */
  readonly exchange?: 'none' | 'even';
  /** Nodes that the ranks are on: between them other links count. Default 1. */
  readonly numNodes?: number;
  /**
   * Which copy of an expert a token takes: of tokens that are on all ranks alike. Default 'even'.
   */
  readonly dispatch?: Dispatch;
}

const OPTIONS = [
  ...['exchange', 'numNodes', 'rankSpeed', 'deadRanks', 'nodeOfRank', 'linkClasses', 'rules', 'dispatch'],
];

/**
 * The time of each layer for the loads of a step under a mapping. The tokens of an expert are shared evenly
 * by its replicas. With `rankSpeed`, a rank takes its time / speed; dead ranks take none. A shared expert of
 * `rules` takes the time of its tokens.
 *
 * @param weight loads [layers x logical]: tokens of one step
 * @throws EplbTypeError, EplbRangeError for loads, sizes or options that do not fit; EplbRangeError
 *   `EPLB_MEMORY`
 * @example
 * ```ts
 * const cost = costModel({ slotSeconds: { floor: 2, perToken: 1 } });
 * const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]);
 * const [layer] = layerCosts([[9, 1, 1, 1]], mapping, 2, cost);
 * layer!.seconds; // 11
 * layer!.secondsAtBalance; // 7.5
 * ```
 */
export function layerCosts(
  weight: LoadsInput,
  mapping: ExpertMapping,
  numRanks: number,
  cost: CostModel,
  options: LayerCostOptions = {},
): LayerCost[] {
  checkMapping('mapping', mapping);
  if (typeof cost !== 'object' || cost === null || !isCostModel(cost)) {
    throw new EplbTypeError('EPLB_KIND', `cost: ${show(cost)} is no CostModel; make one with costModel()`);
  }
  const given = checkOptions('options', options, OPTIONS);
  const { exchange = 'none' } = given;
  if (exchange !== 'none' && exchange !== 'even') {
    throw new EplbRangeError('EPLB_RANGE', `exchange: ${show(exchange)} is neither 'none' nor 'even'`);
  }
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = tablesOf(mapping);
  const counts = replicaCountOf(mapping);
  const matrix = copyLoads('weight', toLoadMatrix('weight', weight, numLayers, numLogicalExperts));
  const stride = slotsPerRankOf(numPhysicalExperts, numRanks);
  const rankStarts = Array.from({ length: numRanks + 1 }, (_, rank) => rank * stride);
  const rules = given.rules && checkRules(given.rules, { ...tablesOf(mapping), numRanks });
  const ranks = readRanks(given, numRanks);
  const isNearest = checkDispatch(given.dispatch) === 'nearest';
  const nearest = isNearest ? makeNearestExchange(cost, ranks, tablesOf(mapping), 'nearest') : undefined;
  const dispatched = nearest && slotDispatchOf(numPhysicalExperts);
  const shared = rules && sharedLoads({ ...ranks, rules });
  const sizes = { numLogicalExperts, rankStarts, speeds: rankSpeedsOf(ranks), shared };
  const links = exchange === 'none' ? NO_EXCHANGE : (nearest ?? exchangeOf(cost, ranks));
  const timer = new LayerTimer(cost, sizes, links);
  return Array.from({ length: numLayers }, (_, layer) => {
    const experts = layer * numLogicalExperts;
    const first = layer * numPhysicalExperts;
    const slots = phyToLog.subarray(first, first + numPhysicalExperts);
    if (dispatched !== undefined) nearest?.write(slots, dispatched);
    if (exchange === 'none') dispatched?.seconds.fill(0);
    return timer.cost(
      matrix.data.subarray(experts, experts + numLogicalExperts),
      slots,
      counts.subarray(experts, experts + numLogicalExperts),
      dispatched,
    );
  });
}

/** Makes a {@link CostTally}. A function, as an import of the library leaves this module out. */
export const makeCostTally = (): CostTally => new CostTally();

function readRanks(given: LayerCostOptions, numRanks: number) {
  const rankSpeed = checkRankSpeed(given.rankSpeed, { numRanks });
  const linkClasses = checkLinkClasses(given.linkClasses, { numRanks });
  return {
    ...readNodes(given, numRanks),
    ...(rankSpeed && { rankSpeed }),
    ...(linkClasses && { linkClasses }),
  };
}

/** Adds up layers, of one step or of many. */
export class CostTally {
  #count = 0;
  #seconds = 0;
  #secondsAtBalance = 0;
  #active = 0;
  #maxActive = 0;
  #tokens = 0;
  #activeExperts = 0;
  #neither = 0;

  add({ seconds, secondsAtBalance, meanActiveExperts, maxActiveExperts, slowest }: LayerCost): void {
    this.#count++;
    this.#seconds += seconds;
    this.#secondsAtBalance += secondsAtBalance;
    this.#active += meanActiveExperts;
    this.#maxActive = Math.max(this.#maxActive, maxActiveExperts);
    this.#tokens += slowest.tokenSeconds;
    this.#activeExperts += slowest.activeSeconds;
    this.#neither += slowest.fixedSeconds;
  }

  summary(): CostSummary {
    const seconds = this.#seconds;
    const share = (part: number) => (seconds === 0 ? 0 : part / seconds);
    const shares = {
      tokens: share(this.#tokens),
      activeExperts: share(this.#activeExperts),
      neither: share(this.#neither),
    };
    const { tokens, activeExperts, neither } = shares;
    const most = Math.max(tokens, activeExperts, neither);
    return {
      seconds,
      secondsAtBalance: this.#secondsAtBalance,
      possibleSaving: share(seconds - this.#secondsAtBalance),
      meanActiveExperts: this.#count === 0 ? 0 : this.#active / this.#count,
      maxActiveExperts: this.#maxActive,
      boundBy: neither === most ? 'neither' : tokens === most ? 'tokens' : 'active experts',
      shares,
    };
  }
}

/**
 * Adds up the results of {@link layerCosts}, for one step or for several.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` unless the figures are finite and >= 0
 */
export function summarizeCost(layers: readonly LayerCost[]): CostSummary {
  if (!Array.isArray(layers)) {
    throw new EplbTypeError('EPLB_KIND', `layers: ${show(layers)} is not a list of layers`);
  }
  const tally = new CostTally();
  layers.forEach((layer: unknown, i) => {
    tally.add(checkLayerCost(`layers[${i}]`, layer));
  });
  return tally.summary();
}

/** A copy of what is added up, each figure read once. */
function checkLayerCost(title: string, value: unknown): LayerCost {
  const layer = checkObject(title, value as LayerCost);
  const slowest = checkObject(`${title}.slowest`, layer.slowest);
  const figure = (name: string, number: unknown) =>
    checkWithin(`${title}.${name}`, number, 0, Number.MAX_VALUE);
  return {
    seconds: figure('seconds', layer.seconds),
    meanRankSeconds: layer.meanRankSeconds,
    secondsAtBalance: figure('secondsAtBalance', layer.secondsAtBalance),
    meanActiveExperts: figure('meanActiveExperts', layer.meanActiveExperts),
    maxActiveExperts: figure('maxActiveExperts', layer.maxActiveExperts),
    slowest: {
      rank: slowest.rank,
      fixedSeconds: figure('slowest.fixedSeconds', slowest.fixedSeconds),
      activeSeconds: figure('slowest.activeSeconds', slowest.activeSeconds),
      tokenSeconds: figure('slowest.tokenSeconds', slowest.tokenSeconds),
    },
  };
}
