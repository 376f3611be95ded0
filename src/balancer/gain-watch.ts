import type { Topology } from '../core/topology.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import { tablesOf } from '../mapping/expert-mapping.ts';
import { type GainMeter, type LayerPlacement, slotsOf } from './gain-meter.ts';

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
  /** The slots before it, and now. */
  readonly before: Int32Array;
  readonly after: Int32Array;
  readonly predicted: number | undefined;
  /** Made with the first step, as a commit is not to wait for it; undefined where the slots are as before. */
  placements?: { readonly before: LayerPlacement; readonly after: LayerPlacement } | undefined;
  sum: number;
  numSteps: number;
}

/**
 * Layers that a step is measured in, at most: of more, the ones that were measured for the fewest steps, in
 * turn. All of 58 took a step of the host .3 ms.
 */
const LAYERS_PER_STEP = 16;

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
    if (this.#layers.some((watched) => watched.layer === layer)) return;
    this.#add({
      ...{ layer, before: slotsOf(before, layer), after: slotsOf(after, layer) },
      ...{ predicted: predicted?.[layer], sum: 0, numSteps: 0 },
    });
  }

  #add(watched: WatchedLayer): void {
    this.#layers.push(watched);
    // Whatever order they went live in: sums are the same then.
    this.#layers.sort((a, b) => a.layer - b.layer);
  }

  /**
   * Measures the step that ended.
   *
   * @param loads `[logical]`: room for a layer's loads
   * @param mostSteps of the host, while it is measured
   * @returns whether all layers are measured for their share of them
   */
  step(meter: GainMeter, newest: NewestLoads, loads: Float32Array, mostSteps: number): boolean {
    const most = Math.ceil(mostSteps / this.#numTurns);
    const left = this.#layers.filter(({ numSteps }) => numSteps < most);
    left.sort((a, b) => a.numSteps - b.numSteps || a.layer - b.layer);
    for (const watched of left.slice(0, LAYERS_PER_STEP)) measureStep(watched, meter, newest, loads);
    return this.#leastSteps >= most;
  }

  /** Steps of the host in which all layers are measured once. */
  get #numTurns(): number {
    return Math.ceil(this.#layers.length / LAYERS_PER_STEP);
  }

  get #leastSteps(): number {
    return this.#layers.reduce((least, { numSteps }) => Math.min(least, numSteps), Infinity);
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
    const rows = this.#layers.map(({ before }) => before);
    const numSlots = rows[0]?.length ?? 0;
    const before = new Int32Array(rows.length * numSlots);
    for (const [i, row] of rows.entries()) before.set(row, i * numSlots);
    const numbers = this.#layers.flatMap(({ layer, predicted = Number.NaN, sum, numSteps }) => [
      ...[layer, predicted, sum, numSteps],
    ]);
    return { layers: Float64Array.from(numbers), before };
  }

  /** The watch that had this content. @param live the mapping that it is of */
  static from({ layers, before }: WatchContent, live: ExpertMapping): GainWatch {
    const watch = new GainWatch(undefined);
    const { numPhysicalExperts } = tablesOf(live);
    for (let i = 0; i < layers.length / LAYER_NUMBERS; i++) {
      const [layer = 0, predicted = 0, sum = 0, numSteps = 0] = layers.subarray(i * LAYER_NUMBERS);
      watch.#add({
        layer,
        before: before.subarray(i * numPhysicalExperts, (i + 1) * numPhysicalExperts),
        after: slotsOf(live, layer),
        predicted: Number.isNaN(predicted) ? undefined : predicted,
        ...{ sum, numSteps },
      });
    }
    return watch;
  }
}

function measureStep(
  watched: WatchedLayer,
  meter: GainMeter,
  newest: NewestLoads,
  loads: Float32Array,
): void {
  if (!('placements' in watched)) watched.placements = placementsOf(watched, loads.length, meter);
  watched.numSteps++;
  if (watched.placements === undefined) return;
  newest(watched.layer, loads);
  watched.sum += meter.gain(loads, watched.placements.before, watched.placements.after);
}

function placementsOf(
  { before, after }: WatchedLayer,
  numExperts: number,
  meter: GainMeter,
): WatchedLayer['placements'] {
  if (before.every((expert, slot) => expert === after[slot])) return undefined;
  return {
    before: meter.placementOf(before, numExperts),
    after: meter.placementOf(after, numExperts),
  };
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
