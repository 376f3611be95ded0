/**
 * The free bytes of a range that may grow. The lowest region that is large enough is taken, from its
 * beginning on; what is given back joins its neighbours. So the same calls always give the same offsets.
 */
export class FreeRegions {
  /** In order; no two touch. */
  readonly #regions: { start: number; end: number }[] = [];

  /** Free bytes, all regions together. */
  get bytes(): number {
    return this.#regions.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  get numRegions(): number {
    return this.#regions.length;
  }

  /** @returns where `bytes` begin that are free no longer; undefined when no region is that large */
  take(bytes: number): number | undefined {
    const at = this.#regions.findIndex(({ start, end }) => end - start >= bytes);
    if (at < 0) return undefined;
    const region = this.#regions[at]!;
    const { start } = region;
    region.start += bytes;
    if (region.start === region.end) this.#regions.splice(at, 1);
    return start;
  }

  /** Frees what lies from `start` to `end`, of which nothing is free. */
  give(start: number, end: number): void {
    const found = this.#regions.findIndex((region) => region.start >= end);
    const at = found < 0 ? this.#regions.length : found;
    const below = this.#regions[at - 1];
    const above = this.#regions[at];
    const joinsBelow = below?.end === start;
    const joinsAbove = above?.start === end;
    const joined = { start: joinsBelow ? below.start : start, end: joinsAbove ? above.end : end };
    this.#regions.splice(joinsBelow ? at - 1 : at, Number(joinsBelow) + Number(joinsAbove), joined);
  }

  /** Where the free bytes begin that reach up to `end`; `end` itself when there are none. */
  tailBefore(end: number): number {
    const last = this.#regions.at(-1);
    return last?.end === end ? last.start : end;
  }
}
