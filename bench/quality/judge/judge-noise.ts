import { Random } from '../../random.ts';
import type { Row } from '../recordings.ts';
import { ADAPTIVE, PLANNERS } from './planners.ts';
import { play } from './play.ts';
import type { NoiseResult, TrialsResult } from './results.ts';

const NUM_EXPERTS = 64;
const SIZES = { numSlots: 80, numRanks: 16, window: 16 };
const NUM_LAYERS = 8;
const TOKENS = 768;
const WINDOWS = 20;
const INTERVAL = 8;
const TRIALS = 1000;

/** Window after window of draws from equal means: nothing is worth a move. */
export async function judgeNoise(seed: number): Promise<NoiseResult> {
  const random = new Random(seed, 'windows of equal means');
  const row = noiseRow(random, NUM_LAYERS, SIZES.window + WINDOWS * INTERVAL, INTERVAL);
  const plans = await play(row, PLANNERS[ADAPTIVE]!);
  const moves = plans.reduce((sum, plan) => sum + plan.moves, 0);
  return { kind: 'noise', windows: plans.length, moves: moves / SIZES.numSlots / NUM_LAYERS };
}

/** First plans, each for a window of draws of its own. */
export async function judgeTrials(seed: number): Promise<TrialsResult> {
  const random = new Random(seed, 'first plans for equal means');
  const shares: number[] = [];
  for (let trial = 0; trial < TRIALS; trial++) {
    const [plan] = await play(noiseRow(random, 1, SIZES.window + 1, 1), PLANNERS[ADAPTIVE]!);
    shares.push(plan!.moves / SIZES.numSlots);
  }
  return {
    kind: 'trials',
    trials: TRIALS,
    withMoves: shares.filter((share) => share > 0).length,
    moves: shares.reduce((sum, share) => sum + share, 0) / TRIALS,
    mostMoves: Math.max(...shares),
  };
}

function noiseRow(random: Random, numLayers: number, numSteps: number, every: number): Row {
  const loads = Array.from({ length: numSteps }, () => {
    const step = new Float32Array(numLayers * NUM_EXPERTS);
    for (let i = 0; i < numLayers * TOKENS; i++) {
      step[Math.floor(i / TOKENS) * NUM_EXPERTS + random.below(NUM_EXPERTS)]! += 1;
    }
    return step;
  });
  return { ...SIZES, name: 'noise', every, steps: { loads, numLayers, numExperts: NUM_EXPERTS } };
}
