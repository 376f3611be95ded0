import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  type ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { SEED, stateOf, withBalancer } from '../helpers/library.ts';

const sizes = { numLayers: 3, numLogicalExperts: 12, numPhysicalExperts: 18, numRanks: 6 };

/** What is done to a balancer. */
type Act =
  | 'record slots'
  | 'record experts'
  | 'record both'
  | 'end step'
  | 'plan'
  | 'idle plan'
  | 'roll back';

const acts = fc.array(
  fc.constantFrom<Act>(
    ...(['record slots', 'record experts', 'record both', 'end step', 'end step', 'end step'] as const),
    ...(['plan', 'idle plan', 'roll back'] as const),
  ),
  { maxLength: 60 },
);

async function perform(
  balancer: ExpertLoadBalancer,
  done: readonly Act[],
  random: () => number,
): Promise<void> {
  const first = balancer.mapping;
  const row = (n: number) =>
    Array.from({ length: n }, (_, i) =>
      random() < 0.2 ? 1000 * random() : Math.floor(random() * 20 * (1 + (i % 5))),
    );
  for (const act of done) {
    const layer = Math.floor(random() * sizes.numLayers);
    if (act === 'record slots' || act === 'record both') balancer.recordLoad(layer, row(18));
    if (act === 'record experts' || act === 'record both') balancer.recordLogicalLoad(layer, row(12));
    if (act === 'end step') balancer.advanceWindow();
    if (act === 'plan') await balancer.rebalance();
    if (act === 'idle plan') await balancer.plan();
    if (act === 'roll back') balancer.commit(first);
  }
}

const policies = { adaptive: () => new AdaptiveEplbPolicy(), default: () => new DefaultEplbPolicy() };

test('a balancer that is restored from a snapshot goes on as the one that it was taken of', async () => {
  const problems = fc.tuple(
    acts,
    acts,
    fc.nat(),
    fc.constantFrom('adaptive', 'default'),
    fc.integer({ min: 1, max: 90 }),
  );
  await fc.assert(
    fc.asyncProperty(problems, async ([before, after, seed, policy, windowSize]) => {
      const options: ExpertLoadBalancerOptions = {
        ...sizes,
        windowSize,
        threads: 0,
        policy: policies[policy](),
      };
      await withBalancer(options, async (balancer) => {
        await perform(balancer, before, seededRandom(seed));
        const snapshot = balancer.snapshot();
        await withBalancer({ ...options, policy: policies[policy]() }, async (restored) => {
          restored.restore(snapshot);
          assert.deepEqual(restored.snapshot(), snapshot);
          assert.deepEqual(restored.metrics(), balancer.metrics());
          for (const one of [balancer, restored]) await perform(one, after, seededRandom(seed + 1));
          assert.deepEqual(restored.getAverageLogicalLoad(), balancer.getAverageLogicalLoad());
          const [wanted, found] = [await balancer.decide(), await restored.decide()];
          assert.equal(found.status, wanted.status);
          assert.ok(found.mapping.equals(wanted.mapping));
        });
      });
    }),
    { numRuns: 150, seed: SEED },
  );
});

test('a snapshot that is damaged, of other sizes, or none is refused, and changes nothing', async () => {
  await withBalancer(
    { ...sizes, windowSize: 4, threads: 0, policy: new AdaptiveEplbPolicy() },
    async (balancer) => {
      balancer.recordLoad(0, new Array(18).fill(3));
      balancer.advanceWindow();
      await balancer.rebalance();
      const snapshot = balancer.snapshot();
      await withBalancer(
        { ...sizes, windowSize: 4, threads: 0, policy: new AdaptiveEplbPolicy() },
        async (other) => {
          const before = stateOf(other);
          const random = seededRandom(1);
          for (let i = 0; i < 300; i++) {
            const bytes = snapshot.slice(
              0,
              random() < 0.3 ? Math.floor(random() * snapshot.length) : undefined,
            );
            bytes[Math.floor(random() * bytes.length)]! ^= 1 << Math.floor(random() * 8);
            assert.throws(() => other.restore(bytes), { name: 'EplbRangeError', code: 'EPLB_FORMAT' });
          }
          for (const none of [undefined, 'snapshot', [], new ArrayBuffer(8)])
            assert.throws(() => other.restore(none as unknown as Uint8Array), {
              name: 'EplbTypeError',
              code: 'EPLB_KIND',
            });
          assert.deepEqual(stateOf(other), before);
          other.restore(snapshot);
          assert.throws(() => other.restore(snapshot), { code: 'EPLB_STALE' });
        },
      );
      for (const change of [{ windowSize: 5 }, { numRanks: 3 }, { policy: new DefaultEplbPolicy() }]) {
        const options = { ...sizes, windowSize: 4, threads: 0, policy: new AdaptiveEplbPolicy(), ...change };
        await withBalancer(options, async (other) => {
          assert.throws(() => other.restore(snapshot), { name: 'EplbRangeError', code: 'EPLB_SHAPE' });
        });
      }
    },
  );
});
