import { Random } from './random.ts';
import { median } from './stats.ts';

const NUMBERS = 1 << 16;
const RUNS = 15;

/**
 * How long the machine takes for a fixed piece of work that has nothing to do with the library, in
 * milliseconds: what tells a slower machine from slower code. Sorting a typed array is native code, the same
 * whatever ran before it.
 */
export function yardstick(): number {
  const random = new Random(1, 'yardstick');
  const numbers = Float32Array.from({ length: NUMBERS }, () => random.next());
  const times = Array.from({ length: RUNS }, () => {
    const unsorted = numbers.slice();
    const start = performance.now();
    unsorted.sort();
    return performance.now() - start;
  });
  return median(times);
}
