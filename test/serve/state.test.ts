/** What a service keeps: over a restart, a kill, and what a crash leaves of a file. */
import assert from 'node:assert/strict';
import { appendFile, readdir, readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTempDir } from '../helpers/cli.ts';
import { refusal } from '../helpers/library.ts';
import { ask, assertRefusal, endProcess, serve, startProcess } from '../helpers/service.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];

/** Runs work beside a service in this process, on a folder. */
async function withService<T>(state: string, work: (base: string) => Promise<T>): Promise<T> {
  const { address, close } = await serve.startService({ listen: '127.0.0.1:0', state });
  try {
    return await work(address);
  } finally {
    await close();
  }
}

const withoutAges = ({ secondsSincePlan: _, secondsSinceLoads: _also, ...rest }: Record<string, unknown>) =>
  rest;

test('a restart goes on with epochs, answers, modes, counters and the window', async () => {
  await inTempDir(async (dir) => {
    const state = join(dir, 'state');
    const before = await withService(state, async (base) => {
      await ask(base, 'PUT', '/v1/groups/g', SIZES);
      await ask(base, 'PUT', '/v1/groups/gone', SIZES);
      await ask(base, 'DELETE', '/v1/groups/gone');
      const { digest } = (await ask(base, 'POST', '/v1/groups/g/plan', { loads: LOADS })).json;
      await ask(base, 'POST', '/v1/groups/g/loads', { step: 1, epoch: 1, digest, loads: LOADS });
      for (const step of [2, 3])
        await ask(base, 'POST', '/v1/groups/g/loads', { step, epoch: 1, loads: LOADS });
      const plan = await ask(base, 'POST', '/v1/groups/g/plan', { planId: 3 });
      const reversed = LOADS.map((row) => [...row].reverse());
      await ask(base, 'POST', '/v1/groups/g/loads', { step: 4, epoch: 1, loads: reversed });
      const other = await ask(base, 'POST', '/v1/groups/g/plan', { planId: 'x', previous: undefined });
      await ask(base, 'POST', '/v1/groups/g/pause');
      const view = (await ask(base, 'GET', '/v1/groups/g')).json;
      const mapping = (await ask(base, 'GET', '/v1/groups/g/mapping')).json;
      return { plan, other, view, mapping };
    });
    await withService(state, async (base) => {
      const { groups } = (await ask(base, 'GET', '/v1/groups')).json;
      assert.deepEqual(
        groups.map(({ group }: { group: string }) => group),
        ['g'],
      );
      const { window, conditions, ...view } = (await ask(base, 'GET', '/v1/groups/g')).json;
      const { window: was, conditions: _, ...rest } = before.view;
      assert.deepEqual(withoutAges(view), withoutAges(rest));
      assert.deepEqual(window, { ...was, source: 'refilled' });
      assert.match(conditions[1].reason, /refilled/);
      assert.deepEqual((await ask(base, 'GET', '/v1/groups/g/mapping')).json, before.mapping);
      // The answers that were given stand, byte for byte, though the group is paused now.
      const plan = await ask(base, 'POST', '/v1/groups/g/plan', { planId: 3 });
      assert.deepEqual(plan.bytes, before.plan.bytes);
      assert.deepEqual(
        (await ask(base, 'POST', '/v1/groups/g/plan', { planId: 'x' })).bytes,
        before.other.bytes,
      );
      const stale = await ask(base, 'POST', '/v1/groups/g/loads', { step: 4, epoch: 1, loads: LOADS });
      assertRefusal(stale, 'EPLB_STALE', 409, /step 4/);
      await ask(base, 'POST', '/v1/groups/g/resume');
      assert.equal((await ask(base, 'POST', '/v1/groups/g/loads', { step: 5, loads: LOADS })).status, 200);
    });
  });
});

