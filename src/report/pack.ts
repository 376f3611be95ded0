import { EplbRangeError } from '../core/errors.ts';
import type { PackedNumbers } from './packed.ts';

const MOST = 0xffff;

/**
 * Packs numbers. Zero, where no number is negative, and the largest stay what they are.
 *
 * @throws EplbRangeError `EPLB_RANGE` for a number that is not finite: it would show as another
 */
export function packNumbers(values: ArrayLike<number>): PackedNumbers {
  let offset = 0;
  let largest = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value))
      throw new EplbRangeError('EPLB_RANGE', `value ${i} is ${value}, not a finite number`);
    offset = Math.min(offset, value);
    largest = Math.max(largest, value);
  }
  const scale = largest / MOST - offset / MOST;
  const bytes = Buffer.alloc(2 * values.length);
  for (let i = 0; i < values.length && scale > 0; i++) {
    const step = Math.round(values[i]! / scale - offset / scale);
    bytes.writeUInt16LE(Math.min(step, MOST), 2 * i);
  }
  return { offset, scale, base64: bytes.toString('base64') };
}
