import { checkAtLeast, checkNumber, checkText, checkWhole, show } from '../../core/checks.ts';
import { checkDispatch, type Dispatch } from '../../core/dispatch.ts';
import { EplbRangeError } from '../../core/errors.ts';
import { checkOptions } from '../../core/known-keys.ts';
import { type CostModel, isCostModel } from '../../cost/cost-model.ts';
import { costModel } from '../../cost/make.ts';
import { type AdaptiveEffort, type AdaptiveRequest, type MoveCost, NO_LIMIT } from './request.ts';
import { type SlotCosts, slotCostsOf } from './slot-costs.ts';

/**
 * What a move costs and balance is worth, in seconds and bytes: see {@link AdaptiveEplbPolicyOptions.cost}.
 */
export interface AdaptiveCostModel {
  /**
   * Seconds that a rank takes for one unit of load: one token in one expert. Default 0.25e-6: an expert of
   * 7,168 x 2,048 x 3 at some 350 TFLOP/s.
   */
  readonly secondsPerLoad?: number;
  /**
   * Seconds that one layer takes in a step whose ranks all have the mean load, for systems whose steps take
   * as long whatever their tokens are. In place of `secondsPerLoad`. Default: not given.
   */
  readonly secondsAtBalance?: number;
  /**
   * Steps that a placement stays good for, and pays for its moves. Default: until the loads will have moved
   * on as far as they are from equal ones, by how fast they do so in the remembered steps; of loads that do
   * not, eight times as long as they are known.
   */
  readonly stepsPerPlan?: number;
  /** Bytes of one expert's weights in one layer. Default 88,080,384: 7,168 x 2,048 x 3 of 16 bits. */
  readonly bytesPerExpert?: number;
  /** Bytes a second between ranks of one node, one move after the other. Default 900e9. */
  readonly bandwidthWithinNode?: number;
  /** Bytes a second between nodes, one move after the other. Default 50e9. */
  readonly bandwidthBetweenNodes?: number;
}

/** What an {@link AdaptiveEplbPolicy} may trade. */
export interface AdaptiveEplbPolicyOptions {
  /**
   * What every move has to gain, at least 0: a share of the mean rank load, off the smoothed load of the
   * slowest rank, in the mean sample. 0: moves are free, whatever a `cost` says of them. Default: a small
   * share of the mean load of a slot, more where the loads are little known, and nothing in the first plan;
   * with a `cost`, what that makes of it.
   */
  readonly price?: number;
  /** At most so many moves in a layer. Default: no limit. */
  readonly maxMovesPerLayer?: number;
  /** At most so many moves in all layers together, spent where they gain most. Default: no limit. */
  readonly maxMoves?: number;
  /**
   * At most so many bytes moved, by the cost model's `bytesPerExpert`; spent as `maxMoves`. Default: no
   * limit.
   */
  readonly maxBytes?: number;
  /**
   * Steps looked at closely in a search for a layer: none is begun after so many. All its other work is
   * counted too, and ends it at 16 times as much and 34 million more, so that this bounds the time of a
   * search: at the default some 10 to 30 seconds, of which ordinary layers take milliseconds. It is all that
   * ends a plan in the calling thread, which no signal can cancel. Default 10,000,000.
   */
  readonly maxEvaluations?: number;
  /**
   * How much a search is to do: 'quick' takes about half the time of 'usual', 'thorough' many times as much.
   * Default 'usual'.
   */
  readonly effort?: AdaptiveEffort;
  /**
   * How many random changes of the best placement in a row have to lead nowhere before the search ends. Where
   * 10,000 in a row find nothing to change it ends as well. Default: 100 for `effort: 'thorough'`, else 0.
   */
  readonly numKicks?: number;
  /** 'groups': groups of experts stay on their node, as with the default policy. Default 'none'. */
  readonly locality?: 'none' | 'groups';
  /**
   * What it costs that tokens cross between nodes: as a share of the mean rank load, what it would take if no
   * two experts that are picked together shared a node. Which are, `context.coactivation` tells (counted by
   * {@link CoactivationRecorder}), or else the groups; with neither, and on more than 64 nodes, links cost
   * nothing. With `dispatch: 'nearest'` it is what it would take if all tokens crossed: none does to an
   * expert that has a copy on its node. From 0 to 1,000,000. Default 0.
   */
  readonly linkPrice?: number;
  /**
   * How much worse than `DefaultEplbPolicy`'s a layer's balancedness may be on the mean of the loads it is
   * planned with, a share in [0, 1): the highest rank load is at most that of `DefaultEplbPolicy` / (1 -
   * tolerance). A live mapping that is worse is planned anew whatever moves cost, within the limits of moves.
   * Default: no such limit.
   */
  readonly tolerance?: number;
  /**
   * 'rank', 'node', or a name of `Topology.failureDomains`: as much load as the redundant slots allow keeps
   * copies in two such failure domains, so that it survives any single failure. These are the heaviest
   * experts of the loads planned for, as many as {@link survival} says there can be; where moves have a
   * price, one that survives stays one until another has 1.2 times its load. What lacks a second domain is
   * moved whatever moves cost, and however few are allowed; but no plan is made for it alone while the loads
   * stay as they are. Not beside `locality: 'groups'`. Default: none.
   */
  readonly survive?: string;
  /**
   * Which copy of an expert a token takes in the engine. 'nearest': one on its rank, else one on its node,
   * else any, the tokens being on all ranks alike: what the search finds for 'even' is then corrected where
   * copies get more than others, and gains are those of nearest copies. Not beside `tolerance`, which the
   * search keeps for even dispatch. Default 'even'.
   */
  readonly dispatch?: Dispatch;
  /**
   * How sure it has to be that the loads have changed since the live mapping was planned, in standard errors
   * over all layers together, before another plan is made: else the live mapping stays, until twice as many
   * steps are known. 0: no such test. Default 4; 0 when `price` is given.
   */
  readonly confidence?: number;
  /**
   * What moves cost and balance is worth. When given, a move is made where it returns more seconds than it
   * takes while the placement is expected to stay good. A {@link CostModel}, or the name of a preset as
   * {@link costModel} takes it, has the search lower the time of the slowest rank by what its slots take; of
   * an {@link AdaptiveCostModel} it is in proportion to tokens. Default: not given; then tokens are what is
   * balanced.
   */
  readonly cost?: AdaptiveCostModel | CostModel | string;
  /**
   * Steps that a balancer remembers for this policy when its window is shorter; at most 65,536. Older steps
   * count as far as their loads are like the newest ones', or come back. 0: only the window. Default 256.
   */
  readonly rememberedSteps?: number;
  /**
   * At most so many samples, from 1 to 64. Of more steps the newest are half of the samples, one by one, and
   * older ones are joined; below 24 samples all are. Default 64.
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
function costOfMove(cost: CompleteCostModel): MoveCost {
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
