import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  ExpertLoadBalancer,
  ExpertMapping,
  type LoadMatrix,
  LocalityAwarePolicy,
} from 'expert-load-balancer';
import { hasEnded, threadsOf } from '../helpers/hostile-policy.ts';
import { refusal, stateOf, turn, untilPlanning, withBalancer } from '../helpers/library.ts';
import { slowPolicy } from '../helpers/slow-policy.ts';

const run = promisify(execFile);
const policyUrl = (file: string) => new URL(`../fixtures/policies/${file}`, import.meta.url);
const lost = refusal('other', 'EPLB_WORKER_LOST', /worker/);
const ended = (error: unknown) => {
  const code = (error as { code?: string }).code;
  return refusal('other', code === 'EPLB_CANCELLED' ? code : 'EPLB_CLOSED', /closed|cancelled/)(error);
};

const small = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, threads: 2 } as const;
/**
 * So much work that a plan takes many turns of the event loop, also when the machine is busy with other
 * things.
 */
const big = {
  ...{ numLayers: 40, numLogicalExperts: 64, numPhysicalExperts: 80 },
  ...{ numRanks: 16, numNodes: 4, numGroups: 16 },
  ...{ windowSize: 1, threads: 2, policy: slowPolicy() },
};

function bigLoads(): LoadMatrix {
  const data = Float32Array.from({ length: 40 * 64 }, (_, i) => (i * 7919) % 1013);
  return { data, numLayers: 40, numExperts: 64 };
}

test('both threads are killed while they plan: that plan is lost, the next one works', async () => {
  await threadsOf(async (threads) => {
    await withBalancer(big, async (balancer) => {
      const before = stateOf(balancer);
      const plan = assert.rejects(balancer.rebalance(bigLoads()), lost);
      await untilPlanning(balancer);
      assert.equal(threads.length, 2);
      for (const thread of threads) void thread.terminate();
      await plan;
      assert.deepEqual(stateOf(balancer), before);
      assert.deepEqual(balancer.planProgress, { layersDone: 0, numLayers: 0 });
      const mapping = await balancer.plan(bigLoads());
      assert.equal(mapping.digest(), balancer.rebalanceSync(bigLoads()).digest());
    });
  });
});

test('one thread of two is killed during a plan: its plan is lost or made anew, not half made', async () => {
  await threadsOf(async (threads) => {
    await withBalancer(big, async (balancer) => {
      const before = stateOf(balancer);
      const plan = balancer.plan(bigLoads()).catch((error: unknown) => error);
      await untilPlanning(balancer);
      void threads[1]!.terminate();
      const result = await plan;
      assert.deepEqual(stateOf(balancer), before);
      const expected = balancer.rebalanceSync(bigLoads()).digest();
      if (result instanceof ExpertMapping) assert.equal(result.digest(), expected);
      else lost(result);
    });
  });
});

test('a plan that waits while another one loses its threads is made', async () => {
  await threadsOf(async (threads) => {
    await withBalancer(big, async (balancer) => {
      const plan = assert.rejects(balancer.plan(bigLoads()), lost);
      const next = balancer.plan(bigLoads());
      await untilPlanning(balancer);
      for (const thread of threads) void thread.terminate();
      await plan;
      assert.equal((await next).digest(), balancer.rebalanceSync(bigLoads()).digest());
    });
  });
});

test('threads that are killed between two plans are replaced', async () => {
  await threadsOf(async (threads) => {
    await withBalancer(small, async (balancer) => {
      const rows = [...Array(2)].map(() => [1, 2, 3, 4]);
      const first = await balancer.plan(rows);
      await Promise.all(threads.map((thread) => thread.terminate()));
      assert.ok((await balancer.plan(rows)).equals(first));
    });
  });
});

test('a policy module that ends its thread: that plan is lost, the next one works', async () => {
  await withBalancer({ ...small, policy: policyUrl('dies.mjs?exit') }, async (balancer) => {
    const before = stateOf(balancer);
    const rows = [...Array(2)].map(() => [13, 2, 3, 4]);
    for (let time = 0; time < 2; time++) {
      await assert.rejects(balancer.rebalance(rows), lost);
      assert.deepEqual(stateOf(balancer), before);
    }
    const mapping = await balancer.plan([...Array(2)].map(() => [1, 2, 3, 4]));
    assert.deepEqual(
      mapping.toJSON().phyToLog,
      [0, 1].map(() => [0, 1, 2, 3, 0, 1]),
    );
  });
});

test('a policy module whose thread dies after its answer harms neither host nor next plan', async () => {
  await withBalancer({ ...small, policy: policyUrl('dies.mjs?rejection') }, async (balancer) => {
    const result = await balancer
      .plan([...Array(2)].map(() => [13, 2, 3, 4]))
      .catch((error: unknown) => error);
    if (result instanceof Error) lost(result);
    for (let i = 0; i < 3; i++) {
      const next = await balancer
        .plan([...Array(2)].map(() => [1, 2, 3, 4]))
        .catch((error: unknown) => error);
      if (next instanceof Error) lost(next);
    }
  });
});

