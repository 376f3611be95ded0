import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AsyncExpertRebalancer, type ExpertLoadBalancer } from 'expert-load-balancer';
import { turn, withBalancer } from '../helpers/library.ts';

const small = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, threads: 0 } as const;

function record(balancer: ExpertLoadBalancer, ...loads: number[]): void {
  balancer.recordLogicalLoad(0, loads);
  balancer.advanceWindow();
}

/** What the process is warned of from now on. */
function warnings(t: TestContext): string[] {
  const messages: string[] = [];
  t.mock.method(process, 'emitWarning', (warning: string | Error) => {
    messages.push(typeof warning === 'string' ? warning : warning.message);
  });
  return messages;
}

/** A rebalancer and what it plans, again and again. */
async function withRebalancer(
  autoCommit: boolean,
  work: (rebalancer: AsyncExpertRebalancer, plan: () => Promise<string>) => Promise<void>,
): Promise<void> {
  await withBalancer({ ...small, windowSize: 1 }, async (balancer) => {
    const rebalancer = new AsyncExpertRebalancer({ balancer, autoCommit });
    let hot = 0;
    await work(rebalancer, async () => {
      hot = (hot + 1) % 4;
      record(balancer, ...[0, 1, 2, 3].map((expert) => (expert === hot ? 100 : 1)));
      const { status } = await rebalancer.rebalanceAsync();
      await turn();
      return status;
    });
  });
}

const FAILURES = {
  throws: () => {
    throw new Error('the listener failed');
  },
  rejects: () => Promise.reject(new Error('the listener failed')),
  'rejects later': async () => {
    await turn();
    throw new Error('the listener failed');
  },
};

test('a listener that throws or rejects becomes an error event, and the outcome stands', async (t) => {
  const warned = warnings(t);
  for (const [name, listener] of Object.entries(FAILURES)) {
    for (const autoCommit of [false, true]) {
      await withRebalancer(autoCommit, async (rebalancer, plan) => {
        const errors: string[] = [];
        rebalancer.on('error', (error) => errors.push(error.message));
        const event = autoCommit ? 'committed' : 'pending';
        rebalancer.on(event, listener);
        const { generation } = rebalancer.balancer;
        assert.equal(await plan(), event, name);
        await turn();
        assert.equal(rebalancer.balancer.generation, generation + (autoCommit ? 1 : 0));
        assert.deepEqual(errors, ['the listener failed'], name);
        assert.equal(rebalancer.numErrors, 1);
      });
    }
  }
  assert.deepEqual(warned, []);
});

test('errors of listeners with no listener for them are counted, and warned of once', async (t) => {
  const warned = warnings(t);
  for (const [name, listener] of Object.entries(FAILURES)) {
    warned.length = 0;
    await withRebalancer(true, async (rebalancer, plan) => {
      rebalancer.on('committed', listener);
      for (let i = 1; i <= 3; i++) {
        assert.equal(await plan(), 'committed', name);
        await turn();
        assert.equal(rebalancer.numErrors, i);
      }
      assert.deepEqual(warned, ['the listener failed'], name);
    });
  }
});

test('a listener for errors that itself throws or rejects ends nothing', async (t) => {
  const warned = warnings(t);
  for (const [name, listener] of Object.entries(FAILURES)) {
    warned.length = 0;
    await withRebalancer(true, async (rebalancer, plan) => {
      rebalancer.on('committed', () => {
        throw new Error('first');
      });
      rebalancer.on('error', listener);
      for (let i = 1; i <= 3; i++) {
        assert.equal(await plan(), 'committed', name);
        await turn();
        assert.equal(rebalancer.numErrors, 2 * i, 'the listener’s and that of the listener for errors');
      }
      assert.deepEqual(warned, ['the listener failed'], name);
    });
  }
});

test('what is thrown need not be an error', async () => {
  await withRebalancer(true, async (rebalancer, plan) => {
    const thrown = ['text', undefined, null, Symbol('s'), Object.create(null)];
    const errors: unknown[] = [];
    rebalancer.on('error', (error) => errors.push(error));
    for (const value of thrown) {
      rebalancer.once('committed', () => {
        throw value;
      });
      rebalancer.once('committed', () => Promise.reject(value));
      assert.equal(await plan(), 'committed');
      rebalancer.removeAllListeners('committed');
    }
    assert.equal(errors.length, thrown.length);
    for (const error of errors) assert.ok(error instanceof Error);
  });
});
