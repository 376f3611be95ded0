import type { LoadMatrix } from '../../loads/load-matrix.ts';

/**
 * Copies of loads that live for some dozens of plans: as long as memory needs to become old. What old memory
 * leaves is collected with all the rest, which holds plans up for milliseconds; so it is used again.
 */
export class KeptLoads {
  readonly #spare: Float32Array[] = [];

  /** A copy of them, until it is given back. */
  keep({ data, ...shape }: LoadMatrix): LoadMatrix {
    const spare = this.#spare.pop();
    const copy = spare?.length === data.length ? spare : new Float32Array(data.length);
    copy.set(data);
    return { data: copy, ...shape };
  }

  /** Nobody reads them any more. */
  giveBack({ data }: LoadMatrix): void {
    this.#spare.push(data);
  }
}
