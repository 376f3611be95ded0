import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import type { TransferPlan } from './plan.ts';

/** A typed array on a SharedArrayBuffer: a tensor of one layer, [slots of the rank x bytes of an expert]. */
export type SharedTensor = ArrayBufferView;

/**
 * What a rank holds: of each layer its tensor, or its tensors in the order of the plan's bundle. Null for a
 * dead rank.
 */
export type RankWeights = readonly (SharedTensor | readonly SharedTensor[])[] | null;

/** Where a tensor of a rank's layer lies. */
export interface TensorPlace {
  /** An index of {@link WeightPlaces.buffers}. */
  readonly buffer: number;
  readonly byteOffset: number;
}

/** Where all weights lie, checked. */
export interface WeightPlaces {
  readonly buffers: readonly SharedArrayBuffer[];
  /** Bytes of an expert in each tensor. */
  readonly tensorBytes: readonly number[];
  /** Of each rank and layer, its tensors; none of a dead rank. */
  readonly places: readonly (readonly (readonly TensorPlace[])[])[];
}

/** @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`, naming rank, layer and tensor */
export function readWeights(plan: TransferPlan, ranks: readonly RankWeights[]): WeightPlaces {
  if (!Array.isArray(ranks)) throw new EplbTypeError('EPLB_KIND', `ranks: ${show(ranks)} is not a list`);
  if (ranks.length !== plan.numRanks) {
    throw shapeError(`ranks: has ${ranks.length} entries, not ${plan.numRanks}`);
  }
  const reader = new WeightReader(plan);
  const places = Array.from(ranks, (weights: unknown, rank) => {
    if (plan.deadRanks.includes(rank)) return [];
    if (!Array.isArray(weights)) {
      throw new EplbTypeError('EPLB_KIND', `ranks[${rank}]: ${show(weights)} is not a list of layers`);
    }
    if (weights.length !== plan.numLayers) {
      throw shapeError(`ranks[${rank}]: has ${weights.length} layers, not ${plan.numLayers}`);
    }
    return Array.from(weights, (tensors: unknown, layer) => reader.read(`ranks[${rank}][${layer}]`, tensors));
  });
  const { buffers, tensorBytes } = reader;
  return { buffers, tensorBytes, places };
}

/** Reads tensors, of which those at the same place have to be alike. */
class WeightReader {
  readonly buffers: SharedArrayBuffer[] = [];
  tensorBytes: number[] = [];
  readonly #plan: TransferPlan;
  readonly #numbers = new Map<SharedArrayBuffer, number>();

  constructor(plan: TransferPlan) {
    this.#plan = plan;
  }

  read(title: string, given: unknown): TensorPlace[] {
    const tensors: unknown[] = Array.isArray(given) ? Array.from(given) : [given];
    const views = tensors.map((tensor, i) =>
      this.#shared(Array.isArray(given) ? `${title}[${i}]` : title, tensor),
    );
    const bytes = views.map(({ byteLength }) => byteLength / this.#plan.slotsPerRank);
    if (this.tensorBytes.length === 0) this.tensorBytes = this.#expected(title, bytes);
    if (bytes.length !== this.tensorBytes.length) {
      throw shapeError(`${title}: has ${bytes.length} tensors, not ${this.tensorBytes.length}`);
    }
    for (const [i, own] of bytes.entries()) {
      if (own === this.tensorBytes[i]) continue;
      throw shapeError(`${title}: tensor ${i} has ${own} bytes a slot, not ${this.tensorBytes[i]}`);
    }
    return views.map(({ buffer, byteOffset }) => ({ buffer: this.#numberOf(buffer), byteOffset }));
  }

  /** Bytes of each tensor, as the plan has them: so nothing of an expert is left behind. */
  #expected(title: string, bytes: readonly number[]): number[] {
    const { bundle, bytesPerExpert } = this.#plan;
    if (bundle !== null) return bundle.map((tensor) => tensor.bytes);
    const all = bytes.reduce((sum, own) => sum + own, 0);
    if (bytesPerExpert !== 0 && all !== bytesPerExpert) {
      throw shapeError(`${title}: has ${all} bytes a slot, and the plan ${bytesPerExpert} an expert`);
    }
    return [...bytes];
  }

  #shared(
    title: string,
    value: unknown,
  ): { buffer: SharedArrayBuffer; byteOffset: number; byteLength: number } {
    if (!ArrayBuffer.isView(value)) {
      throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not a typed array`);
    }
    const { buffer, byteOffset, byteLength } = value;
    if (buffer instanceof SharedArrayBuffer) return { buffer, byteOffset, byteLength };
    throw new EplbTypeError('EPLB_KIND', `${title}: its memory is not a SharedArrayBuffer`);
  }

  #numberOf(buffer: SharedArrayBuffer): number {
    const known = this.#numbers.get(buffer);
    if (known !== undefined) return known;
    this.#numbers.set(buffer, this.buffers.length);
    return this.buffers.push(buffer) - 1;
  }
}

function shapeError(message: string): EplbRangeError {
  return new EplbRangeError('EPLB_SHAPE', message);
}
