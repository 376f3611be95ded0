import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  type ApplyTransfer,
  AsyncExpertRebalancer,
  type AsyncExpertRebalancerOptions,
  checkTransfer,
  type ExpertLoadBalancer,
  ExpertMapping,
  type ExpertTransfer,
  type RebalancerTransferOptions,
  type TransferPlan,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED, turn, until, withBalancer } from '../helpers/library.ts';

const sizes = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 } as const;
const options = { ...sizes, windowSize: 1, threads: 0 } as const;

function record(balancer: ExpertLoadBalancer, hot: number): void {
  for (const layer of [0, 1])
    balancer.recordLogicalLoad(
      layer,
      [0, 1, 2, 3].map((e) => (e === hot ? 90 : 1)),
    );
  balancer.advanceWindow();
}

const hostMapping = () =>
  ExpertMapping.fromPhysicalToLogical([
    [3, 2, 1, 0, 3, 2],
    [3, 2, 1, 0, 3, 2],
  ]);

/** What moves weights when a test says so. */
class Mover {
  readonly transfers: ExpertTransfer[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #open: { resolve(): void; reject(error: unknown): void }[] = [];
  readonly apply: ApplyTransfer = (transfer, { signal }) => {
    this.transfers.push(transfer);
    this.signals.push(signal);
    return new Promise((resolve, reject) => this.#open.push({ resolve, reject }));
  };
  get numOpen(): number {
    return this.#open.length;
  }
  settle(error?: unknown): void {
    const { resolve, reject } = this.#open.shift()!;
    if (error === undefined) resolve();
    else reject(error);
  }
}

function log(rebalancer: AsyncExpertRebalancer): string[] {
  const events: string[] = [];
  rebalancer.on('prepared', ({ generation }) => events.push(`prepared ${generation}`));
  rebalancer.on('activated', ({ generation }) => events.push(`activated ${generation}`));
  rebalancer.on('aborted', ({ reason }) => events.push(`aborted ${reason}`));
  rebalancer.on('skipped', ({ reason }) => events.push(reason));
  for (const name of ['pending', 'committed', 'error'] as const) rebalancer.on(name, () => events.push(name));
  return events;
}

async function withMover(
  work: (parts: {
    balancer: ExpertLoadBalancer;
    rebalancer: AsyncExpertRebalancer;
    mover: Mover;
    events: string[];
  }) => Promise<void>,
): Promise<void> {
  await withBalancer(options, async (balancer) => {
    const mover = new Mover();
    const rebalancer = new AsyncExpertRebalancer({ balancer, apply: mover.apply });
    record(balancer, 0);
    await work({ balancer, rebalancer, mover, events: log(rebalancer) });
  });
}

test('a mapping goes live when its weights were moved, and not before', async () => {
  await withMover(async ({ balancer, rebalancer, mover, events }) => {
    const first = balancer.mapping;
    const rebalanced = rebalancer.rebalanceAsync();
    await until(() => mover.numOpen === 1);
    const again = rebalancer.rebalanceAsync();
    for (let i = 0; i < 5; i++) await turn();
    assert.equal(balancer.mapping, first);
    assert.deepEqual(events, []);
    assert.equal(mover.numOpen, 1, 'never two at once');
    mover.settle();
    const outcome = await rebalanced;
    assert.equal(await again, outcome);
    assert.deepEqual(events, ['prepared 0', 'activated 1']);
    assert.ok(outcome.status === 'activated' && outcome.mapping === balancer.mapping);
    assert.equal(outcome.previous, first);
    const [transfer] = mover.transfers;
    const { plan, ...told } = transfer!;
    assert.deepEqual(told, { from: first, to: balancer.mapping, generation: 0 });
    assert.deepEqual(checkTransfer(plan, first, balancer.mapping), { status: 'valid' });
    assert.equal(transfer!.plan, plan, 'made once');
    assert.equal(mover.signals[0]!.aborted, false);
    assert.equal(rebalancer.getPendingMapping(), undefined);
  });
});

test('a rejection keeps the old mapping, and the event has what it was rejected with', async () => {
  await withMover(async ({ balancer, rebalancer, mover, events }) => {
    const first = balancer.mapping;
    const error = new Error('a link is down');
    const rebalanced = rebalancer.rebalanceAsync();
    await until(() => mover.numOpen === 1);
    mover.settle(error);
    const outcome = await rebalanced;
    assert.ok(outcome.status === 'aborted' && outcome.reason === 'failed' && outcome.error === error);
    assert.equal(outcome.mapping, mover.transfers[0]!.to);
    assert.equal(balancer.mapping, first);
    assert.deepEqual(events, ['aborted failed']);
    // The next one begins anew.
    const next = rebalancer.rebalanceAsync();
    await until(() => mover.numOpen === 1);
    mover.settle();
    assert.equal((await next).status, 'activated');
  });
});

test('stop, close and a commit of others abort the signal, and wait until the move has settled', async () => {
  const ways = {
    stopped: (_: ExpertLoadBalancer, rebalancer: AsyncExpertRebalancer) => void rebalancer.stop(),
    closed: (balancer: ExpertLoadBalancer) => void balancer.close(),
    stale: (balancer: ExpertLoadBalancer) => balancer.commit(hostMapping()),
  };
  const codes = { stopped: 'EPLB_CANCELLED', closed: 'EPLB_CLOSED', stale: 'EPLB_STALE' } as const;
  for (const reason of ['stopped', 'closed', 'stale'] as const) {
    for (const isRejected of [false, true]) {
      await withMover(async ({ balancer, rebalancer, mover, events }) => {
        const rebalanced = rebalancer.rebalanceAsync();
        await until(() => mover.numOpen === 1);
        ways[reason](balancer, rebalancer);
        const live = balancer.mapping;
        const [signal] = mover.signals;
        assert.ok(signal!.aborted);
        refusal('other', codes[reason], /stopped|closed|live/)(signal!.reason);
        const stopped = rebalancer.stop().then(() => events.push('has stopped'));
        for (let i = 0; i < 5; i++) await turn();
        assert.deepEqual(events, []);
        mover.settle(isRejected ? signal!.reason : undefined);
        const outcome = await rebalanced;
        await stopped;
        assert.ok(outcome.status === 'aborted' && outcome.reason === reason);
        assert.deepEqual(events, [`aborted ${reason}`, 'has stopped']);
        assert.equal(balancer.mapping, live);
      });
    }
  }
});

test('weights that are moved layer by layer can be committed layer by layer', async () => {
  for (const layers of [[0], [1, 0]]) {
    await withMover(async ({ balancer, rebalancer, mover, events }) => {
      const rebalanced = rebalancer.rebalanceAsync();
      await until(() => mover.numOpen === 1);
      const { to } = mover.transfers[0]!;
      for (const layer of layers) balancer.commitLayers(to, [layer]);
      assert.equal(mover.signals[0]!.aborted, false);
      mover.settle();
      await rebalanced;
      assert.equal(balancer.mapping, to);
      assert.deepEqual(events, ['prepared 0', 'activated 2']);
    });
  }
  await withMover(async ({ balancer, rebalancer, mover, events }) => {
    const rebalanced = rebalancer.rebalanceAsync();
    await until(() => mover.numOpen === 1);
    balancer.commitLayers(mover.transfers[0]!.to, [0]);
    balancer.commit(hostMapping());
    assert.ok(mover.signals[0]!.aborted);
    mover.settle();
    await rebalanced;
    assert.deepEqual(events, ['aborted stale']);
  });
});

test('a listener that stops it, or commits, when all is prepared has its way', async () => {
  const ways = [
    ['stopped', (_: ExpertLoadBalancer, rebalancer: AsyncExpertRebalancer) => void rebalancer.stop()],
    ['stale', (balancer: ExpertLoadBalancer) => balancer.commit(hostMapping())],
    ['closed', (balancer: ExpertLoadBalancer) => void balancer.close()],
  ] as const;
  for (const [reason, act] of ways) {
    await withMover(async ({ balancer, rebalancer, mover, events }) => {
      rebalancer.on('prepared', () => act(balancer, rebalancer));
      const rebalanced = rebalancer.rebalanceAsync();
      await until(() => mover.numOpen === 1);
      mover.settle();
      assert.ok((await rebalanced).status === 'aborted');
      assert.deepEqual(events, ['prepared 0', `aborted ${reason}`]);
      assert.notEqual(balancer.mapping, mover.transfers[0]!.to);
    });
  }
});

test('in the background a move that fails is counted, and somebody is told of it', async () => {
  for (const listener of ['aborted', 'error'] as const) {
    await withBalancer(options, async (balancer) => {
      const told: unknown[] = [];
      const error = new Error('a link is down');
      const apply = () => Promise.reject(error);
      const rebalancer = new AsyncExpertRebalancer({
        balancer,
        rebalanceInterval: 1,
        loadThreshold: 1,
        apply,
      });
      if (listener === 'aborted') rebalancer.on('aborted', (outcome) => told.push(outcome.error));
      else rebalancer.on('error', (thrown) => told.push(thrown));
      // On one rank alone.
      record(balancer, 2);

      rebalancer.start();
      await until(() => told.length >= 2);
      await rebalancer.stop();
      assert.equal(rebalancer.numErrors, told.length);
      assert.ok(told.every((thrown) => thrown === error));
      assert.equal(balancer.generation, 0);
    });
  }
});

test('what `apply` throws, or returns without a promise, is taken as it is meant', async () => {
  await withBalancer(options, async (balancer) => {
    record(balancer, 0);
    const thrown = () => {
      throw new TypeError('no weights');
    };
    const failing = new AsyncExpertRebalancer({ balancer, apply: thrown });
    const outcome = await failing.rebalanceAsync();
    assert.ok(outcome.status === 'aborted' && outcome.error instanceof TypeError);
    const apply = (() => undefined) as unknown as ApplyTransfer;
    assert.equal((await new AsyncExpertRebalancer({ balancer, apply }).rebalanceAsync()).status, 'activated');
    const wrong = { balancer, apply: 'apply' } as unknown as AsyncExpertRebalancerOptions;
    assert.throws(() => new AsyncExpertRebalancer(wrong), refusal('type', 'EPLB_KIND', /apply: "apply"/));
  });
});

test('whatever happens while weights move: one move at a time, and live is only what was moved', async () => {
  const acts = fc.constantFrom('plan', 'plan', 'settle', 'settle', 'fail', 'host', 'stop', 'layer', 'record');
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(acts, { maxLength: 30 }), fc.nat(), async (steps, seed) => {
      const random = seededRandom(seed);
      await withMover(async ({ balancer, rebalancer, mover, events }) => {
        const allowed = new Set([balancer.mapping]);
        const flights: Promise<unknown>[] = [];
        for (const act of steps) {
          if (act === 'plan') flights.push(rebalancer.rebalanceAsync());
          if (act === 'record') record(balancer, Math.floor(random() * 4));
          if (act === 'stop') flights.push(rebalancer.stop());
          if (act === 'host') {
            const mapping = hostMapping();
            allowed.add(mapping);
            balancer.commit(mapping);
          }
          const { numOpen } = mover;
          const transfer = mover.transfers.at(-1);
          const isOpen = numOpen > 0 && !mover.signals.at(-1)!.aborted;
          if (act === 'layer' && isOpen) {
            balancer.commitLayers(transfer!.to, [0]);
            allowed.add(balancer.mapping);
          }
          if (act === 'settle' && numOpen > 0) {
            if (isOpen) allowed.add(transfer!.to);
            mover.settle();
          }
          if (act === 'fail' && numOpen > 0) mover.settle(new Error('failed'));
          for (let turns = Math.floor(random() * 4); turns > 0; turns--) await turn();
          assert.ok(mover.numOpen <= 1);
          assert.ok(allowed.has(balancer.mapping));
        }
        while (mover.numOpen > 0) {
          mover.settle();
          await turn();
        }
        const stopped = rebalancer.stop();
        for (let i = 0; i < 5; i++) {
          await turn();
          if (mover.numOpen > 0) mover.settle();
        }
        await Promise.all([...flights, stopped]);
        const ended = events.filter((event) => /activated|aborted/.test(event)).length;
        assert.equal(ended, mover.transfers.length, 'each move ends in one event');
        for (const event of events) seen.add(event.replace(/ \d+/, ''));
      });
    }),
    { numRuns: 80, seed: SEED },
  );
  for (const event of ['prepared', 'activated', 'aborted failed', 'aborted stale', 'aborted stopped'])
    assert.ok(seen.has(event), event);
});

