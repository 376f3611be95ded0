import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  type BalancerDecision,
  type ExpertLoadBalancer,
  ExpertMapping,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { SEED, withBalancer } from '../helpers/library.ts';

const sizes = { numLayers: 4, numLogicalExperts: 32, numPhysicalExperts: 40, numRanks: 8, windowSize: 16 };
const TOKENS = 2000;

/** Records steps of so many tokens that pick experts by their shares, drawn by chance. */
class Loads {
  readonly #random: () => number;
  shares: readonly number[][];

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.shares = this.draw();
  }

  /** Shares of all layers: some experts are hot. */
  draw(): number[][] {
    return Array.from({ length: sizes.numLayers }, () =>
      Array.from({ length: sizes.numLogicalExperts }, () => Math.exp(3 * this.#random())),
    );
  }

  record(balancer: ExpertLoadBalancer, numSteps: number): void {
    for (let step = 0; step < numSteps; step++) {
      for (const [layer, shares] of this.shares.entries()) {
        const total = shares.reduce((sum, share) => sum + share, 0);
        const loads = shares.map((share) => {
          const mean = (TOKENS * share) / total;
          // About as far off as so many tokens are by chance.
          return Math.max(0, Math.round(mean + Math.sqrt(mean) * (3.46 * (this.#random() - 0.5))));
        });
        balancer.recordLogicalLoad(layer, loads);
      }
      balancer.advanceWindow();
    }
  }
}

function withAdaptive<T>(run: (balancer: ExpertLoadBalancer) => Promise<T>, options = {}): Promise<T> {
  return withBalancer({ ...sizes, threads: 0, policy: new AdaptiveEplbPolicy(options) }, run);
}

const textOf = ({ mapping, ...rest }: BalancerDecision) =>
  JSON.stringify({ ...rest, mapping: [...mapping.toBytes()] });

test('a plan that is not committed leaves no trace: the next one is the same, byte for byte', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.array(fc.boolean(), { maxLength: 3 }), async (seed, commits) => {
      const run = (numIdlePlans: number) =>
        withAdaptive(async (balancer) => {
          const loads = new Loads(seed);
          loads.record(balancer, 16);
          for (const isCommitted of commits) {
            const { mapping } = await balancer.decide();
            if (isCommitted) balancer.commit(mapping);
            loads.record(balancer, 8);
          }
          for (let i = 0; i < numIdlePlans; i++) await balancer.decide();
          return textOf(await balancer.decide());
        });
      assert.equal(await run(0), await run(2));
    }),
    { numRuns: 20, seed: SEED },
  );
});

test('while the loads stay as they are the live mapping stays, until twice as much is known', async () => {
  await withAdaptive(async (balancer) => {
    const loads = new Loads(1);
    loads.record(balancer, 16);
    const first = await balancer.decide();
    assert.equal(first.status, 'planned');
    balancer.commit(first.mapping);
    for (let known = 20; known < 32; known += 4) {
      loads.record(balancer, 4);
      const next = await balancer.decide();
      assert.deepEqual([next.status, next.status === 'kept' && next.reason], ['kept', 'within noise']);
      assert.equal(next.mapping, first.mapping);
    }
  });
});

test('loads that change are planned for at once', async () => {
  for (const threads of [0, 2]) {
    const policy = new AdaptiveEplbPolicy();
    await withBalancer({ ...sizes, threads, policy }, async (balancer) => {
      const loads = new Loads(2);
      loads.record(balancer, 16);
      await balancer.rebalance();
      loads.shares = loads.draw();
      loads.record(balancer, 4);
      const next = await balancer.decide();
      assert.equal(next.status, 'planned');
      assert.ok(next.status === 'planned' && next.forecast!.moves > 0);
    });
  }
});

test('of a mapping made elsewhere nothing is remembered: it is planned from at once', async () => {
  await withAdaptive(async (balancer) => {
    const loads = new Loads(3);
    loads.record(balancer, 16);
    await balancer.rebalance();
    const { phyToLog } = balancer.mapping;
    const row = (layer: number) => [...phyToLog.subarray(40 * layer, 40 * (layer + 1))].toReversed();
    balancer.commit(ExpertMapping.fromPhysicalToLogical([0, 1, 2, 3].map(row)));
    await balancer.decide();
    const worse = Array.from({ length: 40 }, (_, slot) => slot % 32);
    balancer.commit(ExpertMapping.fromPhysicalToLogical([worse, worse, worse, worse]));
    const next = await balancer.decide();
    assert.ok(next.status === 'planned' && next.forecast!.moves > 0);
  });
});

test('on noise around equal means nothing ever moves', async () => {
  await withAdaptive(async (balancer) => {
    const loads = new Loads(4);
    loads.shares = loads.shares.map((row) => row.map(() => 1));
    loads.record(balancer, 16);
    for (let window = 0; window < 20; window++) {
      const { status, mapping } = await balancer.decide();
      assert.equal(status, 'kept', `window ${window}`);
      balancer.commit(mapping);
      loads.record(balancer, 8);
    }
  });
});

test('with a cost, dear moves are not made, cheap ones are, and more as loads stay', async () => {
  const movesAt = (bytesPerExpert: number, numSteps: number) =>
    withAdaptive(
      async (balancer) => {
        const loads = new Loads(5);
        loads.record(balancer, numSteps);
        const decision = await balancer.decide();
        return decision.status === 'planned' ? decision.forecast!.moves : 0;
      },
      { cost: { bytesPerExpert, bandwidthWithinNode: 1e9, secondsPerLoad: 1e-6 } },
    );
  assert.equal(await movesAt(1e12, 64), 0);
  const [few, many] = [await movesAt(3e6, 16), await movesAt(3e6, 64)];
  const cheap = await movesAt(1, 64);
  assert.ok(few < many && many < cheap, `${few}, ${many} and ${cheap} moves`);
});

test('a cost by steps at balance is the same cost', async () => {
  const cost = { bytesPerExpert: 1e6, bandwidthWithinNode: 1e9 };
  const meanRankLoad = TOKENS / sizes.numRanks;
  const [byLoad, byBalance] = await Promise.all(
    [
      { ...cost, secondsPerLoad: 1e-6 },
      { ...cost, secondsAtBalance: 1e-6 * meanRankLoad },
    ].map((model) =>
      withAdaptive(
        async (balancer) => {
          new Loads(6).record(balancer, 32);
          const decision = await balancer.decide();
          return decision.status === 'planned' ? decision.forecast! : undefined;
        },
        { cost: model },
      ),
    ),
  );
  assert.ok(Math.abs(byLoad!.moves - byBalance!.moves) <= 2);
  assert.ok(Math.abs(byLoad!.secondsGained / byBalance!.secondsGained - 1) < 0.05);
});

test('what has to change, and cannot, is kept, and the reason says whether limits are why', async () => {
  // Of as many slots as experts, one a rank, all placements are as good: none is better than the ceiling.
  const alike = { numLayers: 1, numLogicalExperts: 3, numPhysicalExperts: 3, numRanks: 3, threads: 0 };
  const policy = new AdaptiveEplbPolicy({ tolerance: 0 });
  await withBalancer({ ...alike, policy }, async (balancer) => {
    balancer.recordLogicalLoad(0, [5, 1, 3]);
    balancer.advanceWindow();
    const decision = await balancer.decide();
    assert.equal(decision.status, 'kept');
    assert.equal(decision.reason, 'nothing better');
    assert.equal(decision.mapping, balancer.mapping);
  });
  // Four heavy experts of two ranks have to swap places with light ones: two moves at least.
  const uneven = { numLayers: 1, numLogicalExperts: 8, numPhysicalExperts: 8, numRanks: 2, threads: 0 };
  for (const [maxMoves, reason] of [
    [0, 'no moves allowed'],
    [1, 'no moves allowed'],
    [8, undefined],
  ] as const) {
    const limited = new AdaptiveEplbPolicy({ tolerance: 0.05, maxMoves });
    await withBalancer({ ...uneven, policy: limited }, async (balancer) => {
      balancer.recordLogicalLoad(0, [9, 8, 7, 6, 1, 1, 1, 1]);
      balancer.advanceWindow();
      const decision = await balancer.decide();
      assert.equal(decision.status === 'kept' ? decision.reason : undefined, reason, `${maxMoves} moves`);
    });
  }
});

test('the limit of moves of a layer holds where the tolerance would have more', async () => {
  const sizes = { numLayers: 1, numLogicalExperts: 8, numPhysicalExperts: 8, numRanks: 2, threads: 0 };
  for (let maxMovesPerLayer = 0; maxMovesPerLayer <= 8; maxMovesPerLayer++) {
    const policy = new AdaptiveEplbPolicy({ tolerance: 0.05, maxMovesPerLayer });
    await withBalancer({ ...sizes, policy }, async (balancer) => {
      balancer.recordLogicalLoad(0, [9, 8, 7, 6, 1, 1, 1, 1]);
      balancer.advanceWindow();
      const { mapping } = await balancer.decide();
      const moves = mapping.movesFrom(balancer.mapping, sizes.numRanks);
      assert.ok(moves <= maxMovesPerLayer, `${moves} moves where ${maxMovesPerLayer} may be`);
      assert.equal(moves > 0, maxMovesPerLayer > 1, 'what moves may be made is made');
    });
  }
});

test('efforts and options that are none are named', () => {
  assert.throws(() => new AdaptiveEplbPolicy({ effort: 'most' as 'quick' }), {
    code: 'EPLB_RANGE',
    message: /effort: "most" is not one of quick, usual, thorough/,
  });
  assert.throws(() => new AdaptiveEplbPolicy({ cost: { secondsAtBalance: 0 } }), { code: 'EPLB_RANGE' });
});

test('a search of more effort is at least as good on what it plans for', async () => {
  const gains = await Promise.all(
    (['quick', 'usual', 'thorough'] as const).map((effort) =>
      withAdaptive(
        async (balancer) => {
          new Loads(7).record(balancer, 32);
          const { mapping } = await balancer.decide();
          const { data } = balancer.getAverageLogicalLoad();
          return slowest(data, mapping);
        },
        { effort, price: 0 },
      ),
    ),
  );
  assert.ok(gains[2]! <= gains[0]! + 1e-3, String(gains));
});

/** The load of the slowest rank, as a share of the mean, summed over layers. */
function slowest(loads: Float32Array, { phyToLog, replicaCount }: ExpertMapping): number {
  let sum = 0;
  for (let layer = 0; layer < sizes.numLayers; layer++) {
    const ranks = new Float64Array(sizes.numRanks);
    for (let slot = 0; slot < 40; slot++) {
      const expert = 32 * layer + phyToLog[40 * layer + slot]!;
      ranks[Math.floor(slot / 5)]! += loads[expert]! / replicaCount[expert]!;
    }
    sum += Math.max(...ranks) / (ranks.reduce((total, load) => total + load, 0) / ranks.length);
  }
  return sum;
}
