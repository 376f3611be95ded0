import type { RealisedGain } from '../../index.ts';
import type { LoadMatrix } from '../../loads/load-matrix.ts';
import { KeptLoads } from './kept-loads.ts';
import type { BeforeAfter, LiveRow, PlanRow } from './view.ts';

/** Rows that are kept of either. */
const MOST_ROWS = 16;
/** Predictions that are remembered until their mapping goes live. */
const MOST_PREDICTIONS = 32;

/** What a plan makes of the loads that it was made for, or what tells that. */
type Prediction = BeforeAfter | { readonly loads: LoadMatrix; make(loads: LoadMatrix): BeforeAfter };

/** A plan that was asked for, as it is written down. */
export type LoggedPlan = Omit<PlanRow, 'times' | 'predicted'>;

/** A mapping that went live. */
export interface WentLive extends Pick<LiveRow, 'at' | 'epoch' | 'digest' | 'moves' | 'bytes'> {
  /** The number of its gain, by which it is found again. */
  readonly gainNumber: number | undefined;
}

/** Steps before a mapping went live that it is compared with: older ones may have had other loads. */
const STEPS_BEFORE = 10;

/** What was measured: sums over steps. */
interface Measured {
  sumOfMeans: number;
  sumOfMost: number;
  steps: number;
}

const rounded = (value: number) => Number(value.toPrecision(5));
const roundedPair = ({ before, after }: BeforeAfter) => ({ before: rounded(before), after: rounded(after) });

function ratioOf({ sumOfMeans, sumOfMost, steps }: Measured): number | null {
  if (steps === 0) return null;
  return sumOfMost === 0 ? 1 : rounded(sumOfMeans / sumOfMost);
}

function add(sums: Measured, { sumOfMeans, sumOfMost }: Omit<Measured, 'steps'>): void {
  sums.sumOfMeans += sumOfMeans;
  sums.sumOfMost += sumOfMost;
  sums.steps++;
}

const nothing = (): Measured => ({ sumOfMeans: 0, sumOfMost: 0, steps: 0 });

/** The last plans, and the last mappings that went live, with what was measured since. */
export class PlanLog {
  #plans: Omit<PlanRow, 'predicted'>[] = [];
  #live: (WentLive & { readonly predicted: BeforeAfter | null; readonly before: Measured })[] = [];
  /** Made when somebody looks: most plans are asked for, and neither looked at nor made live. */
  readonly #predictions = new Map<string, Prediction>();
  readonly #loads = new KeptLoads();
  /** The last steps under the live mapping. */
  #recent: Omit<Measured, 'steps'>[] = [];
  /** Under each of the mappings that are listed, by epoch. */
  readonly #perLive = new Map<number, Measured>();

  planned(plan: LoggedPlan): void {
    const [last] = this.#plans;
    const isAgain =
      last !== undefined &&
      plan.status !== 'planned' &&
      last.status === plan.status &&
      last.reason === plan.reason &&
      last.epoch === plan.epoch;
    const row = { ...plan, seconds: rounded(plan.seconds), times: isAgain ? last.times + 1 : 1 };
    this.#plans = [row, ...(isAgain ? this.#plans.slice(1) : this.#plans)].slice(0, MOST_ROWS);
  }

  /** What a plan makes of its loads, by the digest of its mapping. */
  predicted(digest: string, made: BeforeAfter): void {
    this.#predict(digest, made);
  }

  /** @param make tells it from the loads, of which a copy is kept: called once, if at all */
  predict(digest: string, loads: LoadMatrix, make: (loads: LoadMatrix) => BeforeAfter): void {
    this.#predict(digest, { loads: this.#loads.keep(loads), make });
  }

  #predict(digest: string, prediction: Prediction): void {
    this.#forget(digest);
    this.#predictions.set(digest, prediction);
    const [oldest] = this.#predictions.keys();
    if (this.#predictions.size > MOST_PREDICTIONS) this.#forget(oldest!);
  }

  #forget(digest: string): void {
    const prediction = this.#predictions.get(digest);
    if (prediction === undefined) return;
    this.#predictions.delete(digest);
    if ('make' in prediction) this.#loads.giveBack(prediction.loads);
  }

  wentLive(mapping: WentLive): void {
    const predicted = this.#predictedOf(mapping.digest);
    const before = nothing();
    for (const step of this.#recent) add(before, step);
    this.#recent = [];
    this.#live = [{ ...mapping, predicted, before }, ...this.#live].slice(0, MOST_ROWS);
    this.#perLive.set(mapping.epoch, nothing());
    const kept = new Set(this.#live.map(({ epoch }) => epoch));
    for (const epoch of this.#perLive.keys()) if (!kept.has(epoch)) this.#perLive.delete(epoch);
  }

  /** A step was measured. Late ones, of an epoch before, count for that. */
  measured(epoch: number, liveEpoch: number, sumOfMeans: number, sumOfMost: number): void {
    const step = { sumOfMeans, sumOfMost };
    if (epoch === liveEpoch) this.#recent = [...this.#recent, step].slice(-STEPS_BEFORE);
    const of = this.#perLive.get(epoch);
    if (of !== undefined) add(of, step);
  }

  /** Newest first. */
  plans(): PlanRow[] {
    return this.#plans.map((row) => ({ ...row, predicted: this.#predictedOf(row.digest ?? '') }));
  }

  #predictedOf(digest: string): BeforeAfter | null {
    const prediction = this.#predictions.get(digest);
    if (prediction === undefined) return null;
    if (!('make' in prediction)) return roundedPair(prediction);
    const made = prediction.make(prediction.loads);
    this.#loads.giveBack(prediction.loads);
    // In its place: the order in which they are forgotten stays.
    this.#predictions.set(digest, made);
    return roundedPair(made);
  }

  /** Newest first. @param gains of the balancer */
  live(gains: readonly RealisedGain[]): LiveRow[] {
    return this.#live.map(({ gainNumber, before, ...row }) => {
      const after = this.#perLive.get(row.epoch) ?? nothing();
      const gain = gains.find(({ number }) => number === gainNumber);
      return {
        ...row,
        realised: { before: ratioOf(before), after: ratioOf(after), steps: after.steps },
        gain: gain === undefined ? null : gainView(gain),
      };
    });
  }
}

function gainView({ unit, predictedGain, realisedGain, numSteps: steps, isFinal }: RealisedGain) {
  const predicted = predictedGain === undefined ? null : rounded(predictedGain);
  return { unit, predicted, realised: rounded(realisedGain), steps: rounded(steps), isFinal };
}
