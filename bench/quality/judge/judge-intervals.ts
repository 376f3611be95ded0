import type { Row } from '../recordings.ts';
import { ADAPTIVE, DEFAULT, PLANNERS, type PlannerMaker } from './planners.ts';
import { balancednessOf, play } from './play.ts';
import { type Directories, readSource } from './read-loads.ts';
import type { IntervalOutcome, IntervalResult } from './results.ts';
import { type Source, sourceName } from './settings.ts';

const WINDOW = 64;
const INTERVALS = [8, 16, 32, 64, 128];
const MOST_RANKS = 16;

/** Plans more and less often for the same loads: one spare slot to eight experts. */
export async function judgeIntervals(directories: Directories, source: Source): Promise<IntervalResult> {
  const steps = readSource(directories, source);
  const numSlots = (steps.numExperts * 9) / 8;
  const numRanks = Math.min(MOST_RANKS, steps.numExperts / 8);
  const byInterval: IntervalOutcome[] = [];
  for (const every of INTERVALS) {
    const name = `${sourceName(source)}, ${numSlots} on ${numRanks}, w${WINDOW}/${every}`;
    console.error(name);
    const row: Row = { name, steps, numSlots, numRanks, window: WINDOW, every };
    byInterval.push({
      interval: every,
      adaptive: await scoreOf(row, PLANNERS[ADAPTIVE]!),
      default: await scoreOf(row, PLANNERS[DEFAULT]!),
    });
  }
  return { kind: 'intervals', source, byInterval };
}

async function scoreOf(row: Row, makePlanner: PlannerMaker): Promise<IntervalOutcome['adaptive']> {
  const { loads, numLayers } = row.steps;
  const plans = await play(row, makePlanner);
  const moves = plans.reduce((sum, plan) => sum + plan.moves, 0);
  const movesPerStep = moves / (loads.length - row.window) / row.numSlots / numLayers;
  return { balancedness: balancednessOf(plans), movesPerStep };
}
