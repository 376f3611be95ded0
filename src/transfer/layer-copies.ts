import type { CopyOutcome, CopyStep } from '../engine/copy-job.ts';
import { COPY_FIELDS } from '../engine/copy-task.ts';
import type { RankSlot, TransferCopy, TransferLayer } from './layer.ts';
import type { TransferPlan } from './plan.ts';
import type { TensorPlace, WeightPlaces } from './rank-weights.ts';

/**
 * What a layer's slots hold: what they held, what they are to hold, or neither: then it is not to be served.
 */
export type WeightsState = 'old' | 'new' | 'broken';

/** A layer, when it is decided what its slots hold. */
export interface RearrangedLayer {
  readonly layer: number;
  readonly state: WeightsState;
  /** Of a broken layer, the slots that may hold anything. */
  readonly undefinedSlots: readonly RankSlot[];
}

/**
 * What each layer of a plan is in copies of bytes.
 *
 * @param hostWeights of a layer, the tensors of an expert, one behind the other
 */
export function copiesOfLayers(
  plan: TransferPlan,
  weights: WeightPlaces,
  hostWeights: (layer: number, expert: number) => SharedArrayBuffer,
): LayerCopies[] {
  return plan.layers.map(
    (layer) => new LayerCopies(plan, layer, weights, (expert) => hostWeights(layer.layer, expert)),
  );
}

/** What one layer of a plan is in copies of bytes. */
export class LayerCopies {
  readonly step: CopyStep;
  readonly #layer: TransferLayer;
  readonly #slotsPerRank: number;

  /** @param hostWeights the tensors of an expert, one behind the other */
  constructor(
    plan: TransferPlan,
    layer: TransferLayer,
    weights: WeightPlaces,
    hostWeights: (expert: number) => SharedArrayBuffer,
  ) {
    this.#layer = layer;
    this.#slotsPerRank = plan.slotsPerRank;
    const hostBuffers = layer.hostLoads.map(({ expert }) => hostWeights(expert));
    const bytes = new LayerBytes(layer.layer, plan.slotsPerRank, weights, hostBuffers);
    const copyAll = (step: number) => {
      for (const copy of layer.copies) if (copy.step === step) bytes.copy(copy);
    };
    copyAll(0);
    layer.rounds.forEach((round, index) => {
      for (const transfer of round) bytes.copy(transfer);
      copyAll(index + 1);
    });
    layer.hostLoads.forEach(({ targetRank, targetSlot }, index) => {
      bytes.load(index, targetRank, targetSlot);
    });
    const numPreparing = bytes.numCopies;
    copyAll(layer.rounds.length + 1);
    // In place the slots themselves are written from the first copy on.
    this.step = bytes.step(plan.mode === 'buffered' ? numPreparing : 0);
  }

  get isEmpty(): boolean {
    return this.step.copies.length === 0;
  }

  rearranged(state: CopyOutcome): RearrangedLayer {
    return { layer: this.#layer.layer, state, undefinedSlots: state === 'broken' ? this.#written() : [] };
  }

  /** All slots that the layer writes to. */
  #written(): RankSlot[] {
    const { rounds, copies, hostLoads } = this.#layer;
    const places = new Map<string, RankSlot>();
    for (const { targetRank: rank, targetSlot: slot } of [...rounds.flat(), ...copies, ...hostLoads])
      if (slot < this.#slotsPerRank) places.set(`${rank}/${slot}`, { rank, slot });
    return [...places.values()].sort((a, b) => a.rank - b.rank || a.slot - b.slot);
  }
}

/** Puts together the copies of a layer. */
class LayerBytes {
  readonly #layer: number;
  readonly #slotsPerRank: number;
  readonly #weights: WeightPlaces;
  readonly #buffers: SharedArrayBuffer[];
  /** Of the buffers of all weights, their numbers here. */
  readonly #numbers = new Map<number, number>();
  readonly #numRankBuffers: number;
  /** The numbers of buffer and staging slots, by rank and slot. */
  readonly #scratch = new Map<string, number>();
  readonly #copies: number[] = [];

  constructor(
    layer: number,
    slotsPerRank: number,
    weights: WeightPlaces,
    hostBuffers: readonly SharedArrayBuffer[],
  ) {
    this.#layer = layer;
    this.#slotsPerRank = slotsPerRank;
    this.#weights = weights;
    for (const layers of weights.places) {
      for (const { buffer } of layers[layer] ?? [])
        if (!this.#numbers.has(buffer)) this.#numbers.set(buffer, this.#numbers.size);
    }
    this.#numRankBuffers = this.#numbers.size;
    this.#buffers = [...Array.from(this.#numbers.keys(), (at) => weights.buffers[at]!), ...hostBuffers];
  }

  get numCopies(): number {
    return this.#copies.length / COPY_FIELDS;
  }

  /** A slot's weights to another slot. */
  copy(way: Pick<TransferCopy, 'sourceRank' | 'sourceSlot' | 'targetRank' | 'targetSlot'>): void {
    const source = this.#slot(way.sourceRank, way.sourceSlot);
    this.#add(source, this.#slot(way.targetRank, way.targetSlot));
  }

  /** A load from the host, by its number, to a slot. */
  load(index: number, targetRank: number, targetSlot: number): void {
    this.#add(this.#packed(this.#numRankBuffers + index), this.#slot(targetRank, targetSlot));
  }

  step(numPreparing: number): CopyStep {
    const bytes = this.#weights.tensorBytes.reduce((sum, own) => sum + own, 0);
    return {
      buffers: this.#buffers,
      copies: Float64Array.from(this.#copies),
      numPreparing,
      scratchBytes: Array.from(this.#scratch, () => bytes),
    };
  }

  /** Where each tensor of a slot begins. */
  #slot(rank: number, slot: number): TensorPlace[] {
    if (slot >= this.#slotsPerRank) return this.#packed(this.#scratchOf(rank, slot));
    const tensors = this.#weights.places[rank]![this.#layer]!;
    return tensors.map(({ buffer, byteOffset }, i) => ({
      buffer: this.#numbers.get(buffer)!,
      byteOffset: byteOffset + slot * this.#weights.tensorBytes[i]!,
    }));
  }

  /** Where each tensor begins in a buffer that has those of one expert. */
  #packed(buffer: number): TensorPlace[] {
    let end = 0;
    return this.#weights.tensorBytes.map((bytes) => {
      end += bytes;
      return { buffer, byteOffset: end - bytes };
    });
  }

  #scratchOf(rank: number, slot: number): number {
    const key = `${rank}/${slot}`;
    const known = this.#scratch.get(key);
    if (known !== undefined) return known;
    const number = this.#buffers.length + this.#scratch.size;
    this.#scratch.set(key, number);
    return number;
  }

  #add(source: readonly TensorPlace[], target: readonly TensorPlace[]): void {
    this.#weights.tensorBytes.forEach((bytes, i) => {
      const [from, to] = [source[i]!, target[i]!];
      this.#copies.push(from.buffer, from.byteOffset, to.buffer, to.byteOffset, bytes);
    });
  }
}
