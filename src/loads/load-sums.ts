import type { KernelExports, Pointer } from '../memory/kernel-exports.ts';
import type { SumsLayout } from './window-layout.ts';

/** A row of loads f32 that enters sums (sign 1) or leaves them (sign -1). */
export interface SummedRow {
  readonly at: Pointer;
  /** Whether all of it are whole loads up to 65,535. */
  readonly isWhole: boolean;
  readonly sign: 1 | -1;
}

/**
 * Running sums of rows of loads, in the shared memory. They are exact: a row that is taken back leaves no
 * trace, however large its loads were. Whole loads have one sum each, other loads one for each band of
 * exponents they are in (see kernels/bands.ts).
 */
export class LoadSums {
  readonly #kernels: KernelExports;
  readonly #at: SumsLayout;
  readonly #used: Uint8Array;

  constructor(buffer: ArrayBufferLike, kernels: KernelExports, layout: SumsLayout) {
    this.#kernels = kernels;
    this.#at = layout;
    this.#used = new Uint8Array(buffer, layout.used, layout.numBands);
  }

  /** Adds a row, of which the first load is number `first` of a step's. */
  add({ at, isWhole, sign }: SummedRow, first: number, n: number): void {
    const { whole, bands, loads, bandShift, used } = this.#at;
    if (isWhole) this.#kernels.addSample(at, whole + 8 * first, n, sign);
    else this.#kernels.addToBands(at, bands + 8 * first, 8 * loads, bandShift, n, sign, used);
  }

  /** {@link add} for the experts of a row of slots, through the table i32[numPhysical] of its mapping. */
  addFolded({ at, isWhole, sign }: SummedRow, phyToLog: Pointer, numPhysical: number, first: number): void {
    const { whole, bands, loads, bandShift, used } = this.#at;
    if (isWhole) this.#kernels.foldSample(at, phyToLog, numPhysical, sign, whole + 8 * first);
    else {
      const row = bands + 8 * first;
      this.#kernels.foldToBands(at, phyToLog, row, 8 * loads, bandShift, numPhysical, sign, used);
    }
  }

  /**
   * Moves all sums of slots to those of their experts, through the table i32[layers x numPhysical], and is
   * empty then.
   *
   * @param experts sums with the same bands
   */
  foldInto(experts: LoadSums, phyToLog: Pointer, numLayers: number): void {
    const { loads, whole } = this.#at;
    const numPhysical = loads / numLayers;
    const numLogical = experts.#at.loads / numLayers;
    const fold = (from: Pointer, to: Pointer) => {
      for (let layer = 0; layer < numLayers; layer++) {
        const slots = layer * numPhysical;
        const sums = to + 8 * layer * numLogical;
        this.#kernels.foldSums(from + 8 * slots, phyToLog + 4 * slots, numPhysical, sums);
      }
      this.#kernels.clearBytes(from, 8 * loads);
    };
    fold(whole, experts.#at.whole);
    this.#forEachBand((band, sums) => {
      fold(sums, experts.#bandAt(band));
      experts.#used[band] = 1;
    });
    this.#used.fill(0);
  }

  /** No band has anything any more: all rows that were not whole were taken back. */
  forgetBands(): void {
    this.#used.fill(0);
  }

  /** Where the sums are, f64[loads]: until the next change, and not to be written. */
  total(): Pointer {
    if (!this.#used.includes(1)) return this.#at.whole;
    this.writeTo(this.#at.total);
    return this.#at.total;
  }

  /** Writes the sums to f64[loads]: each right to a few times 2^-53 of itself. */
  writeTo(out: Pointer): void {
    const { whole, loads } = this.#at;
    let sums = whole;
    this.#forEachBand((_, band) => {
      this.#kernels.addSums(sums, band, out, loads);
      sums = out;
    });
    if (sums === whole) this.#kernels.copyBytes(out, whole, 8 * loads);
  }

  #forEachBand(work: (band: number, sums: Pointer) => void): void {
    this.#used.forEach((isUsed, band) => {
      if (isUsed === 1) work(band, this.#bandAt(band));
    });
  }

  #bandAt(band: number): Pointer {
    return this.#at.bands + 8 * this.#at.loads * band;
  }
}