test('close during a plan ends it, the plans that wait, and the threads', async () => {
  await threadsOf(async (threads) => {
    await withBalancer(big, async (balancer) => {
      const before = stateOf(balancer);
      const plan = assert.rejects(balancer.rebalance(bigLoads()), ended);
      const waiting = assert.rejects(
        balancer.rebalance(bigLoads()),
        refusal('other', 'EPLB_CLOSED', /closed/),
      );
      await untilPlanning(balancer);
      const exits = threads.map((thread) => new Promise((resolve) => thread.once('exit', resolve)));
      await balancer.close();
      await Promise.all([plan, waiting, ...exits]);
      assert.deepEqual(stateOf(balancer), before);
    });
  });
});

test('close in any turn after a plan was asked for ends it', async () => {
  for (let numTurns = 0; numTurns < 6; numTurns++) {
    await withBalancer(big, async (balancer) => {
      const plan = assert.rejects(balancer.rebalance(bigLoads()), ended);
      for (let i = 0; i < numTurns; i++) await Promise.resolve();
      await balancer.close();
      await plan;
      assert.equal(balancer.generation, 0);
    });
  }
});

test('close waits for a policy module that cannot be cancelled, and drops its plan', async () => {
  await withBalancer({ ...small, policy: policyUrl('slow.mjs') }, async (balancer) => {
    const plan = assert.rejects(balancer.rebalance([...Array(2)].map(() => [1, 2, 3, 4])), ended);
    await turn();
    await Promise.all([balancer.close(), balancer.close(), plan]);
    assert.equal(balancer.generation, 0);
  });
});

test('close at any moment of a plan ends a policy module’s thread, also a killed one', async () => {
  await threadsOf(async (threads) => {
    for (const [i, waitMs] of [0, 1, 20, 40, 60, 80].entries()) {
      const balancer = new ExpertLoadBalancer({ ...small, policy: policyUrl('repeat.mjs') });
      const plan = balancer.plan([...Array(2)].map(() => [13, 2, 3, 4])).catch(ended);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (i % 2 === 1) void threads.findLast((thread) => !hasEnded(thread))?.terminate();
      await balancer.close();
      await plan;
      assert.ok(threads.every(hasEnded), `after ${waitMs} ms`);
    }
  });
});

test('a balancer that never planned starts no thread', async () => {
  await threadsOf(async (threads) => {
    await withBalancer({ ...small, threads: 4 }, async (balancer) => {
      balancer.recordLogicalLoad(0, [1, 2, 3, 4]);
      balancer.rebalanceSync([...Array(2)].map(() => [1, 2, 3, 4]));
    });
    await withBalancer({ ...small, threads: 4, policy: new LocalityAwarePolicy() }, () => {});
    assert.equal(threads.length, 0);
  });
});

/** What a process does that never closes its balancer, and what it prints. */
const forgetful = {
  'after a plan in the pool': "await balancer.rebalance(); console.log('done');",
  'with a plan in flight': "balancer.rebalance().then(() => console.log('done'));",
  'with a rebalancer started': `
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 20, loadThreshold: 1 });
    rebalancer.start();
    await balancer.rebalance();
    console.log('done');`,
  'with a rebalancer that waits only': `
    new AsyncExpertRebalancer({ balancer }).start();
    console.log('done');`,
};

/** Runs a program, which is killed when it does not exit by itself, and returns what it printed. */
async function outputOf(script: string): Promise<string> {
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const args = ['--input-type=module', '--eval', script];
  const { stdout, stderr } = await run(process.execPath, args, { cwd, timeout: 20_000 });
  assert.equal(stderr, '');
  return stdout;
}

for (const [title, code] of Object.entries(forgetful)) {
  test(`a process that forgot to close exits by itself: ${title}`, async () => {
    const output = await outputOf(`
      import { AsyncExpertRebalancer, ExpertLoadBalancer } from 'expert-load-balancer';
      const balancer = new ExpertLoadBalancer({
        numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, threads: 2,
      });
      balancer.recordLogicalLoad(0, [90, 10, 40, 60]);
      balancer.advanceWindow();
      ${code}`);
    assert.equal(output, 'done\n');
  });
}

test('a later error of a policy module loses the plan; neither close nor exit waits for it', async () => {
  const output = await outputOf(`
    import { ExpertLoadBalancer } from 'expert-load-balancer';
    const policy = new URL(${JSON.stringify(policyUrl('dies.mjs?microtask').href)});
    const balancer = new ExpertLoadBalancer({
      numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, threads: 2, policy,
    });
    for (let time = 0; time < 5; time++) {
      await balancer.plan([[13, 2, 3, 4]]).catch((error) => console.log(error.code, error.message));
    }
    await balancer.plan([[1, 2, 3, 4]]);
    await balancer.close();`);
  const line = 'EPLB_WORKER_LOST a worker thread was lost while planning: thrown later\n';
  assert.equal(output, line.repeat(5));
});
