import type { Topology } from '../core/topology.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import { tablesOf } from '../mapping/expert-mapping.ts';
import type { GainMeter } from './gain-meter.ts';

/** Writes the loads of experts of the step that ended last, `[logical]`. */
export type NewestLoads = (layer: number, out: Float32Array) => void;

/** What a plan gained in the steps since it is live, and what it was expected to. */
export interface MeasuredGain {
  /** Of the layer that is measured for the fewest steps. */
  readonly numSteps: number;
  /** Steps of the host that this takes. */
  readonly numHostSteps: number;
  /** Of the mean step, over the layers that are measured. */
  readonly realised: number;
  /** Of the same layers; undefined without a forecast. */
  readonly predicted: number | undefined;
}

/** A layer of a plan that went live. */
interface WatchedLayer {
  readonly layer: number;
  /** Tables [layers x physical] with the slots before it, from `beforeFirst` on, and now. */
  readonly beforeTable: Int32Array;
  readonly beforeFirst: number;
  readonly afterTable: Int32Array;
  readonly numSlots: number;
  readonly predicted: number | undefined;
  /**
   * Whether its slots are others than before: undefined until its first step, when the meter is told of them,
   * as a commit is not to wait for it.
   */
  differs?: boolean;
  sum: number;
  numSteps: number;
}

/**
 * Layers that a step is measured in, at most: of more, the ones that were measured for the fewest steps, in
 * turn.
 */
const LAYERS_PER_STEP = 8;

/** A watched layer as numbers: its index, what was predicted or NaN, the sum, the steps. */
const LAYER_NUMBERS = 4;

/** A watch as a snapshot has it: see {@link GainWatch.content}. */
export interface WatchContent {
  /** `[layers watched x LAYER_NUMBERS]` */
  readonly layers: Float64Array;
  /** `[layers watched x physical]`: the slots before. */
  readonly before: Int32Array;
}

/** Measures the layers of a plan, each since it is live: its slots and those before, over the same steps. */
export class GainWatch {
  /** Unknown after a restart. */
  readonly plan: ExpertMapping | undefined;
  readonly #layers: WatchedLayer[] = [];

  constructor(plan: ExpertMapping | undefined) {
    this.plan = plan;
  }

