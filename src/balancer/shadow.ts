import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { PlanForecast } from '../policy/decision.ts';
import { type ExpertLoadBalancer, sharedParts } from './expert-load-balancer.ts';
import type { GainMeter } from './gain-meter.ts';
import type { RealisedGain } from './gain-record.ts';
import { GainWatch } from './gain-watch.ts';

/** What a plan would have gained that was never offered. */
export interface ShadowGain extends RealisedGain {
  readonly mapping: ExpertMapping;
  /** Slots whose weights would have come from another rank. */
  readonly moves: number;
}

export type { Shadow };

/** Begins to measure a plan. A function, as an import of the library leaves this module out. */
export const makeShadow = (...args: ConstructorParameters<typeof Shadow>): Shadow => new Shadow(...args);

/** Measures a plan that stays a plan, step by step, beside the mapping that is live. */
class Shadow {
  readonly #balancer: ExpertLoadBalancer;
  readonly #meter: GainMeter;
  readonly #watch: GainWatch;
  readonly #mapping: ExpertMapping;
  readonly #live: ExpertMapping;
  readonly #stop: () => void;
  readonly #onEnd: (gain: ShadowGain) => void;
  readonly #number: number;
  readonly #moves: number;
  #isOver = false;

  /**
   * @param number of the plan
   * @param onEnd is told when it is measured for a window of steps, or another mapping is live
   */
  constructor(
    balancer: ExpertLoadBalancer,
    plan: { readonly mapping: ExpertMapping; readonly forecast?: PlanForecast | undefined },
    number: number,
    onEnd: (gain: ShadowGain) => void,
  ) {
    const { topology, mapping: live } = balancer;
    const { gains, onStep } = sharedParts(balancer);
    this.#balancer = balancer;
    this.#mapping = plan.mapping;
    this.#live = live;
    this.#number = number;
    this.#onEnd = onEnd;
    this.#moves = plan.mapping.movesFrom(live, topology.numRanks);
    this.#meter = gains.meter.another();
    this.#watch = new GainWatch(plan.mapping);
    const predicted = plan.forecast && this.#meter.predicted(plan.forecast);
    for (let layer = 0; layer < topology.numLayers; layer++)
      this.#watch.add(layer, live, plan.mapping, predicted);
    this.#stop = onStep(() => this.#step());
  }

  get mapping(): ExpertMapping {
    return this.#mapping;
  }

  /** What is known so far. */
  get gain(): ShadowGain {
    const { numSteps, realised, predicted } = this.#watch.measure();
    return {
      number: this.#number,
      unit: this.#meter.unit,
      realisedGain: realised,
      ...(predicted === undefined ? {} : { predictedGain: predicted }),
      numSteps,
      isFinal: this.#isOver,
      mapping: this.#mapping,
      moves: this.#moves,
    };
  }

  /** Measures no more, and tells what there is. Idempotent. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop();
    this.#onEnd(this.gain);
  }

  #step(): void {
    const { mapping, windowSize } = this.#balancer;
    // What it would have gained over a mapping that is live no more is of no use.
    const { newestLoads } = sharedParts(this.#balancer);
    const isOver = mapping !== this.#live;
    if (isOver || this.#watch.step(this.#meter, newestLoads, windowSize)) this.end();
  }
}
