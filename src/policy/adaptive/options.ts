import { checkAtLeast, checkNumber, checkText, checkWhole, show } from '../../core/checks.ts';
import { checkDispatch, type Dispatch } from '../../core/dispatch.ts';
import { EplbRangeError } from '../../core/errors.ts';
import { checkOptions } from '../../core/known-keys.ts';
import { type CostModel, isCostModel } from '../../cost/cost-model.ts';
import { costModel } from '../../cost/make.ts';
import { type AdaptiveEffort, type AdaptiveMoveCost, type AdaptiveRequest, NO_LIMIT } from './request.ts';
import { type SlotCosts, slotCostsOf } from './slot-costs.ts';

/**
 * What moves cost and what balance is worth, in seconds and bytes: see
 * {@link AdaptiveEplbPolicyOptions.cost}.
 */
export interface AdaptiveCostModel {
  /**
   * Seconds that a rank takes for one unit of load: one token in one expert. Default 0.25e-6: an expert of
   * 7,168 x 2,048 x 3 at some 350 TFLOP/s.
   */
  readonly secondsPerLoad?: number;
  /**
   * Seconds that a layer takes in a step when all ranks have the mean load, for systems whose steps take
   * equally long whatever their number of tokens. Replaces `secondsPerLoad`. Default: not given.
   */
  readonly secondsAtBalance?: number;
  /**
   * Number of steps for which a placement stays good, and over which it pays for its moves. By default this
   * follows from the remembered steps: it is the time until the loads will have drifted as far as they are
   * from equal loads. For loads that do not drift, it is eight times the number of known steps.
   */
  readonly stepsPerPlan?: number;
  /**
   * Bytes of the weights of one expert in one layer. Default 88,080,384: 7,168 x 2,048 x 3 values of 16 bits.
   */
  readonly bytesPerExpert?: number;
  /** Bytes a second between ranks of one node, one move after the other. Default 900e9. */
  readonly bandwidthWithinNode?: number;
  /** Bytes a second between nodes, one move after the other. Default 50e9. */
  readonly bandwidthBetweenNodes?: number;
}

