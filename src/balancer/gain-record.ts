import type { Topology } from '../core/topology.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { PlanForecast } from '../policy/decision.ts';
import type { GainMeter, GainUnit } from './gain-meter.ts';
import { GainWatch, isWatchContent, type NewestLoads, type WatchContent } from './gain-watch.ts';

/** What a mapping that went live has gained since, beside what its plan said it would. */
export interface RealisedGain {
  /** Counts the plans and other mappings that went live, from 1; goes on after a restart. */
  readonly number: number;
  /** Of both gains: shares of the mean rank load, or seconds where the policy knows what steps cost. */
  readonly unit: GainUnit;
  /**
   * What the slowest ranks had less than they would have had in the mapping before: of the mean step, all
   * layers that went live together, over the same steps.
   */
  readonly realisedGain: number;
  /** What the plan forecast of that; left out for what has no forecast. */
  readonly predictedGain?: number;
  /**
   * Steps that each layer was measured over. Of more than 8 layers, 8 are measured a step, in turn, for as
   * many steps as the window has.
   */
  readonly numSteps: number;
  /** Whether nothing is added any more: it was measured over a window, or another mapping went live. */
  readonly isFinal: boolean;
}

/** All that is known of gains: from recorded steps and commits alone. */
export interface GainContent {
  /** How many went live, how many in a row fell short, what the last one promised and when it went live. */
  readonly numbers: Float64Array;
  /** `[gains x GAIN_NUMBERS]` */
  readonly finals: Float64Array;
  readonly watch: WatchContent;
}

/** The last gains are kept. */
const MOST_FINALS = 16;
const GAIN_NUMBERS = 4;
const RECORD_NUMBERS = 4;
/** A plan is held to its word when it was measured for so many steps, or a whole window. */
const LEAST_STEPS = 8;
/** A plan falls short that gains less than this share of what it promised. */
const KEPT_SHARE = 0.5;
/** So many in a row raise the bar. */
const SHORT_PLANS = 2;
/** The bar is so many times what the last plan promised. */
const RAISED_BAR = 2;

/** Compares what plans promised with what came, and keeps the bar that the next one has to pass. */
export class GainRecord {
  readonly #windowSize: number;
  readonly #meter: GainMeter;
  readonly #forecasts = new WeakMap<ExpertMapping, Float64Array>();
  #finals: RealisedGain[] = [];
  #watch: GainWatch | undefined;
  /** Mappings that went live; and how many in a row fell short, up to the newest that is final. */
  #numPlans = 0;
  #numShort = 0;
  /** The newest one that is final and was measured for long enough, if it fell short. */
  #shortfall: RealisedGain | undefined;
  /** Of the last plan with a forecast: what it promised, and how many steps had been recorded. */
  #lastPromise = 0;
  #promisedAt = 0;
  #isDisabled = false;

  constructor(windowSize: number, meter: GainMeter) {
    this.#windowSize = windowSize;
    this.#meter = meter;
  }

  /** What measures one placement against another. */
  get meter(): GainMeter {
    return this.#meter;
  }

  /** Measures nothing: for a balancer whose gains nobody asks for. */
  disable(): void {
    this.#isDisabled = true;
    this.#watch = undefined;
  }

  /** Remembers what was forecast of a mapping, for when it goes live. */
  expect(mapping: ExpertMapping, forecast: PlanForecast | undefined): void {
    if (forecast !== undefined) this.#forecasts.set(mapping, this.#meter.predicted(forecast));
  }

