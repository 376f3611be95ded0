import { availableParallelism } from 'node:os';
import type { ReplayResult } from '../../replay/index.ts';
import { Interrupt } from '../interrupt.ts';
import type { Progress } from '../progress.ts';
import { ReplayPool } from './pool.ts';
import { ControlWord, type ReplayTask } from './task.ts';

/** What became of a task: undefined when it was interrupted before it began. */
type TaskOutcome = ReplayResult | Error | undefined;

/** What the bar counts. */
export interface WorkSize {
  /** Steps of each replay, where they are known. */
  readonly numSteps: number | undefined;
  /** Bytes of the recording. */
  readonly numBytes: number;
}

interface RunOptions {
  readonly size: WorkSize;
  readonly progress: Progress;
  /** Whether one that fails ends the others. */
  readonly stopsAtError: boolean;
  /** Called when a task is done, in the order that they end. */
  readonly onDone?: (index: number, outcome: ReplayResult | Error) => Promise<void> | void;
}

/** How often the bar moves. */
const LOOK_MS = 100;

/**
 * Replays all tasks, one in each worker. The first Ctrl-C ends the replays with the steps so far and begins
 * no other; the second one ends the process.
 */
export async function runReplays(
  tasks: readonly ReplayTask[],
  { size, progress, stopsAtError, onDone }: RunOptions,
): Promise<{ outcomes: TaskOutcome[]; wasInterrupted: boolean }> {
  const outcomes: TaskOutcome[] = tasks.map(() => undefined);
  let isStopped = false;
  const stop = () => {
    isStopped = true;
    for (const { control } of tasks) Atomics.store(control, ControlWord.STOP, 1);
  };
  const pool = await ReplayPool.start(tasks.length);
  const interrupt = new Interrupt(stop);
  const timer = follow(tasks, size, progress);
  let next = 0;
  const runOne = async () => {
    while (next < tasks.length && !isStopped) {
      const index = next++;
      const outcome = await pool.replay(tasks[index]!).catch((error: Error) => error);
      outcomes[index] = outcome;
      if (outcome instanceof Error && stopsAtError) stop();
      await onDone?.(index, outcome);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(tasks.length, availableParallelism()) }, runOne));
  } finally {
    clearInterval(timer);
    progress.stop();
    interrupt.release();
    await pool.close();
  }
  const failed = outcomes.find((outcome) => outcome instanceof Error);
  if (stopsAtError && failed !== undefined) throw failed;
  return { outcomes, wasInterrupted: interrupt.wasAsked };
}

/** Moves the bar: by steps where their number is known, by bytes read else. */
function follow(tasks: readonly ReplayTask[], size: WorkSize, progress: Progress): NodeJS.Timeout {
  const { numSteps, numBytes } = size;
  const word = numSteps === undefined ? ControlWord.KILOBYTES : ControlWord.STEPS;
  const total = (numSteps ?? Math.ceil(numBytes / 1000)) * tasks.length;
  progress.begin('replaying', total, numSteps === undefined ? 'kB' : 'steps');
  return setInterval(() => {
    const done = tasks.reduce((sum, { control }) => sum + Atomics.load(control, word), 0);
    progress.update(Math.min(done, total));
  }, LOOK_MS);
}
