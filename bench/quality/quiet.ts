import { AdaptiveEplbPolicy, type LoadSamples } from 'expert-load-balancer';
import { Random } from '../random.ts';

const SIZES = { numLayers: 26, numExperts: 64, numSlots: 80, numRanks: 16, numSamples: 16 };
const WINDOWS = 20;
const TOKENS_TIMES_TOP_K = 128 * 6;

/** Moves in windows after the first plan, on loads that give no reason for any: all should be 0. */
interface Quiet {
  readonly price: number;
  readonly onSteadyLoads: number;
  readonly onNoise: number;
  readonly windows: number;
}

export function quietOf(price: number, seed: number): Quiet {
  const random = new Random(seed, 'noise around equal means');
  const noise = () =>
    samplesOf(() => {
      const row = new Float32Array(SIZES.numExperts);
      for (let i = 0; i < TOKENS_TIMES_TOP_K; i++) row[random.below(SIZES.numExperts)]! += 1;
      return row;
    });
  const skewed = Float32Array.from({ length: SIZES.numExperts }, (_, expert) =>
    Math.round(200 / (1 + expert)),
  );
  const steady = () => samplesOf(() => skewed);
  return {
    price,
    onSteadyLoads: movesOn(steady, price),
    onNoise: movesOn(noise, price),
    windows: WINDOWS,
  };
}

function samplesOf(draw: () => Float32Array): LoadSamples {
  const { numSamples, numLayers, numExperts } = SIZES;
  const data = new Float32Array(numSamples * numLayers * numExperts);
  for (let at = 0; at < data.length; at += numExperts) data.set(draw(), at);
  return { data, numSamples, numLayers, numExperts };
}

function movesOn(window: () => LoadSamples, price: number): number {
  const { numSlots, numRanks } = SIZES;
  const policy = new AdaptiveEplbPolicy({ price });
  let { mapping: live } = policy.planExperts(window(), numSlots, 1, 1, numRanks);
  let moves = 0;
  for (let i = 0; i < WINDOWS; i++) {
    const { mapping } = policy.planExperts(window(), numSlots, 1, 1, numRanks, { previous: live });
    moves += mapping.movesFrom(live, numRanks);
    live = mapping;
  }
  return moves;
}