  /** The last gains, oldest first; at last that of the live mapping, which may not be final. */
  get gains(): RealisedGain[] {
    const live = this.#watch === undefined ? [] : [this.#gainOf(this.#watch, false)];
    return [...this.#finals, ...live];
  }

  /**
   * What the next plan has to promise at least; 0 unless the last two plans fell short. It falls by half with
   * each window of steps after the last commit: so a plan that is worth less still comes, but later.
   *
   * @param numSteps that have been recorded
   */
  bar(numSteps: number): number {
    const isShort = this.#watch && this.#isShort(this.#watch);
    const numShort = isShort === undefined ? this.#numShort : isShort ? this.#numShort + 1 : 0;
    if (numShort < SHORT_PLANS) return 0;
    const numWindows = Math.floor((numSteps - this.#promisedAt) / this.#windowSize);
    return RAISED_BAR * this.#lastPromise * 2 ** -numWindows;
  }

  /**
   * The newest plan that was measured for long enough, if it falls short. Told of until two windows of steps
   * have been recorded since the last plan went live.
   *
   * @param numSteps that have been recorded
   */
  shortfall(numSteps: number): RealisedGain | undefined {
    if (numSteps - this.#promisedAt > 2 * this.#windowSize) return undefined;
    const isShort = this.#watch && this.#isShort(this.#watch);
    return isShort === undefined ? this.#shortfall : isShort ? this.gains.at(-1) : undefined;
  }

  /** What a forecast promises of a step, in the unit of the bar. */
  promiseOf(forecast: PlanForecast): number {
    return this.#meter.predicted(forecast).reduce((sum, gain) => sum + gain, 0);
  }

  /**
   * Layers of a mapping went live.
   * @param numSteps that have been recorded
   */
  committed(
    plan: ExpertMapping,
    before: ExpertMapping,
    after: ExpertMapping,
    layers: Iterable<number>,
    numSteps: number,
  ): void {
    if (this.#isDisabled) return;
    if (this.#watch?.plan !== plan) this.#begin(plan);
    const predicted = this.#forecasts.get(plan);
    for (const layer of layers) this.#watch!.add(layer, before, after, predicted);
    const promise = this.#watch!.prediction;
    if (promise === undefined) return;
    this.#lastPromise = promise;
    this.#promisedAt = numSteps;
  }

  /** A step ended. */
  step(newest: NewestLoads): void {
    if (this.#watch?.step(this.#meter, newest, this.#windowSize)) this.#end(this.#watch);
  }

  #begin(plan: ExpertMapping): void {
    if (this.#watch !== undefined) this.#end(this.#watch);
    this.#watch = new GainWatch(plan);
    this.#numPlans++;
  }

  #end(watch: GainWatch): void {
    this.#finals = [...this.#finals, this.#gainOf(watch, true)].slice(-MOST_FINALS);
    const isShort = this.#isShort(watch);
    if (isShort !== undefined) {
      this.#numShort = isShort ? this.#numShort + 1 : 0;
      this.#shortfall = isShort ? this.#finals.at(-1) : undefined;
    }
    this.#watch = undefined;
  }

  /** Undefined while that is not known, and for what promised nothing. */
  #isShort(watch: GainWatch): boolean | undefined {
    const { numHostSteps, realised, predicted = 0 } = watch.measure();
    if (predicted <= 0 || numHostSteps < Math.min(LEAST_STEPS, this.#windowSize)) return undefined;
    return realised < KEPT_SHARE * predicted;
  }

  #gainOf(watch: GainWatch, isFinal: boolean): RealisedGain {
    const { numSteps, realised, predicted } = watch.measure();
    return this.#gain(this.#numPlans, realised, predicted, numSteps, isFinal);
  }

  #gain(
    number: number,
    realisedGain: number,
    predictedGain: number | undefined,
    numSteps: number,
    isFinal: boolean,
  ): RealisedGain {
    const { unit } = this.#meter;
    const prediction = predictedGain === undefined ? {} : { predictedGain };
    return { number, unit, realisedGain, ...prediction, numSteps, isFinal };
  }

  content(): GainContent {
    const { layers, before } = this.#watch?.content() ?? new GainWatch(undefined).content();
    const finals = this.#finals.flatMap(({ number, realisedGain, predictedGain = Number.NaN, numSteps }) => [
      ...[number, realisedGain, predictedGain, numSteps],
    ]);
    return {
      numbers: Float64Array.of(this.#numPlans, this.#numShort, this.#lastPromise, this.#promisedAt),
      finals: Float64Array.from(finals),
      watch: { layers, before },
    };
  }

  /** What it comes to when the live mapping is measured no more. */
  ended(): GainContent {
    if (this.#watch !== undefined) this.#end(this.#watch);
    return this.content();
  }

  /** Takes over what another one had. @param live the mapping that is live */
  refill({ numbers, finals, watch }: GainContent, live: ExpertMapping): void {
    const [numPlans = 0, numShort = 0, lastPromise = 0, promisedAt = 0] = numbers;
    this.#numPlans = numPlans;
    this.#numShort = numShort;
    this.#lastPromise = lastPromise;
    this.#promisedAt = promisedAt;
    this.#finals = Array.from({ length: finals.length / GAIN_NUMBERS }, (_, i) => {
      const [number = 0, realised = 0, predicted = 0, numSteps = 0] = finals.subarray(i * GAIN_NUMBERS);
      return this.#gain(number, realised, Number.isNaN(predicted) ? undefined : predicted, numSteps, true);
    });
    this.#watch = watch.layers.length === 0 ? undefined : GainWatch.from(watch, live);
  }
}

/** Whether it is what a record can have. */
export function isGainContent({ numbers, finals, watch }: GainContent, topology: Topology): boolean {
  return (
    numbers.length === RECORD_NUMBERS &&
    numbers.every(Number.isFinite) &&
    finals.length % GAIN_NUMBERS === 0 &&
    finals.length <= MOST_FINALS * GAIN_NUMBERS &&
    isWatchContent(watch, topology)
  );
}
