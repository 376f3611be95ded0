import { MAX_SERIES_POINTS, type SpreadColumn, type StepSeries } from './result.ts';

/** What a step adds to a series. Loads are in units that become seconds by a factor known at the end. */
interface SeriesStep {
  readonly step: number;
  readonly balancedness: number;
  readonly unbalancedBalancedness: number;
  readonly worstLayerPeakToAverage: number;
  readonly units: number;
  readonly unbalancedUnits: number;
  readonly moves: number;
  readonly bytes: number;
  readonly moveSeconds: number;
}

/** Values of a point's steps: all that thinning keeps of them. */
class Spread {
  readonly sums: number[] = [];
  readonly least: number[] = [];
  readonly most: number[] = [];

  add(point: number, value: number): void {
    if (point === this.sums.length) {
      this.sums.push(value);
      this.least.push(value);
      this.most.push(value);
      return;
    }
    this.sums[point]! += value;
    this.least[point] = Math.min(this.least[point]!, value);
    this.most[point] = Math.max(this.most[point]!, value);
  }

  halve(): void {
    mergePairs(this.sums, (a, b) => a + b);
    mergePairs(this.least, Math.min);
    mergePairs(this.most, Math.max);
  }

  /** @param counts steps of each point */
  column(counts: readonly number[], factor: number): SpreadColumn {
    return {
      mean: this.sums.map((sum, point) => (sum / counts[point]!) * factor),
      min: this.least.map((value) => value * factor),
      max: this.most.map((value) => value * factor),
    };
  }
}

/** Collects a {@link StepSeries}: when there are too many points, each two neighbours become one. */
export class SeriesBuilder {
  readonly #firstStep: number[] = [];
  readonly #counts: number[] = [];
  readonly #balancedness = new Spread();
  readonly #unbalancedBalancedness = new Spread();
  readonly #worstPeak = new Spread();
  readonly #units = new Spread();
  readonly #unbalancedUnits = new Spread();
  readonly #moves = new Spread();
  readonly #bytes = new Spread();
  readonly #moveSeconds = new Spread();
  readonly #spreads = [
    this.#balancedness,
    this.#unbalancedBalancedness,
    this.#worstPeak,
    this.#units,
    this.#unbalancedUnits,
    this.#moves,
    this.#bytes,
    this.#moveSeconds,
  ];
  #stepsPerPoint = 1;

  add(step: SeriesStep): void {
    const last = this.#counts.length - 1;
    const opens = last < 0 || this.#counts[last] === this.#stepsPerPoint;
    if (opens && this.#counts.length === MAX_SERIES_POINTS) {
      this.#halve();
      this.add(step);
      return;
    }
    if (opens) {
      this.#firstStep.push(step.step);
      this.#counts.push(0);
    }
    const point = this.#counts.length - 1;
    this.#counts[point]!++;
    this.#balancedness.add(point, step.balancedness);
    this.#unbalancedBalancedness.add(point, step.unbalancedBalancedness);
    this.#worstPeak.add(point, step.worstLayerPeakToAverage);
    this.#units.add(point, step.units);
    this.#unbalancedUnits.add(point, step.unbalancedUnits);
    this.#moves.add(point, step.moves);
    this.#bytes.add(point, step.bytes);
    this.#moveSeconds.add(point, step.moveSeconds);
  }

  /** @param secondsPerUnit what turns units of load into modelled seconds */
  series(secondsPerUnit: number): StepSeries {
    return {
      stepsPerPoint: this.#stepsPerPoint,
      firstStep: this.#firstStep.slice(),
      balancedness: this.#balancedness.column(this.#counts, 1),
      unbalancedBalancedness: this.#unbalancedBalancedness.column(this.#counts, 1),
      worstLayerPeakToAverage: this.#worstPeak.most.slice(),
      stepSeconds: this.#units.column(this.#counts, secondsPerUnit),
      unbalancedStepSeconds: this.#unbalancedUnits.column(this.#counts, secondsPerUnit),
      moves: this.#moves.sums.slice(),
      bytes: this.#bytes.sums.slice(),
      moveSeconds: this.#moveSeconds.sums.slice(),
    };
  }

  #halve(): void {
    for (const spread of this.#spreads) spread.halve();
    mergePairs(this.#counts, (a, b) => a + b);
    mergePairs(this.#firstStep, (a) => a);
    this.#stepsPerPoint *= 2;
  }
}

/** Makes one of each two values in place. Their number is even: it is {@link MAX_SERIES_POINTS}. */
function mergePairs(values: number[], merge: (a: number, b: number) => number): void {
  for (let i = 0; i < values.length / 2; i++) values[i] = merge(values[2 * i]!, values[2 * i + 1]!);
  values.length /= 2;
}
