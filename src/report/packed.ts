/** Finite numbers as sixteen-bit steps of one scale: half as long as JSON, and off by at most scale / 2. */
export interface PackedNumbers {
  /** Value = offset + step x scale. */
  readonly offset: number;
  readonly scale: number;
  /** The steps, little-endian Uint16, in base64. */
  readonly base64: string;
}

/** The numbers that were packed. Runs in browsers. */
export function unpackNumbers({ offset, scale, base64 }: PackedNumbers): Float64Array {
  const bytes = atob(base64);
  const values = new Float64Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) {
    values[i] = offset + (bytes.charCodeAt(2 * i) + 256 * bytes.charCodeAt(2 * i + 1)) * scale;
  }
  return values;
}
