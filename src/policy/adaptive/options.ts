import { checkAtLeast, checkNumber, checkObject, checkWhole, show } from '../../core/checks.ts';
import { EplbRangeError } from '../../core/errors.ts';
import type { AdaptiveRequest } from './request.ts';

/**
 * What a move costs and balance is worth, in seconds and bytes: see {@link AdaptiveEplbPolicyOptions.cost}.
 */
export interface AdaptiveCostModel {
  /**
   * Seconds that a rank takes for one unit of load: one token in one expert. Default 0.25e-6: an expert of
   * 7,168 x 2,048 x 3 at some 350 TFLOP/s.
   */
  readonly secondsPerLoad?: number;
  /** Steps until the next plan: so long does a placement pay. Default 1,000. */
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
   * What one move has to gain, at least 0: a share of the mean rank load, off the smoothed load of the
   * slowest rank, in the mean sample. Default: what `cost` makes of it; without a cost 0.002.
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
   * How many random changes of the best placement in a row have to lead nowhere before the search ends: 100
   * find 0.005 to 0.01 more balancedness in several times the time. Where 10,000 in a row find nothing to
   * change it ends as well. Default 0; 100 when `price` is 0 and no `cost` is given.
   */
  readonly numKicks?: number;
  /** 'groups': groups of experts stay on their node, as with the default policy. Default 'none'. */
  readonly locality?: 'none' | 'groups';
  /**
   * How sure a plan has to be, in standard errors of what it gains on samples that it was not made from: a
   * quarter of the samples, newer ones, are held back, and a plan from the others is measured on them; it
   * takes 4 samples. 0: no such trial. Default 2; 0 when `price` is 0 and no `cost` is given: moves that cost
   * nothing need no proof.
   */
  readonly confidence?: number;
  /**
   * When given, a plan that takes more seconds than it returns before the next one is not made. Default: not
   * given.
   */
  readonly cost?: AdaptiveCostModel;
  /**
   * Steps that a balancer remembers for this policy when its window is shorter; at most 65,536. Older steps
   * count as far as their loads are like the newest ones'. 0: only the window. Default 64.
   */
  readonly rememberedSteps?: number;
  /** At most so many samples, from 1 to 64; more steps are joined to runs. Default 64. */
  readonly maxSamples?: number;
}

/** The options with their defaults, checked. */
export interface AdaptiveSettings {
  readonly request: AdaptiveRequest;
  readonly rememberedSteps: number;
  readonly confidence: number;
  /** Whether moves were said to cost nothing. */
  readonly isFree: boolean;
  readonly cost: Required<AdaptiveCostModel>;
  /** Whether a plan has to return what it costs. */
  readonly hasCost: boolean;
}

const USUAL_PRICE = 0.002;
/**
 * Where moves are free, a thorough search is wanted: it gains 0.005 to 0.01. A price of 0.0003 halves its
 * moves, and costs at most 0.007 of balancedness on any of six recordings' next steps.
 */
const USUAL_KICKS_WHEN_FREE = 100;
const USUAL_CONFIDENCE = 2;
const MOST_SAMPLES = 64;
const USUAL_REMEMBERED_STEPS = 64;
const MOST_REMEMBERED_STEPS = 2 ** 16;
const NO_LIMIT = 2 ** 31 - 1;

/**
 * Reads each option once.
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE`, naming the option
 */
export function readAdaptiveOptions(options: AdaptiveEplbPolicyOptions): AdaptiveSettings {
  checkObject('options', options);
  const { price, maxMovesPerLayer, maxMoves: mostMoves, maxBytes, maxEvaluations, numKicks } = options;
  const { locality = 'none', confidence: sureness, cost: prices, rememberedSteps, maxSamples } = options;
  const cost = readCost(prices === undefined ? {} : prices);
  const hasCost = prices !== undefined;
  if (locality !== 'none' && locality !== 'groups') {
    throw new EplbRangeError('EPLB_RANGE', `locality: ${show(locality)} is neither 'none' nor 'groups'`);
  }
  const maxMoves = whole('maxMoves', mostMoves, 0, NO_LIMIT);
  const movesInBytes = Math.floor(readMaxBytes(maxBytes) / cost.bytesPerExpert);
  const isFree = price === 0 && !hasCost;
  const confidence = atLeast0('confidence', sureness, isFree ? 0 : USUAL_CONFIDENCE);
  return {
    request: {
      kernel: 'adaptive',
      price: atLeast0('price', price, hasCost ? 0 : USUAL_PRICE),
      priceInLoad: price === undefined && hasCost ? loadOfMove(cost) : 0,
      maxMovesPerLayer: whole('maxMovesPerLayer', maxMovesPerLayer, 0, NO_LIMIT),
      maxMoves: Math.min(maxMoves, movesInBytes),
      maxEvaluations: whole('maxEvaluations', maxEvaluations, 1, 10_000_000),
      numKicks: whole('numKicks', numKicks, 0, isFree ? USUAL_KICKS_WHEN_FREE : 0),
      keepsGroups: locality === 'groups',
      hasTrial: confidence > 0,
      maxSamples: whole('maxSamples', maxSamples, 1, MOST_SAMPLES, MOST_SAMPLES),
    },
    rememberedSteps: whole(
      'rememberedSteps',
      rememberedSteps,
      0,
      USUAL_REMEMBERED_STEPS,
      MOST_REMEMBERED_STEPS,
    ),
    confidence,
    isFree,
    cost,
    hasCost,
  };
}

/** The load that a move within a node has to take off the slowest rank to pay before the next plan. */
function loadOfMove(cost: Required<AdaptiveCostModel>): number {
  const load = cost.bytesPerExpert / cost.bandwidthWithinNode / (cost.secondsPerLoad * cost.stepsPerPlan);
  // Of what is beyond all numbers on the way nothing is known: then no move pays.
  return load < Number.POSITIVE_INFINITY ? load : Number.MAX_VALUE;
}

function readCost(cost: AdaptiveCostModel): Required<AdaptiveCostModel> {
  checkObject('cost', cost);
  return {
    secondsPerLoad: above0('cost.secondsPerLoad', cost.secondsPerLoad, 0.25e-6),
    stepsPerPlan: above0('cost.stepsPerPlan', cost.stepsPerPlan, 1000),
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

function above0(title: string, value: unknown, usual: number): number {
  if (value === undefined) return usual;
  const number = checkNumber(title, value);
  if (number > 0 && number < Number.POSITIVE_INFINITY) return number;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${number} is not a finite number above 0`);
}
