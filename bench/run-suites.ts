import { describeMachine, loadAverage } from './machine.ts';
import type { Limits } from './measure.ts';
import { type Report, type ReportedFigure, type RunHead, reported } from './report.ts';
import type { Suite, SuiteContext } from './suite.ts';
import { yardstick } from './yardstick.ts';

const WHOLE: Limits = { time: 300, iterations: 10, warmupTime: 100, warmupIterations: 5 };
const QUICK: Limits = { time: 20, iterations: 3, warmupTime: 10, warmupIterations: 2 };

/** What is run. */
interface RunOptions {
  readonly suites: readonly Suite[];
  readonly seed: number;
  readonly isQuick: boolean;
}

/** Who is told of a run while it goes on. */
interface RunListener {
  readonly begun?: (head: RunHead, loadBefore: number) => void;
  readonly ended?: (suite: Suite, figures: readonly ReportedFigure[]) => void;
}

export function headOf({ seed, isQuick }: Omit<RunOptions, 'suites'>): RunHead {
  return { format: 2, machine: describeMachine(), seed, isQuick };
}

/** Runs the suites one after the other. How long each took goes to standard error. */
export async function runSuites(options: RunOptions, { begun, ended }: RunListener = {}): Promise<Report> {
  const { suites, seed, isQuick } = options;
  const head = headOf(options);
  const before = loadAverage();
  const context: SuiteContext = {
    seed,
    isQuick,
    limits: isQuick ? QUICK : WHOLE,
    pick: (whole, quick) => (isQuick ? quick : whole),
  };
  if (globalThis.gc === undefined)
    console.error('without --expose-gc garbage of one task is collected in the next');
  begun?.(head, before);
  const figures: ReportedFigure[] = [];
  const yardsticks: Record<string, number> = {};
  for (const suite of suites) {
    const start = performance.now();
    const yardstickBefore = yardstick();
    const results = (await suite.run(context)).map(reported);
    yardsticks[suite.name] = (yardstickBefore + yardstick()) / 2;
    console.error(`(${suite.name} took ${((performance.now() - start) / 1000).toFixed(1)} s)`);
    figures.push(...results);
    ended?.(suite, results);
  }
  return { ...head, loadAverage: { before, after: loadAverage() }, yardsticks, figures };
}