test('transfers are planned as the rebalancer was told', async () => {
  const policy = new AdaptiveEplbPolicy({ price: 0 });
  await withBalancer({ ...sizes, policy, windowSize: 4, threads: 0 }, async (balancer) => {
    const plans: TransferPlan[] = [];
    const rebalancer = new AsyncExpertRebalancer({
      balancer,
      transfer: { mode: 'inPlace', staging: 2, bytesPerExpert: 7 },
      apply: async ({ plan, forecast }) => {
        assert.ok(forecast !== undefined);
        plans.push(plan);
      },
    });
    for (let step = 0; step < 4; step++) record(balancer, 2);
    await rebalancer.rebalanceAsync();
    assert.equal(plans.length, 1);
    const [{ mode, staging, bytesPerExpert, numRanks }] = plans as [TransferPlan];
    assert.deepEqual(
      { mode, staging, bytesPerExpert, numRanks },
      {
        ...{ mode: 'inPlace', staging: 2, bytesPerExpert: 7, numRanks: sizes.numRanks },
      },
    );
  });
});

test('options of transfers are checked at once, and what the balancer knows is not told again', async () => {
  await withBalancer({ ...sizes, threads: 0 }, (balancer) => {
    const make = (transfer: object) => () =>
      new AsyncExpertRebalancer({ balancer, transfer: transfer as RebalancerTransferOptions });
    assert.throws(make({ bytesPerExprt: 1 }), refusal('type', 'EPLB_OPTION', /bytesPerExpert/));
    assert.throws(make({ numRanks: 2 }), refusal('type', 'EPLB_OPTION', /numRanks/));
    assert.throws(make({ staging: 3 }), refusal('range', 'EPLB_RANGE', /staging/));
    assert.throws(make({ mode: 'sideways' }), refusal('range', 'EPLB_RANGE', /sideways/));
  });
});
