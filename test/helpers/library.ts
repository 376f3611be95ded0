import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  EplbError,
  type EplbErrorCode,
  EplbRangeError,
  EplbTypeError,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  ExpertMapping,
} from 'expert-load-balancer';
import fc from 'fast-check';

/** One seed for all runs, so that a failure is the same tomorrow. */
export const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_240_607);

/** What an error has to be: its class in words, its code, and what its message says. */
export type Refusal = readonly [kind: 'type' | 'range' | 'other', code: EplbErrorCode, message: RegExp];

const CLASSES = {
  type: { own: EplbTypeError, base: TypeError, name: 'EplbTypeError' },
  range: { own: EplbRangeError, base: RangeError, name: 'EplbRangeError' },
  other: { own: EplbError, base: Error, name: 'EplbError' },
};

/** A check for assert.throws and assert.rejects. */
export function refusal(...[kind, code, message]: Refusal): (error: unknown) => true {
  const { own, base, name } = CLASSES[kind];
  return (error) => {
    assert.ok(error instanceof own, `${String(error)} is no ${name}`);
    assert.ok(error instanceof base);
    assert.equal(error.name, name);
    assert.match(error.message, message);
    assert.equal(error.code, code, error.message);
    assert.doesNotMatch(error.message, /\n/, 'one line');
    return true;
  };
}

/** Runs `work` with a balancer that is closed afterwards. */
export async function withBalancer<T>(
  options: ExpertLoadBalancerOptions,
  work: (balancer: ExpertLoadBalancer) => T | Promise<T>,
): Promise<T> {
  const balancer = new ExpertLoadBalancer(options);
  try {
    return await work(balancer);
  } finally {
    await balancer.close();
  }
}

/** All that can be read of a balancer, for 'nothing changed': but for what its plans cost. */
export function stateOf(balancer: ExpertLoadBalancer): unknown {
  const { workersStarted: _started, workersWoken: _woken, ...metrics } = balancer.metrics();
  return {
    metrics,
    slots: balancer.getAverageLoad(),
    experts: balancer.getAverageLogicalLoad(),
    digest: balancer.mapping.digest(),
    generation: balancer.generation,
  };
}

/** Sizes of a mapping. */
export interface Sizes {
  numLayers: number;
  numLogical: number;
  numPhysical: number;
}

export function sizesArbitrary(maxPhysical = 24): fc.Arbitrary<Sizes> {
  return fc
    .record({
      numLayers: fc.integer({ min: 1, max: 3 }),
      numLogical: fc.integer({ min: 1, max: maxPhysical / 2 }),
    })
    .chain((sizes) =>
      fc
        .integer({ min: sizes.numLogical, max: maxPhysical })
        .map((numPhysical) => ({ ...sizes, numPhysical })),
    );
}

/**
 * Rows [layers][physical] of a valid mapping: every expert somewhere, the other slots anything, empty ones
 * too.
 */
export function rowsArbitrary({ numLayers, numLogical, numPhysical }: Sizes): fc.Arbitrary<number[][]> {
  const numRest = numPhysical - numLogical;
  const rest = fc.array(fc.integer({ min: -1, max: numLogical - 1 }), {
    minLength: numRest,
    maxLength: numRest,
  });
  const row = rest.chain((more) =>
    fc.shuffledSubarray([...Array(numLogical).keys(), ...more], {
      minLength: numPhysical,
      maxLength: numPhysical,
    }),
  );
  return fc.array(row, { minLength: numLayers, maxLength: numLayers });
}

export function mappingArbitrary(sizes: Sizes): fc.Arbitrary<ExpertMapping> {
  return rowsArbitrary(sizes).map((rows) => ExpertMapping.fromPhysicalToLogical(rows, sizes.numLogical));
}

/** Resolves in a later turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Waits until a layer of the plan in flight is done. */
export async function untilPlanning(balancer: ExpertLoadBalancer): Promise<void> {
  do await turn();
  while (balancer.planProgress.numLayers > 0 && balancer.planProgress.layersDone === 0);
  assert.ok(balancer.planProgress.layersDone > 0, 'the plan was over too soon');
}

/** Waits until a condition holds; fails when it still does not after many seconds, so that no run hangs. */
export async function until(condition: () => boolean): Promise<void> {
  for (let looks = 0; !condition(); looks++) {
    assert.ok(looks < 20_000, `never came: ${condition}`);
    await sleep(1);
  }
}
