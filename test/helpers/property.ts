import fc from 'fast-check';

// One seed for all runs, so that a failure is the same tomorrow; another one can be tried from the
// environment.
const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_240_607);

/** How many problems of at most 64 and of at most 1,024 experts a property is tried on. */
interface Runs {
  small: number;
  large: number;
}

/**
 * Asserts a property of random problems whose size `problems(max)` bounds: of many small ones, which meet the
 * corner cases and shrink well, and of some large ones.
 */
export function assertForAll<T>(
  problems: (maxSize: number) => fc.Arbitrary<T>,
  { small, large }: Runs,
  property: (problem: T) => void,
): void {
  fc.assert(fc.property(problems(64), property), { numRuns: small, seed: SEED, includeErrorInReport: true });
  fc.assert(fc.property(problems(1024), property), {
    numRuns: large,
    seed: SEED,
    includeErrorInReport: true,
  });
}

/** {@link assertForAll} for properties of work that is waited for. */
export async function assertForAllAsync<T>(
  problems: (maxSize: number) => fc.Arbitrary<T>,
  { small, large }: Runs,
  property: (problem: T) => Promise<void>,
): Promise<void> {
  const options = { seed: SEED, includeErrorInReport: true };
  await fc.assert(fc.asyncProperty(problems(64), property), { ...options, numRuns: small });
  await fc.assert(fc.asyncProperty(problems(1024), property), { ...options, numRuns: large });
}
