import { isOwnError } from '../../core/errors.ts';
import {
  type BatchText,
  type ReplayResult,
  type SweepPoint,
  type SweepPointDone,
  sweepPoint,
} from '../../replay/index.ts';
import { Progress } from '../progress.ts';
import type { ReplaySetup } from './make-task.ts';
import { runReplays } from './run.ts';
import type { GridPoint } from './sweep-grid.ts';
import type { SweepState } from './sweep-state.ts';
import { newControl, type ReplayTask } from './task.ts';

/** What became of a grid. */
interface GridOutcome {
  readonly points: readonly SweepPoint[];
  readonly wasInterrupted: boolean;
  /** Points that the state had. */
  readonly numTaken: number;
  /** The whole results of the fastest point of each policy, where it was replayed in this run. */
  readonly bests: ReadonlyMap<string, { readonly name: string; readonly result: ReplayResult }>;
}

/** Replays what is not done yet, all cores busy. */
export async function runGrid(
  setup: ReplaySetup,
  grid: readonly GridPoint[],
  state: SweepState | undefined,
): Promise<GridOutcome> {
  const points = new Map<string, SweepPoint>();
  const bests = new Map<string, { name: string; seconds: number; result: ReplayResult }>();
  const left: { key: GridPoint['key']; task: ReplayTask; batch: BatchText }[] = [];
  for (const point of grid) {
    const known = 'failed' in point ? point.failed : state?.find(point.key.name);
    if (known !== undefined) points.set(point.key.name, known);
    else if ('task' in point) left.push(point);
  }
  const numTaken = grid.filter((point) => 'task' in point).length - left.length;
  const { wasInterrupted } = await runReplays(
    left.map(({ task }) => task),
    {
      size: setup.size,
      progress: new Progress(process.stderr),
      stopsAtError: false,
      onDone: async (index, outcome) => {
        const { key, batch } = left[index]!;
        // What was interrupted is replayed whole when the sweep goes on.
        if (!(outcome instanceof Error) && outcome.status === 'partial') return;
        const point = outcome instanceof Error ? failedPoint(key, outcome) : sweepPoint(key, outcome, batch);
        points.set(key.name, point);
        await state?.add(point);
        if (outcome instanceof Error) return;
        const seconds = outcome.totals.modelledSeconds;
        const best = bests.get(key.policy);
        if (best === undefined || seconds < best.seconds) {
          bests.set(key.policy, { name: key.name, seconds, result: outcome });
        }
      },
    },
  );
  const inOrder = grid.flatMap(({ key }) => points.get(key.name) ?? []);
  return { points: inOrder, wasInterrupted, numTaken, bests };
}

/**
 * The whole results of the fastest point of each policy; those that an earlier run had done are replayed
 * again.
 */
export async function bestReplays(
  setup: ReplaySetup,
  grid: readonly GridPoint[],
  sweep: GridOutcome,
): Promise<ReplayResult[]> {
  const fastest = new Map<string, SweepPointDone>();
  for (const point of sweep.points) {
    const best = fastest.get(point.policy);
    if (point.status === 'failed' || (best !== undefined && best.modelledSeconds <= point.modelledSeconds))
      continue;
    fastest.set(point.policy, point);
  }
  const results: ReplayResult[] = [];
  for (const { policy, name } of fastest.values()) {
    const kept = sweep.bests.get(policy);
    if (kept?.name === name) {
      results.push(kept.result);
      continue;
    }
    const point = grid.find(({ key }) => key.name === name);
    if (point === undefined || !('task' in point)) continue;
    const task = { ...point.task, control: newControl() };
    const { outcomes } = await runReplays([task], {
      size: setup.size,
      progress: new Progress(process.stderr),
      stopsAtError: true,
    });
    results.push(outcomes[0] as ReplayResult);
  }
  return results;
}

function failedPoint(key: GridPoint['key'], error: Error): SweepPoint {
  const code = isOwnError(error) ? error.code : 'EPLB_INTERNAL';
  return { ...key, status: 'failed', code, message: error.message };
}