/** What an {@link AdaptiveEplbPolicy} may spend, and on what. */
export interface AdaptiveEplbPolicyOptions {
  /**
   * The gain that every move has to reach, at least 0: by how much it lowers the smoothed load of the slowest
   * rank in the mean sample, as a share of the mean rank load. With 0, moves are free, whatever `cost` says
   * about them. Default: a small share of the mean load of a slot, more where little is known of the loads,
   * and less in the first plan. With a `cost`, the price follows from the cost.
   */
  readonly price?: number;
  /** The most moves in a layer. Default: no limit. */
  readonly maxMovesPerLayer?: number;
  /** The most moves in all layers together, spent where they gain most. Default: no limit. */
  readonly maxMoves?: number;
  /** The most bytes moved, by the cost model's `bytesPerExpert`; spent like `maxMoves`. Default: no limit. */
  readonly maxBytes?: number;
  /**
   * The most steps of the search that are evaluated closely in one layer. All other work of the search is
   * counted too, and ends it at 16 times as much plus 34 million. So this bounds the time of a search: some
   * 10 to 30 seconds with the default, while ordinary layers take milliseconds. A plan in the calling thread
   * cannot be cancelled by a signal, and nothing else ends it. Default 10,000,000.
   */
  readonly maxEvaluations?: number;
  /**
   * How much work a search does: 'quick' takes about half the time of 'usual', 'thorough' many times as much.
   * Default 'usual'.
   */
  readonly effort?: AdaptiveEffort;
  /**
   * The search ends after this many random changes of the best placement in a row without an improvement. It
   * also ends after 10,000 in a row that find nothing to change. Default: 100 for `effort: 'thorough'`, else
   * 0.
   */
  readonly numKicks?: number;
  /** With 'groups', groups of experts stay on their node, as with the default policy. Default 'none'. */
  readonly locality?: 'none' | 'groups';
  /**
   * What it costs when tokens cross between nodes. It is the cost, as a share of the mean rank load, of a
   * placement in which no two experts that are picked together share a node. `context.coactivation` (counted
   * by {@link CoactivationRecorder}) says which experts are picked together, or else the groups do. With
   * neither, and on more than 64 nodes, links cost nothing. With `dispatch: 'nearest'`, it is the cost of all
   * tokens crossing: a token does not cross to an expert that has a copy on its node. From 0 to 1,000,000.
   * Default 0.
   */
  readonly linkPrice?: number;
  /**
   * How much worse a layer's balancedness may be than that of `DefaultEplbPolicy` on the mean of the loads it
   * is planned with, as a share in [0, 1): the highest rank load is at most that of `DefaultEplbPolicy` / (1
   * - tolerance). A live mapping that is worse is planned anew whatever moves cost, within the limits of
   * moves. Default: no such limit.
   */
  readonly tolerance?: number;
  /**
   * A level of failures: 'rank', 'node', or a name of `Topology.failureDomains`. As much load as the
   * redundant slots allow then has copies in two failure domains of this level, so that it survives any
   * single failure. It belongs to the heaviest experts of the loads planned for, as many as {@link survival}
   * says are possible. If moves have a price, an expert that survives keeps its copies until another one has
   * 1.2 times its load. An expert without a second domain is moved whatever moves cost, and however few are
   * allowed, but no plan is made for it alone while the loads stay as they are. Cannot be combined with
   * `locality: 'groups'`. Default: none.
   */
  readonly survive?: string;
  /**
   * Which copy of an expert a token takes in the engine. With 'nearest', it takes one on its own rank, else
   * one on its node, else any, with the tokens spread evenly over all ranks. The result of the search for
   * 'even' is then corrected where some copies get more than others, and gains are those of nearest copies.
   * Cannot be combined with `tolerance`, which the search keeps for even dispatch. Default 'even'.
   */
  readonly dispatch?: Dispatch;
  /**
   * How certain it has to be that the loads have changed since the live mapping was planned before another
   * plan is made, in standard errors over all layers together. Otherwise the live mapping stays until twice
   * as many steps are known. With 0 there is no such test. Default 4; 0 when `price` is given.
   */
  readonly confidence?: number;
  /**
   * What moves cost and what balance is worth. With a cost, a move is made if it returns more seconds than it
   * takes while the placement is expected to stay good. With a {@link CostModel}, or the name of a preset as
   * {@link costModel} takes it, the search lowers the time of the slowest rank, by the time that its slots
   * take. With an {@link AdaptiveCostModel}, time is proportional to tokens. Default: not given; then tokens
   * are balanced.
   */
  readonly cost?: AdaptiveCostModel | CostModel | string;
  /**
   * Number of steps that a balancer remembers for this policy when its window is shorter; at most 65,536.
   * Older steps count to the extent that their loads are like those of the newest steps, or come back. With
   * 0, only the window is used. Default 256.
   */
  readonly rememberedSteps?: number;
  /**
   * The most samples, from 1 to 64. If there are more steps, the newest make up half of the samples, one by
   * one, and older ones are joined. Below 24 samples, all are joined. Default 64.
   */
  readonly maxSamples?: number;
}

/** A cost model, complete but for what is told otherwise. */
type CompleteCostModel = Required<Omit<AdaptiveCostModel, 'secondsAtBalance' | 'stepsPerPlan'>> & {
  readonly secondsAtBalance: number | undefined;
  readonly stepsPerPlan: number | undefined;
};

/** The options with their defaults, checked. */
export interface AdaptiveSettings {
  readonly request: AdaptiveRequest;
  readonly rememberedSteps: number;
  readonly cost: CompleteCostModel;
}

/** The names of all options. */
export const ADAPTIVE_NAMES: readonly string[] = [
  ...[
    'price',
    'maxMovesPerLayer',
    'maxMoves',
    'maxBytes',
    'maxEvaluations',
    'effort',
    'numKicks',
    'locality',
    'linkPrice',
    'tolerance',
  ],
  ...['survive', 'dispatch', 'confidence', 'cost', 'rememberedSteps', 'maxSamples'],
];

const COST_NAMES = [
  ...['secondsPerLoad', 'secondsAtBalance', 'stepsPerPlan'],
  ...['bytesPerExpert', 'bandwidthWithinNode', 'bandwidthBetweenNodes'],
];

