import assert from 'node:assert/strict';
import { EplbError, EplbRangeError, EplbTypeError } from 'expert-load-balancer';
import fc from 'fast-check';
import { SEED } from './library.ts';

/** How many calls are tried. */
export const NUM_RUNS = Number(process.env.EPLB_LONG_RUNS ?? 2000);
/** As long as no call can take: it hangs. */
const WATCHDOG_MS = 30_000;

/** A function that takes input, with arguments for it. */
export type Call = readonly [name: string, args: fc.Arbitrary<unknown>[], run: (...args: never[]) => unknown];

/** What a call came to: nothing to say of, or the error that it threw. */
async function outcomeOf(name: string, run: () => unknown): Promise<unknown> {
  const watchdog = setTimeout(() => {
    console.error(`${name} hangs`);
    process.exit(1);
  }, WATCHDOG_MS);
  try {
    await run();
    return undefined;
  } catch (error) {
    return error;
  } finally {
    clearTimeout(watchdog);
  }
}

function assertCoded(error: unknown): void {
  const isOwn = [EplbError, EplbTypeError, EplbRangeError].some((type) => error instanceof type);
  assert.ok(isOwn, error instanceof Error ? error.stack : String(error));
  assert.match((error as EplbError).code, /^EPLB_[A-Z_]+$/);
  assert.notEqual((error as EplbError).code, 'EPLB_INTERNAL', String(error));
  assert.doesNotMatch(
    (error as Error).message,
    /[\p{Cc}\p{Bidi_Control}]/u,
    'one line, nothing hidden in it',
  );
}

/**
 * Tries calls of these functions, mostly with arguments that are nearly right. Those that fail do so with a
 * code, and leave the state as it was.
 */
export async function assertAllCoded(
  calls: readonly Call[],
  numRuns: number,
  state: () => unknown = () => undefined,
): Promise<void> {
  const cases = fc.oneof(
    ...calls.map(([name, args]) => fc.tuple(...args).map((values: readonly unknown[]) => ({ name, values }))),
  );
  const runs = new Map(calls.map(([name, , run]) => [name, run]));
  await fc.assert(
    fc.asyncProperty(cases, async ({ name, values }) => {
      const before = state();
      const error = await outcomeOf(name, () => runs.get(name)!(...(values as never[])));
      if (error === undefined) return;
      assertCoded(error);
      assert.deepEqual(state(), before);
    }),
    { numRuns, seed: SEED, includeErrorInReport: true },
  );
}
