import type { Pointer } from '../../memory/kernel-exports.ts';
import type { AdaptiveExports, AdaptiveInteger, AdaptiveNumber } from './kernel-exports.ts';

/**
 * The struct in kernel memory that the adaptive policy's kernels read what they are asked from, and write
 * what they found to.
 */
export class AdaptiveTerms {
  readonly at: Pointer;
  readonly #kernels: AdaptiveExports;
  readonly #integers: Int32Array;
  readonly #numbers: Float64Array;
  /** Of the fields that were asked for: to make the name that a kernel exports takes longer than all else. */
  readonly #offsets = new Map<AdaptiveNumber | AdaptiveInteger, number>();

  /** @param at of as many bytes as the kernels say, on a multiple of 8 */
  constructor(kernels: AdaptiveExports, buffer: ArrayBufferLike, at: Pointer) {
    const bytes = kernels.adaptiveTermsBytes.value;
    this.at = at;
    this.#kernels = kernels;
    this.#integers = new Int32Array(buffer, at, Math.floor(bytes / 4));
    this.#numbers = new Float64Array(buffer, at, Math.floor(bytes / 8));
  }

  /** Sets numbers that are no integers. */
  setNumbers(values: { readonly [Field in AdaptiveNumber]?: number }): void {
    for (const [field, value] of Object.entries(values) as [AdaptiveNumber, number][])
      this.#numbers[this.#offsetOf(field) / 8] = value;
  }

  /** Sets counts, flags (0 or 1) and pointers. */
  setIntegers(values: { readonly [Field in AdaptiveInteger]?: number }): void {
    for (const [field, value] of Object.entries(values) as [AdaptiveInteger, number][])
      this.#integers[this.#offsetOf(field) / 4] = value;
  }

  number(field: AdaptiveNumber): number {
    return this.#numbers[this.#offsetOf(field) / 8]!;
  }

  integer(field: AdaptiveInteger): number {
    return this.#integers[this.#offsetOf(field) / 4]!;
  }

  #offsetOf(field: AdaptiveNumber | AdaptiveInteger): number {
    const known = this.#offsets.get(field);
    if (known !== undefined) return known;
    const offset = this.#kernels[`adaptive_${field}`].value;
    this.#offsets.set(field, offset);
    return offset;
  }
}