test('a kill loses loads that were not written down, and nothing that was promised', async () => {
  await inTempDir(async (dir) => {
    const state = join(dir, 'state');
    const start = () => startProcess(['--listen', '127.0.0.1:0', '--state', state]);
    let service = await start();
    await ask(service.address, 'PUT', '/v1/groups/g', SIZES);
    let epoch = 0;
    const answers = new Map<number, Uint8Array>();
    for (let round = 0; round < 2; round++) {
      const base = service.address;
      const rows = LOADS.map((row, layer) =>
        row.map((load, i) => load + 50 * Number((round + layer + i) % 4 === 0)),
      );
      const { digest } = (await ask(base, 'POST', '/v1/groups/g/plan', { loads: rows })).json;
      const taken = await ask(base, 'POST', '/v1/groups/g/loads', {
        ...{ step: round + 1, epoch: epoch + 1, digest, loads: rows },
      });
      assert.equal(taken.json.epoch, ++epoch);
      answers.set(round, (await ask(base, 'POST', '/v1/groups/g/plan', { planId: round })).bytes);
      // In the middle of requests: each was answered, and then holds, or was not.
      let lastEpoch = epoch;
      const under = Array.from({ length: 8 }, async (_, i) => {
        const other = LOADS.map((row) => row.map((load, j) => load + 90 * Number(j === (i + round) % 4)));
        const plan = await ask(base, 'POST', '/v1/groups/g/plan', { loads: other });
        const told = await ask(base, 'POST', '/v1/groups/g/loads', {
          ...{ epoch: epoch + 1 + i, physicalToLogical: plan.json.physicalToLogical },
        });
        if (told.status === 200) lastEpoch = Math.max(lastEpoch, told.json.epoch);
      });
      await sleep(5);
      service.child.kill('SIGKILL');
      await Promise.allSettled(under);
      await endProcess(service, 'SIGKILL');
      service = await start();
      const view = (await ask(service.address, 'GET', '/v1/groups/g')).json;
      assert.ok(
        view.epoch >= lastEpoch && view.epoch <= epoch + 8,
        `${lastEpoch} was answered, ${view.epoch} is live`,
      );
      epoch = view.epoch;
      for (const [planId, bytes] of answers) {
        const again = await ask(service.address, 'POST', '/v1/groups/g/plan', { planId });
        assert.deepEqual(again.bytes, bytes);
      }
    }
    assert.equal((await ask(service.address, 'GET', '/v1/groups/g')).json.window.source, 'empty');
    assert.equal(await endProcess(service), 0);
  });
});

test('a restart goes on with an attempt under way, dead ranks, and loads of the epoch before', async () => {
  await inTempDir(async (dir) => {
    const state = join(dir, 'state');
    const sizes = { ...SIZES, numPhysicalExperts: 9, numRanks: 3, policy: 'adaptive' };
    const before = await withService(state, async (base) => {
      const post = (path: string, body: object) => ask(base, 'POST', `/v1/groups/${path}`, body);
      await ask(base, 'PUT', '/v1/groups/g', SIZES);
      await ask(base, 'PUT', '/v1/groups/dead', sizes);
      await post('dead/ranks', { dead: [2], slow: [{ rank: 0, speed: 0.5 }] });
      const { digest } = (await post('g/plan', { loads: LOADS })).json;
      await post('g/epochs', { digest, operationId: 'first' });
      await post('g/epochs/1/ack', { rank: 0 });
      const first = (await ask(base, 'GET', '/v1/groups/g/mapping')).json.physicalToLogical;
      return { digest, first, dead: (await ask(base, 'GET', '/v1/groups/dead')).json.digest };
    });
    await withService(state, async (base) => {
      const get = async (path: string) => (await ask(base, 'GET', `/v1/groups/${path}`)).json;
      const post = (path: string, body?: object) => ask(base, 'POST', `/v1/groups/${path}`, body);
      const dead = await get('dead');
      assert.deepEqual([dead.digest, dead.ranks.dead], [before.dead, 1]);
      assert.equal((await get('dead/ranks')).ranks[0].speed, 0.5);
      const { physicalToLogical } = (await post('dead/plan', { loads: LOADS })).json;
      for (const row of physicalToLogical) assert.deepEqual(row.slice(6), [-1, -1, -1]);
      assert.deepEqual((await get('g')).underWay, { epoch: 1, digest: before.digest, state: 'preparing' });
      assert.equal((await get('g/epochs/1/mapping')).digest, before.digest);
      const again = await post('g/epochs', { digest: before.digest, operationId: 'first' });
      assert.equal(again.status, 200);
      // What ranks have prepared they say again.
      for (const rank of [0, 1]) await post('g/epochs/1/ack', { rank });
      assert.equal((await post('g/epochs/1/activate')).json.state, 'active');
    });
    await withService(state, async (base) => {
      const view = (await ask(base, 'GET', '/v1/groups/g')).json;
      assert.deepEqual([view.epoch, view.digest, view.ranks.serving], [1, before.digest, 2]);
      const late = { step: 1, epoch: 0, physical: before.first };
      assert.equal((await ask(base, 'POST', '/v1/groups/g/loads', late)).json.status, 'recorded');
    });
  });
});

