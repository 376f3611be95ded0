import type { Topology } from '../../core/topology.ts';
import type { CostModel } from '../../cost/cost-model.ts';
import { type ExchangeByLink, evenSecondsPerToken, exchangeByLink } from '../../cost/exchange.ts';

/** Where the points of a curve lie, as kernels/adaptive/curve.ts reads them: see there. */
const POINTS_PER_OCTAVE = 8;
const FIRST_OCTAVE = -6;
const NUM_OCTAVES = 28;
export const NUM_CURVE_POINTS = 2 + POINTS_PER_OCTAVE * NUM_OCTAVES;

/** Bits of a float32 below those that tell the point, and what 2^FIRST_OCTAVE has above them. */
const POINT_BITS = 23 - Math.log2(POINTS_PER_OCTAVE);
const FIRST_POINT = (127 + FIRST_OCTAVE) * POINTS_PER_OCTAVE;

/** What slots take of a rank's time, as a job carries it. */
export interface SlotCosts extends ExchangeByLink {
  /**
   * `[NUM_CURVE_POINTS]`: seconds of a slot that is to get so many tokens: the mean over how many come. Whole
   * tokens come by chance, as a Poisson variable: of few none may come, and the slot is idle.
   */
  readonly seconds: Float32Array;
}

/** Tokens of a point of the curve. */
export function tokensOfPoint(point: number): number {
  if (point === 0) return 0;
  const octave = Math.floor((point - 1) / POINTS_PER_OCTAVE);
  const part = (point - 1) % POINTS_PER_OCTAVE;
  return 2 ** (FIRST_OCTAVE + octave) * (1 + part / POINTS_PER_OCTAVE);
}

export function slotCostsOf(model: CostModel): SlotCosts {
  return {
    ...exchangeByLink(model),
    seconds: Float32Array.from({ length: NUM_CURVE_POINTS }, (_, point) =>
      expectedSeconds(model, tokensOfPoint(point)),
    ),
  };
}

/** Writes the curve of slots on ranks that send each other tokens. */
export function writeCurve(costs: SlotCosts, { numRanks, numNodes }: Topology, out: Float32Array): void {
  const perToken = evenSecondsPerToken(costs, numRanks, numNodes);
  for (const [point, seconds] of costs.seconds.entries())
    out[point] = seconds + perToken * tokensOfPoint(point);
}

/** The same curve as a function, read between its points as kernels/adaptive/curve.ts does. */
export function slotSecondsOf(costs: SlotCosts, topology: Topology): (tokens: number) => number {
  const curve = new Float32Array(NUM_CURVE_POINTS);
  writeCurve(costs, topology, curve);
  const points = Float64Array.from(curve, (_, point) => tokensOfPoint(point));
  const number = new Float32Array(1);
  const bits = new Int32Array(number.buffer);
  return (tokens) => {
    number[0] = tokens;
    // The exponent, and the first bits of the fraction: which eighth of its octave it is in.
    const step = (bits[0]! >> POINT_BITS) - FIRST_POINT;
    const at = Math.min(Math.max(step + 1, 0), NUM_CURVE_POINTS - 2);
    const slope = (curve[at + 1]! - curve[at]!) / (points[at + 1]! - points[at]!);
    return curve[at]! + slope * (tokens - points[at]!);
  };
}

/** Of so many tokens chance adds or takes away less than the points are apart. */
const MOST_BY_CHANCE = 2 ** 11;
/** Standard deviations to either side, beyond which nothing comes. */
const REACH = 5;

/** Seconds of a slot that so many tokens come to in the mean. */
function expectedSeconds(model: CostModel, mean: number): number {
  if (mean === 0 || mean > MOST_BY_CHANCE) return model.slotSeconds(mean);
  const reach = REACH * Math.sqrt(mean) + REACH;
  const first = Math.max(0, Math.floor(mean - reach));
  const last = Math.ceil(mean + reach);
  // From the likeliest number outwards, as exp(-mean) may be no number.
  const mode = Math.floor(mean);
  let seconds = model.slotSeconds(mode);
  let total = 1;
  let chance = 1;
  for (let tokens = mode + 1; tokens <= last; tokens++) {
    chance *= mean / tokens;
    total += chance;
    seconds += chance * model.slotSeconds(tokens);
  }
  chance = 1;
  for (let tokens = mode - 1; tokens >= first; tokens--) {
    chance *= (tokens + 1) / mean;
    total += chance;
    seconds += chance * model.slotSeconds(tokens);
  }
  return seconds / total;
}
