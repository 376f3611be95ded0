import type { Topology } from '../core/topology.ts';
import { zeros } from '../memory/allocate.ts';
import type { KernelExports, Pointer } from '../memory/kernel-exports.ts';
import type { WindowLayout } from './window-layout.ts';

/**
 * The rows of the window's samples. A row of whole loads up to 65,535 takes two bytes a load; any other takes
 * four, in a ring of its own whose memory is touched only then. Either way it is read as it was written.
 */
export class SampleRing {
  readonly #topology: Topology;
  readonly #kernels: KernelExports;
  readonly #at: WindowLayout;
  readonly #isWide: Uint8Array;

  constructor(topology: Topology, windowSize: number, kernels: KernelExports, layout: WindowLayout) {
    this.#topology = topology;
    this.#kernels = kernels;
    this.#at = layout;
    this.#isWide = zeros(`a window of ${windowSize}`, Uint8Array, windowSize * topology.numLayers);
  }

  /**
   * Keeps the row f32[n], n at most the slots, as that of a layer of the sample at `index`.
   * @returns whether it is narrow
   */
  write(index: number, layer: number, row: Pointer, n: number): boolean {
    const place = index * this.#topology.numLayers + layer;
    const isNarrow = this.#kernels.narrowRow(row, this.#narrow(place), n) === 1;
    this.#isWide[place] = isNarrow ? 0 : 1;
    if (!isNarrow) this.#kernels.copyBytes(this.#wide(place), row, 4 * n);
    return isNarrow;
  }

  /**
   * Keeps the row f32[n] in place of the one kept there, if both are narrow, and brings the sums f64[n] from
   * that one to it. @returns whether it does
   */
  replace(index: number, layer: number, row: Pointer, n: number, sums: Pointer): boolean {
    const place = index * this.#topology.numLayers + layer;
    if (this.#isWide[place] === 1) return false;
    return this.#kernels.replaceRow(row, this.#narrow(place), sums, n, this.#at.ringRow) === 1;
  }

  /** Whether a row that was kept is of whole loads up to 65,535. */
  isNarrow(index: number, layer: number): boolean {
    return this.#isWide[index * this.#topology.numLayers + layer] === 0;
  }

  /** Where the first `n` loads of a row are, as f32[n]: until the next read, and not to be written. */
  read(index: number, layer: number, n: number): Pointer {
    const place = index * this.#topology.numLayers + layer;
    if (this.#isWide[place] === 1) return this.#wide(place);
    this.#kernels.widenRow(this.#narrow(place), this.#at.ringRow, n);
    return this.#at.ringRow;
  }

  #narrow(place: number): Pointer {
    return this.#at.narrowRing + 2 * place * this.#topology.numPhysicalExperts;
  }

  #wide(place: number): Pointer {
    return this.#at.wideRing + 4 * place * this.#topology.numPhysicalExperts;
  }
}
