/**
 * Hands out consecutive regions, each on a cache line of its own so that threads do not share one by
 * accident.
 */
export class Carver {
  end: number;

  constructor(start = 0) {
    this.end = start;
  }

  take(bytes: number): number {
    const offset = this.end;
    this.end = alignUp(offset + bytes, 64);
    return offset;
  }
}

export function alignUp(bytes: number, to: number): number {
  return Math.ceil(bytes / to) * to;
}