const EFFORTS: readonly AdaptiveEffort[] = ['quick', 'usual', 'thorough'];
const THOROUGH_KICKS = 100;
const USUAL_CONFIDENCE = 4;
const MOST_SAMPLES = 64;
const USUAL_REMEMBERED_STEPS = 256;
const MOST_REMEMBERED_STEPS = 2 ** 16;
/** Loads have seven digits. */
const MOST_LINK_PRICE = 1e6;
/** Where the loads and what moves cost decide. */
const NO_FIXED_PRICE = -1;

/**
 * Reads each option once.
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE`, naming the option
 */
export function readAdaptiveOptions(options: AdaptiveEplbPolicyOptions): AdaptiveSettings {
  checkOptions('options', options, ADAPTIVE_NAMES);
  const { price, maxMovesPerLayer, maxMoves: mostMoves, maxBytes, maxEvaluations, numKicks } = options;
  const { locality = 'none', survive, confidence, cost: prices, rememberedSteps, maxSamples } = options;
  const effort = readEffort(options.effort);
  const { cost, slotCosts } = readCosts(prices);
  if (locality !== 'none' && locality !== 'groups') {
    throw new EplbRangeError('EPLB_RANGE', `locality: ${show(locality)} is neither 'none' nor 'groups'`);
  }
  if (survive !== undefined && checkText('survive', survive) && locality === 'groups') {
    const message = "survive: groups stay on their node (locality 'groups'), so that no expert can";
    throw new EplbRangeError('EPLB_OPTION', message);
  }
  const maxMoves = whole('maxMoves', mostMoves, 0, NO_LIMIT);
  const mostBytes = readMaxBytes(maxBytes);
  // Weights that take no bytes may all move.
  const movesInBytes = cost.bytesPerExpert === 0 ? NO_LIMIT : Math.floor(mostBytes / cost.bytesPerExpert);
  const linkPrice = readLinkPrice(options.linkPrice);
  const tolerance = readTolerance(options.tolerance);
  const request: AdaptiveRequest = {
    kernel: 'adaptive',
    fixedPrice: atLeast0('price', price, NO_FIXED_PRICE),
    hasCost: prices !== undefined,
    moveCost: costOfMove(cost),
    slotCosts,
    stayingSteps: cost.stepsPerPlan,
    confidence: atLeast0('confidence', confidence, price === undefined ? USUAL_CONFIDENCE : 0),
    effort,
    maxMovesPerLayer: whole('maxMovesPerLayer', maxMovesPerLayer, 0, NO_LIMIT),
    maxMoves: Math.min(maxMoves, movesInBytes),
    maxEvaluations: whole('maxEvaluations', maxEvaluations, 1, 10_000_000),
    numKicks: whole('numKicks', numKicks, 0, effort === 'thorough' ? THOROUGH_KICKS : 0),
    keepsGroups: locality === 'groups',
    linkPrice,
    tolerance,
    survive,
    dispatch: readDispatch(options.dispatch, tolerance),
    maxSamples: whole('maxSamples', maxSamples, 1, MOST_SAMPLES, MOST_SAMPLES),
  };
  const remembered = whole(
    'rememberedSteps',
    rememberedSteps,
    0,
    USUAL_REMEMBERED_STEPS,
    MOST_REMEMBERED_STEPS,
  );
  return { request, rememberedSteps: remembered, cost };
}

function readLinkPrice(value: unknown): number {
  if (value === undefined) return 0;
  const price = checkAtLeast('linkPrice', value, 0);
  if (price <= MOST_LINK_PRICE) return price;
  const why = 'with more, balance is lost in rounding';
  throw new EplbRangeError('EPLB_RANGE', `linkPrice: ${price} is not from 0 to ${MOST_LINK_PRICE}: ${why}`);
}

function readTolerance(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const tolerance = checkNumber('tolerance', value);
  if (tolerance >= 0 && tolerance < 1) return tolerance;
  throw new EplbRangeError('EPLB_RANGE', `tolerance: ${tolerance} is not at least 0 and less than 1`);
}