  /** @param predicted `[layers]` */
  add(layer: number, before: ExpertMapping, after: ExpertMapping, predicted: Float64Array | undefined): void {
    const { phyToLog: beforeTable, numPhysicalExperts: numSlots } = tablesOf(before);
    const { phyToLog: afterTable } = tablesOf(after);
    const beforeFirst = layer * numSlots;
    this.#add({
      ...{ layer, beforeTable, beforeFirst, afterTable, numSlots },
      ...{ predicted: predicted?.[layer], sum: 0, numSteps: 0 },
    });
  }

  /** In the order of layers, whatever order they went live in, so that sums are the same; each once. */
  #add(watched: WatchedLayer): void {
    let at = this.#layers.length;
    while (at > 0 && this.#layers[at - 1]!.layer > watched.layer) at--;
    if (this.#layers[at - 1]?.layer !== watched.layer) this.#layers.splice(at, 0, watched);
  }

  /**
   * Measures the step that ended.
   *
   * @param meter has the placements of this watch alone
   * @param mostSteps of the host, while it is measured
   * @returns whether all layers are measured for their share of them
   */
  step(meter: GainMeter, newest: NewestLoads, mostSteps: number): boolean {
    const most = Math.ceil(mostSteps / this.#numTurns);
    for (const watched of this.#least(most)) measureStep(watched, meter, newest);
    return this.#leastSteps >= most;
  }

  /** The layers to measure: those that were measured least, and fewer than `most` times, lowest first. */
  #least(most: number): WatchedLayer[] {
    const found: WatchedLayer[] = [];
    let level = this.#leastSteps;
    while (level < most && found.length < LAYERS_PER_STEP) {
      let next = Infinity;
      for (const watched of this.#layers) {
        const { numSteps } = watched;
        if (numSteps > level) next = Math.min(next, numSteps);
        else if (numSteps === level && found.length < LAYERS_PER_STEP) found.push(watched);
      }
      level = next;
    }
    return found;
  }

  /** Steps of the host in which all layers are measured once. */
  get #numTurns(): number {
    return Math.ceil(this.#layers.length / LAYERS_PER_STEP);
  }

  get #leastSteps(): number {
    let least = Infinity;
    for (const { numSteps } of this.#layers) least = Math.min(least, numSteps);
    return least;
  }

  measure(): MeasuredGain {
    const measured = this.#layers.filter(({ numSteps }) => numSteps > 0);
    const sumOf = (value: (layer: WatchedLayer) => number) =>
      measured.reduce((sum, layer) => sum + value(layer), 0);
    return {
      numSteps: this.#leastSteps,
      numHostSteps: this.#leastSteps * this.#numTurns,
      realised: sumOf(({ sum, numSteps }) => sum / numSteps),
      predicted: this.#isPredicted ? sumOf(({ predicted = 0 }) => predicted) : undefined,
    };
  }

  /** What all layers that went live are expected to gain; undefined without a forecast. */
  get prediction(): number | undefined {
    return this.#isPredicted
      ? this.#layers.reduce((sum, { predicted = 0 }) => sum + predicted, 0)
      : undefined;
  }

  get #isPredicted(): boolean {
    return this.#layers.every(({ predicted }) => predicted !== undefined);
  }

  content(): WatchContent {
    const numSlots = this.#layers[0]?.numSlots ?? 0;
    const before = new Int32Array(this.#layers.length * numSlots);
    for (const [i, { beforeTable, beforeFirst }] of this.#layers.entries())
      before.set(beforeTable.subarray(beforeFirst, beforeFirst + numSlots), i * numSlots);
    const numbers = this.#layers.flatMap(({ layer, predicted = Number.NaN, sum, numSteps }) => [
      ...[layer, predicted, sum, numSteps],
    ]);
    return { layers: Float64Array.from(numbers), before };
  }

  /** The watch that had this content. @param live the mapping that it is of */
  static from({ layers, before }: WatchContent, live: ExpertMapping): GainWatch {
    const { phyToLog: afterTable, numPhysicalExperts: numSlots } = tablesOf(live);
    const watch = new GainWatch(undefined);
    for (let i = 0; i < layers.length / LAYER_NUMBERS; i++) {
      const [layer = 0, predicted = 0, sum = 0, numSteps = 0] = layers.subarray(i * LAYER_NUMBERS);
      watch.#add({
        ...{ layer, beforeTable: before, beforeFirst: i * numSlots, afterTable, numSlots },
        predicted: Number.isNaN(predicted) ? undefined : predicted,
        ...{ sum, numSteps },
      });
    }
    return watch;
  }
}

function measureStep(watched: WatchedLayer, meter: GainMeter, newest: NewestLoads): void {
  const { layer } = watched;
  watched.differs ??= setPlacements(watched, meter);
  watched.numSteps++;
  if (!watched.differs) return;
  newest(layer, meter.loads);
  watched.sum += meter.gain(layer);
}

/** Tells the meter of the slots before and now. @returns whether any is another */
function setPlacements(watched: WatchedLayer, meter: GainMeter): boolean {
  const { layer, beforeTable, beforeFirst, afterTable, numSlots } = watched;
  const before = beforeTable.subarray(beforeFirst, beforeFirst + numSlots);
  const after = afterTable.subarray(layer * numSlots, (layer + 1) * numSlots);
  if (before.every((expert, slot) => expert === after[slot])) return false;
  meter.setLayer(layer, before, after);
  return true;
}

/** Whether it is what a watch can have. */
export function isWatchContent(
  { layers, before }: WatchContent,
  { numLayers, numPhysicalExperts, numLogicalExperts }: Topology,
): boolean {
  const numWatched = layers.length / LAYER_NUMBERS;
  const isWhole = Number.isInteger(numWatched) && before.length === numWatched * numPhysicalExperts;
  if (!isWhole || !before.every((expert) => expert >= -1 && expert < numLogicalExperts)) return false;
  const seen = new Set<number>();
  for (let i = 0; i < numWatched; i++) {
    const [layer = -1, predicted = 0, sum = 0, numSteps = -1] = layers.subarray(i * LAYER_NUMBERS);
    const isLayer = Number.isInteger(layer) && layer >= 0 && layer < numLayers && !seen.has(layer);
    const hasNumbers = (Number.isFinite(predicted) || Number.isNaN(predicted)) && Number.isFinite(sum);
    if (!isLayer || !hasNumbers || !Number.isSafeInteger(numSteps) || numSteps < 0) return false;
    seen.add(layer);
  }
  return true;
}
