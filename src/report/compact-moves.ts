import { nodesWith, numRanksAdded } from '../replay/rank-events.ts';
import type { PlanMoves, ReplayResult } from '../replay/result.ts';
import { packNumbers } from './pack.ts';
import type { MovedData } from './report-data.ts';

/** Most moves that a page lists one by one, and most numbers of moves from node to node, over all replays. */
const MAX_PAGE_MOVES = 2500;
const MAX_NODE_NUMBERS = 8000;
/** Most plans of a page to choose from. */
const MAX_PLANS = 240;

/** How much of each replay a page holds. */
interface MovedBudget {
  readonly plansOfRun: number;
  readonly movesOfPlan: number;
}

/** Shares out what a page may hold: the same for every replay that moves something, and for every plan. */
export function movedBudget(replays: readonly ReplayResult[]): MovedBudget {
  const moving = replays.filter((replay) => movingPlans(replay).length > 0);
  const numRuns = Math.max(1, moving.length);
  const numNodes = Math.max(...replays.map(numNodesOf));
  const affordable = Math.min(MAX_PLANS, MAX_NODE_NUMBERS / numNodes ** 2) / numRuns;
  const plansOfRun = Math.max(1, Math.floor(affordable));
  const shown = moving.reduce((sum, replay) => sum + Math.min(plansOfRun, movingPlans(replay).length), 0);
  return { plansOfRun, movesOfPlan: Math.max(1, Math.floor(MAX_PAGE_MOVES / Math.max(1, shown))) };
}

/** What a replay moves: in all, and plan by plan as far as a page has room. */
export function movedData(replay: ReplayResult, { plansOfRun, movesOfPlan }: MovedBudget): MovedData {
  const plans = movingPlans(replay);
  const shown = plans.slice(0, plansOfRun);
  const numNodes = numNodesOf(replay);
  const nodeMoves = Array.from({ length: numNodes }, (_, from) =>
    Array.from({ length: numNodes }, (_, to) =>
      plans.reduce((sum, { moved }) => sum + moved.nodeMoves[from]![to]!, 0),
    ),
  );
  const column = (field: Exclude<keyof PlanMoves, 'nodeMoves'>) =>
    packNumbers(shown.flatMap(({ moved }) => moved[field].slice(0, movesOfPlan)));
  return {
    numPlans: plans.length,
    nodeMoves,
    plans: shown.map(({ startedAfterStep, moves, moved }) => ({
      startedAfterStep,
      moves,
      nodeMoves: moved.nodeMoves,
      numListed: Math.min(movesOfPlan, moved.layers.length),
    })),
    layers: column('layers'),
    experts: column('experts'),
    fromRanks: column('fromRanks'),
    toRanks: column('toRanks'),
    loads: column('loads'),
  };
}

function movingPlans({ plans }: ReplayResult): ReplayResult['plans'] {
  return plans.filter(({ moves }) => moves > 0);
}

/** Those of ranks that come on the way among them. */
function numNodesOf({ configuration }: ReplayResult): number {
  return nodesWith(configuration, numRanksAdded(configuration.events)).at(-1)! + 1;
}
