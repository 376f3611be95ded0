import type { GroupHistoryView, HistoryPoint, HistorySpan } from './view.ts';

/** A step as it was measured. */
export interface MeasuredStep {
  readonly atMs: number;
  readonly epoch: number;
  readonly balancedness: number;
  /** Undefined without a cost model. */
  readonly secondsLost: number | undefined;
}

/** Five digits tell more than a picture shows. */
const rounded = (value: number) => Number(value.toPrecision(5));

interface OpenPoint {
  readonly atMs: number;
  epoch: number;
  numSteps: number;
  sum: number;
  lowest: number;
  highest: number;
  secondsSum: number;
  numTimed: number;
}

/** The last points of one width; older ones are forgotten. */
class Span {
  readonly #pointMs: number;
  readonly #maxPoints: number;
  readonly #points: OpenPoint[] = [];

  constructor(pointMs: number, maxPoints: number) {
    this.#pointMs = pointMs;
    this.#maxPoints = maxPoints;
  }

  add({ atMs, epoch, balancedness, secondsLost }: MeasuredStep): void {
    const begin = Math.floor(atMs / this.#pointMs) * this.#pointMs;
    let point = this.#points.at(-1);
    // A clock that is set back adds to the last point.
    if (point === undefined || begin > point.atMs) {
      point = {
        ...{ atMs: begin, epoch, numSteps: 0, sum: 0, secondsSum: 0, numTimed: 0 },
        ...{ lowest: balancedness, highest: balancedness },
      };
      this.#points.push(point);
      if (this.#points.length > this.#maxPoints) this.#points.shift();
    }
    point.epoch = epoch;
    point.numSteps++;
    point.sum += balancedness;
    point.lowest = Math.min(point.lowest, balancedness);
    point.highest = Math.max(point.highest, balancedness);
    if (secondsLost === undefined) return;
    point.secondsSum += secondsLost;
    point.numTimed++;
  }

  /** From a point on, that is as it was or has changed since. */
  since(atMs: number): HistoryPoint[] {
    return this.#points.filter((point) => point.atMs >= atMs).map(viewOf);
  }

  get lastMs(): number {
    return this.#points.at(-1)?.atMs ?? 0;
  }

  view(): HistorySpan {
    const secondsPerPoint = this.#pointMs / 1000;
    return { secondsPerPoint, maxPoints: this.#maxPoints, points: this.#points.map(viewOf) };
  }
}

function viewOf({ atMs, epoch, numSteps, sum, lowest, highest, ...timed }: OpenPoint): HistoryPoint {
  const seconds = timed.numTimed === 0 ? null : rounded(timed.secondsSum / timed.numTimed);
  return [atMs, epoch, rounded(sum / numSteps), rounded(lowest), rounded(highest), seconds];
}

/** Ten minutes in points of 2 seconds, and eight hours in minutes: a group's history takes 80 kB at most. */
const MINUTES = [2000, 300] as const;
const HOURS = [60_000, 480] as const;

/** How balanced a group was over time, bounded whatever is recorded. */
export class GroupHistory {
  readonly #minutes = new Span(...MINUTES);
  readonly #hours = new Span(...HOURS);
  /** When the newest points began that were told, and these as they were. */
  #told = { minutes: 0, hours: 0 };
  #lastTold = JSON.stringify({ minutes: [], hours: [] });

  add(step: MeasuredStep): void {
    this.#minutes.add(step);
    this.#hours.add(step);
  }

  view(): GroupHistoryView {
    return { minutes: this.#minutes.view(), hours: this.#hours.view() };
  }

  /**
   * The points that are new or others than at the last call; undefined when there are none. The newest of
   * each span may come again, as more steps have come into it.
   */
  news(): Readonly<Record<keyof GroupHistoryView, readonly HistoryPoint[]>> | undefined {
    const points = this.#since(this.#told);
    if (JSON.stringify(points) === this.#lastTold) return undefined;
    this.#told = { minutes: this.#minutes.lastMs, hours: this.#hours.lastMs };
    this.#lastTold = JSON.stringify(this.#since(this.#told));
    return points;
  }

  #since({ minutes, hours }: Readonly<Record<keyof GroupHistoryView, number>>) {
    return { minutes: this.#minutes.since(minutes), hours: this.#hours.since(hours) };
  }
}
