import type { TriggerOptions } from './configuration.ts';
import type { TriggerReason } from './result.ts';

/** What a trigger asks about the window. */
interface WindowView {
  /** Mean loads [layers x logical] over the window. */
  meanLoads(): Float32Array;
  /** Over the layers, the largest of (largest / smallest rank load) of the live mapping under these loads. */
  rankLoadImbalance(meanLoads: Float32Array): number;
}

/** Decides after every step whether a plan is to be started: the formulas are at {@link TriggerOptions}. */
export class Trigger {
  readonly #options: TriggerOptions;
  readonly #numExperts: number;
  /** Steps that had passed when the last plan was started. */
  #lastStart = 0;
  /** Shares [layers x logical] when the last plan was started; undefined before the first. */
  #lastShares: Float64Array | undefined;

  /** @param numExperts logical experts a layer */
  constructor(options: TriggerOptions, numExperts: number) {
    this.#options = options;
    this.#numExperts = numExperts;
  }

  /**
   * The conditions that hold, when they are enough for a plan; none otherwise. Looks at no more than it
   * needs.
   *
   * @param numSteps steps replayed so far, at least 1
   */
  reasons(numSteps: number, view: WindowView): readonly TriggerReason[] {
    const { interval, loadThreshold, drift, require = 'any', checkEvery = 1 } = this.#options;
    const reasons: TriggerReason[] = [];
    if (interval !== undefined) {
      const passed = numSteps - this.#lastStart;
      if (passed >= interval) reasons.push({ kind: 'interval', value: passed, limit: interval });
      else if (require === 'all') return [];
    }
    const looks = loadThreshold !== undefined || drift !== undefined;
    if (!looks) return reasons;
    if (numSteps % checkEvery !== 0) return require === 'all' ? [] : reasons;
    const meanLoads = view.meanLoads();
    if (loadThreshold !== undefined) {
      const value = view.rankLoadImbalance(meanLoads);
      const shown = Number.isFinite(value) ? value : null;
      if (value > loadThreshold) reasons.push({ kind: 'loadThreshold', value: shown, limit: loadThreshold });
      else if (require === 'all') return [];
    }
    if (drift !== undefined) {
      const value = this.#drift(meanLoads);
      if (value > drift) reasons.push({ kind: 'drift', value, limit: drift });
      else if (require === 'all') return [];
    }
    return reasons;
  }

  /**
   * The least number of steps replayed at which a plan may be started: what came a window before need not be
   * kept.
   */
  get earliestStart(): number {
    const { interval, loadThreshold, drift, require = 'any' } = this.#options;
    const waits = interval !== undefined && (require === 'all' || (loadThreshold ?? drift) === undefined);
    return waits ? this.#lastStart + interval : 0;
  }

  /** A plan is started from these mean loads. */
  started(numSteps: number, meanLoads: Float32Array): void {
    this.#lastStart = numSteps;
    this.#lastShares = shares(meanLoads, this.#numExperts);
  }

  #drift(meanLoads: Float32Array): number {
    const now = shares(meanLoads, this.#numExperts);
    const even = 1 / this.#numExperts;
    let sum = 0;
    for (let i = 0; i < now.length; i++) sum += Math.abs(now[i]! - (this.#lastShares?.[i] ?? even));
    return sum / 2 / (now.length / this.#numExperts);
  }
}

/** Each expert's share of its layer's load; even in a layer without load. */
export function shares(loads: Float32Array, numExperts: number): Float64Array {
  const out = new Float64Array(loads.length);
  for (let first = 0; first < loads.length; first += numExperts) {
    let sum = 0;
    for (let i = first; i < first + numExperts; i++) sum += loads[i]!;
    for (let i = first; i < first + numExperts; i++) out[i] = sum === 0 ? 1 / numExperts : loads[i]! / sum;
  }
  return out;
}
