import type { Row } from '../recordings.ts';
import { ADAPTIVE, adaptiveWithin, DEFAULT, type PlannerMaker } from './planners.ts';
import { balancednessOf, balancednessUnder, type PlayedPlan, play } from './play.ts';
import { type Directories, readSource } from './read-loads.ts';
import type { Outcome, SettingResult } from './results.ts';
import { familyOf, type Setting, settingName } from './settings.ts';

/** Stationary loads are settled by then. */
const PLANS_TO_SETTLE = 3;

/** Runs all planners on one setting. */
export async function judgeSetting(
  directories: Directories,
  setting: Setting,
  planners: Readonly<Record<string, PlannerMaker>>,
): Promise<SettingResult> {
  const row = rowOf(directories, setting);
  const played = new Map<string, readonly PlayedPlan[]>();
  for (const [name, makePlanner] of Object.entries(planners)) {
    console.error(`${row.name}: ${name}`);
    played.set(name, await play(row, makePlanner));
  }
  const outcomes = Object.fromEntries([...played].map(([name, plans]) => [name, outcomeOf(row, plans)]));
  const limit = outcomes[DEFAULT]!.moves / 4;
  const isBeyond = outcomes[ADAPTIVE]!.moves > limit;
  const slots = row.numSlots * row.steps.numLayers;
  const held = isBeyond ? await play(row, adaptiveWithin(Math.floor(limit * slots))) : undefined;
  const isStationary = familyOf(setting.source).startsWith('stationary');
  return {
    kind: 'setting',
    setting,
    outcomes,
    ...(held === undefined ? {} : { quarter: outcomeOf(row, held) }),
    ...(isStationary ? { best: bestMapping(row, played) } : {}),
  };
}

function rowOf(directories: Directories, setting: Setting): Row {
  const { source, numSlots, numRanks, window, interval } = setting;
  const steps = readSource(directories, source);
  return { name: settingName(setting), steps, numSlots, numRanks, window, every: interval };
}

function outcomeOf({ numSlots, steps }: Row, plans: readonly PlayedPlan[]): Outcome {
  const slots = numSlots * steps.numLayers;
  const sum = (of: (plan: PlayedPlan) => number, from = 0) =>
    plans.slice(from).reduce((total, plan) => total + of(plan), 0);
  return {
    balancedness: balancednessOf(plans),
    moves: sum(({ moves }) => moves) / plans.length / slots,
    foreseenGain: sum(({ foreseenGain }) => foreseenGain),
    realisedGain: sum(({ realisedGain }) => realisedGain),
    laterForeseenGain: sum(({ foreseenGain }) => foreseenGain, 1),
    laterRealisedGain: sum(({ realisedGain }) => realisedGain, 1),
    // The third plan's own steps are the first ones after it.
    settledBalancedness: balancednessOf(plans.slice(PLANS_TO_SETTLE - 1)),
    settledMoves: sum(({ moves }) => moves, PLANS_TO_SETTLE) / slots,
  };
}

/** The best of all mappings that some planner made at any time, on the steps after the third plan. */
function bestMapping(row: Row, played: ReadonlyMap<string, readonly PlayedPlan[]>) {
  const { loads } = row.steps;
  const settled = loads.slice(row.window + (PLANS_TO_SETTLE - 1) * row.every);
  let best = { planner: '', balancedness: 0 };
  for (const [planner, plans] of played) {
    for (const mapping of new Set(plans.map((plan) => plan.mapping))) {
      const balancedness = balancednessUnder(mapping, row, settled);
      if (balancedness > best.balancedness) best = { planner, balancedness };
    }
  }
  return best;
}