function readDispatch(given: unknown, tolerance: number | undefined): Dispatch {
  const dispatch = checkDispatch(given);
  if (dispatch === 'even' || tolerance === undefined) return dispatch;
  throw new EplbRangeError('EPLB_OPTION', "dispatch: tolerance is of 'even' dispatch, not of 'nearest'");
}

function readEffort(effort: unknown): AdaptiveEffort {
  if (effort === undefined) return 'usual';
  const known = EFFORTS.find((name) => name === effort);
  if (known !== undefined) return known;
  throw new EplbRangeError('EPLB_RANGE', `effort: ${show(effort)} is not one of ${EFFORTS.join(', ')}`);
}

/** What a move within a node takes, in units of what balance is worth. */
function costOfMove(cost: CompleteCostModel): AdaptiveMoveCost {
  const seconds = cost.bytesPerExpert / cost.bandwidthWithinNode;
  const { secondsAtBalance, secondsPerLoad } = cost;
  // Of what is beyond all numbers on the way nothing is known: then no move pays.
  const finite = (value: number) => (value < Number.POSITIVE_INFINITY ? value : Number.MAX_VALUE);
  if (secondsAtBalance === undefined) return { shareSteps: 0, loadSteps: finite(seconds / secondsPerLoad) };
  return { shareSteps: finite(seconds / secondsAtBalance), loadSteps: 0 };
}

/** What moves cost, and slots where a cost model or the name of one is given. */
function readCosts(given: AdaptiveEplbPolicyOptions['cost']): {
  readonly cost: CompleteCostModel;
  readonly slotCosts: SlotCosts | undefined;
} {
  if (typeof given === 'string' || isModel(given)) {
    const model = costModel(given);
    return { cost: costOf(model), slotCosts: slotCostsOf(model) };
  }
  return { cost: readCost(given === undefined ? {} : given), slotCosts: undefined };
}

function isModel(cost: unknown): cost is CostModel {
  return typeof cost === 'object' && cost !== null && isCostModel(cost);
}

/** What a cost model says of moves, a round each: its loads are seconds. */
function costOf(model: CostModel): CompleteCostModel {
  const { bytesPerExpert } = model;
  const bandwidth = (link: string) =>
    bytesPerExpert === 0 ? Number.MAX_VALUE : bytesPerExpert / model.moveSeconds(bytesPerExpert, link);
  return {
    secondsPerLoad: 1,
    secondsAtBalance: undefined,
    stepsPerPlan: undefined,
    bytesPerExpert,
    bandwidthWithinNode: bandwidth('intraNode'),
    bandwidthBetweenNodes: bandwidth('interNode'),
  };
}

function readCost(cost: AdaptiveCostModel): CompleteCostModel {
  checkOptions('cost', cost, COST_NAMES);
  const { secondsAtBalance, stepsPerPlan } = cost;
  return {
    secondsPerLoad: above0('cost.secondsPerLoad', cost.secondsPerLoad, 0.25e-6),
    secondsAtBalance: above0('cost.secondsAtBalance', secondsAtBalance, undefined),
    stepsPerPlan: above0('cost.stepsPerPlan', stepsPerPlan, undefined),
    bytesPerExpert: above0('cost.bytesPerExpert', cost.bytesPerExpert, 88_080_384),
    bandwidthWithinNode: above0('cost.bandwidthWithinNode', cost.bandwidthWithinNode, 900e9),
    bandwidthBetweenNodes: above0('cost.bandwidthBetweenNodes', cost.bandwidthBetweenNodes, 50e9),
  };
}

function readMaxBytes(value: unknown): number {
  if (value === undefined || value === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  return checkAtLeast('maxBytes', value, 0);
}

function atLeast0(title: string, value: unknown, usual: number): number {
  return value === undefined ? usual : checkAtLeast(title, value, 0);
}

function whole(title: string, value: unknown, least: number, usual: number, most = NO_LIMIT): number {
  return value === undefined ? usual : checkWhole(title, value, least, most);
}

function above0<Usual extends number | undefined>(
  title: string,
  value: unknown,
  usual: Usual,
): number | Usual {
  if (value === undefined) return usual;
  const number = checkNumber(title, value);
  if (number > 0 && number < Number.POSITIVE_INFINITY) return number;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${number} is not a finite number above 0`);
}
