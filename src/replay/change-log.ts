import type { ChangeSteps, RankChangeResult } from './rank-change-result.ts';
import type { RankChange, RankEvent } from './rank-events.ts';

/** Steps before a change that it is compared with, and at the end of its time: at most. */
const COMPARED_STEPS = 32;
/** Steps in a row that have to be balanced as before, in their mean. */
const BACK_STEPS = 8;
/** As balanced as before is at least this share of it: less is noise. */
const BACK_SHARE = 0.99;

/** A step, as far as changes are judged by it. */
interface JudgedStep {
  readonly balancedness: number;
  readonly units: number;
  /** At perfect balance on the ranks that live. */
  readonly idealUnits: number;
  readonly moveSeconds: number;
}

/** What a change does at once. */
export type ChangeStart = RankChange &
  Pick<
    RankChangeResult,
    | 'numLiveRanks'
    | 'lostExperts'
    | 'lostLoadShare'
    | 'hostLoads'
    | 'moves'
    | 'bytes'
    | 'repairSeconds'
    | 'unbalancedRepairSeconds'
  >;

/** Follows what changes of ranks lose, and how long it takes until steps are as balanced as before. */
export class ChangeLog {
  #recent: JudgedStep[] = [];
  readonly #watches: ChangeWatch[] = [];

  /** A change comes before the next step. */
  begin(start: ChangeStart): void {
    this.#watches.push(new ChangeWatch(start, this.#recent));
    this.#recent = [];
  }

  add(step: JudgedStep): void {
    this.#recent.push(step);
    if (this.#recent.length > COMPARED_STEPS) this.#recent.shift();
    this.#watches.at(-1)?.add(step, this.#recent);
  }

  /** What the first mapping's repairs took, all of them. */
  get unbalancedRepairSeconds(): number {
    return this.#watches.reduce((sum, { start }) => sum + start.unbalancedRepairSeconds, 0);
  }

  results(secondsPerUnit: number): RankChangeResult[] {
    return this.#watches.map((watch) => watch.result(secondsPerUnit));
  }
}

/** One change, until the next one. */
class ChangeWatch {
  readonly start: ChangeStart;
  readonly #before: readonly JudgedStep[];
  /** Their units, and what they would be at perfect balance. */
  readonly #unitsBefore: number;
  readonly #idealBefore: number;
  /** The first steps after it. */
  readonly #first: JudgedStep[] = [];
  /** The last ones. */
  #last: readonly JudgedStep[] = [];
  #numSteps = 0;
  #stepsUntilBack: number | undefined;
  /** Units and seconds beyond what the steps would take balanced as before, until they are. */
  readonly #lost = { units: 0, moveSeconds: 0 };

  constructor(start: ChangeStart, before: readonly JudgedStep[]) {
    this.start = start;
    this.#before = before;
    this.#unitsBefore = before.reduce((sum, step) => sum + step.units, 0);
    this.#idealBefore = before.reduce((sum, step) => sum + step.idealUnits, 0);
  }

  add(step: JudgedStep, recent: readonly JudgedStep[]): void {
    this.#numSteps++;
    this.#last = recent.slice(-Math.min(this.#numSteps, COMPARED_STEPS));
    if (this.#first.length < BACK_STEPS) this.#first.push(step);
    if (this.#stepsUntilBack !== undefined || this.#before.length === 0) return;
    this.#count(step, 1);
    const run = this.#last.slice(-BACK_STEPS);
    if (run.length < BACK_STEPS) return;
    if (meanBalancedness(run) < BACK_SHARE * meanBalancedness(this.#before)) return;
    this.#stepsUntilBack = this.#numSteps - BACK_STEPS;
    for (const early of run) this.#count(early, -1);
    // Exactly, not up to rounding.
    if (this.#stepsUntilBack === 0) Object.assign(this.#lost, { units: 0, moveSeconds: 0 });
  }

  #count({ units, idealUnits, moveSeconds }: JudgedStep, sign: 1 | -1): void {
    const ideal = this.#idealBefore;
    const asBefore = ideal === 0 ? units : (idealUnits * this.#unitsBefore) / ideal;
    this.#lost.units += sign * (units - asBefore);
    this.#lost.moveSeconds += sign * moveSeconds;
  }

  result(secondsPerUnit: number): RankChangeResult {
    const { topology: _, events, ...start } = this.start;
    const hasBefore = this.#before.length > 0;
    const { units, moveSeconds } = this.#lost;
    return {
      ...start,
      numSteps: this.#numSteps,
      events: events.map((event): RankEvent => ({ ...event })),
      before: hasBefore ? stepsOf(this.#before, secondsPerUnit) : null,
      atOnce: stepsOf(this.#first, secondsPerUnit),
      settled: stepsOf(this.#last, secondsPerUnit),
      stepsUntilBack: this.#stepsUntilBack ?? null,
      secondsLost: hasBefore ? units * secondsPerUnit + moveSeconds + this.start.repairSeconds : null,
    };
  }
}

function meanBalancedness(steps: readonly JudgedStep[]): number {
  return steps.reduce((sum, { balancedness }) => sum + balancedness, 0) / steps.length;
}

function stepsOf(steps: readonly JudgedStep[], secondsPerUnit: number): ChangeSteps {
  const units = steps.reduce((sum, step) => sum + step.units, 0);
  return {
    numSteps: steps.length,
    balancedness: steps.length === 0 ? 1 : meanBalancedness(steps),
    stepSeconds: steps.length === 0 ? 0 : (units / steps.length) * secondsPerUnit,
  };
}