test('SIGTERM lets requests under way end, takes no others, and writes the window down', async () => {
  await inTempDir(async (dir) => {
    const state = join(dir, 'state');
    const service = await startProcess(['--listen', '127.0.0.1:0', '--state', state]);
    const base = service.address;
    await ask(base, 'PUT', '/v1/groups/g', SIZES);
    await ask(base, 'POST', '/v1/groups/g/loads', { step: 1, epoch: 0, loads: LOADS });
    const body = JSON.stringify({ loads: LOADS });
    // A request whose body comes slowly.
    const slow = request(`${base}/v1/groups/g/plan`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': body.length },
    });
    const answered = new Promise<number | undefined>((resolve, reject) => {
      slow.on('response', (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      slow.on('error', reject);
    });
    slow.write(body.slice(0, 10));
    await sleep(100);
    service.child.kill('SIGTERM');
    while (!service.errors().includes('draining')) await sleep(5);
    await assert.rejects(fetch(`${base}/v1/groups`), 'no new connection');
    slow.end(body.slice(10));
    assert.ok([200, 503].includes((await answered)!));
    assert.equal(await endProcess(service), 0);
    assert.ok((await readdir(state)).includes('g.window'));
    for (const file of await readdir(state))
      assert.equal((await stat(join(state, file))).mode & 0o777, 0o600);
    assert.equal((await stat(state)).mode & 0o777, 0o700);
  });
});

test('what a crash left of an append is cut off; damage is refused, and named', async () => {
  await inTempDir(async (dir) => {
    const state = join(dir, 'state');
    await withService(state, (base) => ask(base, 'PUT', '/v1/groups/g', SIZES));
    const journal = join(state, 'g.journal');
    const whole = await readFile(journal);
    await appendFile(journal, '0123456789abcdef [{"kind":"mode","pau');
    await withService(state, async (base) => {
      assert.equal((await ask(base, 'GET', '/v1/groups/g')).json.paused, false);
      await ask(base, 'POST', '/v1/groups/g/pause');
    });
    await withService(state, async (base) => {
      assert.equal((await ask(base, 'GET', '/v1/groups/g')).json.paused, true);
    });
    // A damaged window is an empty one.
    await writeFile(join(state, 'g.window'), 'nonsense');
    await withService(state, async (base) => {
      assert.equal((await ask(base, 'GET', '/v1/groups/g')).json.window.source, 'empty');
    });
    const damaged = Buffer.from(await readFile(journal));
    damaged[whole.length - 20]! ^= 1;
    await writeFile(journal, damaged);
    await assert.rejects(
      serve.startService({ listen: '127.0.0.1:0', state }),
      ({ code, message }: { code: string; message: string }) =>
        code === 'EPLB_FORMAT' && /g\.journal: journal: line 2 is damaged/.test(message),
    );
    // A declaration that was never durable was promised to nobody.
    await truncate(journal, 30);
    await withService(state, async (base) => {
      assert.deepEqual((await ask(base, 'GET', '/v1/groups')).json, { groups: [] });
    });
  });
});

test('a folder is used by one service at a time: by the next once it has ended, however it did', async () => {
  await inTempDir(async (dir) => {
    const state = join(dir, 'state');
    const uses = (pid: number | undefined) =>
      refusal('other', 'EPLB_FILE', new RegExp(`state: is in use by another service, process ${pid}`));
    const first = await startProcess(['--listen', '127.0.0.1:0', '--state', state]);
    const { pid } = first.child;
    await assert.rejects(serve.startService({ listen: '127.0.0.1:0', state }), uses(pid));
    // Also while it does not answer.
    first.child.kill('SIGSTOP');
    await assert.rejects(serve.startService({ listen: '127.0.0.1:0', state }), uses(pid));
    first.child.kill('SIGCONT');
    await ask(first.address, 'PUT', '/v1/groups/g', SIZES);
    await endProcess(first, 'SIGKILL');
    const second = await serve.startService({ listen: '127.0.0.1:0', state });
    assert.equal((await ask(second.address, 'GET', '/v1/groups')).json.groups.length, 1);
    await assert.rejects(serve.startService({ listen: '127.0.0.1:0', state }), uses(process.pid));
    await second.close();
    const lock = join(state, 'service.lock');
    // What is left of a crash of the machine, or by a process whose number another one has by now.
    for (const left of ['', 'nonsense', `${process.pid} 1`, '999999999 5', `${process.pid}`]) {
      await (left === '' ? writeFile(lock, left) : symlink(left, lock));
      await withService(state, async (base) => {
        assert.equal((await ask(base, 'GET', '/healthz')).status, 200, left);
      });
    }
    // One that cannot start lets go of it.
    const listen = 'unix:/no/such/folder/socket';
    await assert.rejects(
      serve.startService({ listen, state }),
      refusal('other', 'EPLB_FILE', /cannot listen/),
    );
    await withService(state, async () => {});
    assert.deepEqual((await readdir(state)).sort(), ['g.journal']);
  });
});

test('a state folder that cannot be used is named', async () => {
  await inTempDir(async (dir) => {
    const file = join(dir, 'file');
    await writeFile(file, '');
    await assert.rejects(
      serve.startService({ listen: '127.0.0.1:0', state: file }),
      refusal('other', 'EPLB_FILE', /config\.state: .*file: cannot be used: it is a file, not a directory/),
    );
  });
});
