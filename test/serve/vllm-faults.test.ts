/** vLLM's engines that die are removed: once, by one request, and only when all others say the same. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { inTempDir } from '../helpers/cli.ts';
import { FakeVllm } from '../helpers/fake-vllm.ts';
import { serve } from '../helpers/service.ts';

type Running = Awaited<ReturnType<typeof serve.startService>>;
type Kind = Parameters<
  NonNullable<NonNullable<Parameters<typeof serve.startService>[1]>['onVllm']>
>[0]['kind'];

const INTERVAL_MS = 10;
/** Enough looks for anything to be done. */
const SOME_LOOKS_MS = 150;

interface Watched {
  readonly fake: FakeVllm;
  readonly state: string;
  readonly kinds: Kind[];
  start(): Promise<Running>;
  until(
    running: Running,
    condition: (view: NonNullable<ReturnType<Running['vllm']>>) => boolean,
  ): Promise<void>;
}

async function watching(numEngines: number, work: (watched: Watched) => Promise<void>): Promise<void> {
  await inTempDir(async (dir) => {
    const fake = await FakeVllm.start(numEngines);
    fake.key = 'key';
    const kinds: Kind[] = [];
    const state = join(dir, 'state');
    const started: Running[] = [];
    const start = async () => {
      const running = await serve.startService(
        {
          listen: '127.0.0.1:0',
          state,
          vllm: fake.urls,
          vllmKey: 'key',
          limits: { vllmIntervalMs: INTERVAL_MS },
        },
        { onVllm: ({ kind }) => kinds.push(kind), onFault: (error) => assert.fail(String(error)) },
      );
      started.push(running);
      return running;
    };
    const until: Watched['until'] = async (running, condition) => {
      while (!condition(running.vllm()!)) await sleep(INTERVAL_MS);
    };
    try {
      await work({ fake, state, kinds, start, until });
    } finally {
      for (const running of started) await running.close();
      await fake.close();
    }
  });
}

test('a dead engine is removed by one request to all others', () =>
  watching(4, async ({ fake, state, kinds, start, until }) => {
    const running = await start();
    fake.die(2);
    await until(running, ({ removedRanks }) => removedRanks.length > 0);
    const requestId = running.vllm()!.requestId!;
    assert.match(requestId, /^[0-9a-f-]{36}$/);
    assert.deepEqual(
      [...fake.told].sort((a, b) => a.rank - b.rank),
      [0, 1, 3].map((rank) => ({
        rank,
        body: { instruction: 'scale_down', params: { removed_dp_ranks: [2] }, request_id: requestId },
      })),
    );
    assert.deepEqual(running.vllm(), { state: 'watching', removedRanks: [2], requestId });
    assert.deepEqual(kinds, ['applying', 'recovered']);
    assert.match(await readFile(join(state, 'vllm.faults'), 'utf8'), /"applying".*\n.*"recovered"/);
    // The next one, of those that are left.
    fake.die(0);
    await until(running, ({ removedRanks }) => removedRanks.length > 1);
    assert.deepEqual(
      fake.told.slice(3).map(({ body }) => body.params.removed_dp_ranks),
      [[0], [0]],
    );
    await running.close();
    // A service that starts again knows of both.
    const again = await start();
    assert.deepEqual(again.vllm()!.removedRanks, [0, 2]);
    await sleep(SOME_LOOKS_MS);
    assert.equal(fake.told.length, 5);
    fake.engines.fill({ status: 'healthy' });
    await until(again, ({ removedRanks }) => removedRanks.length === 0);
    assert.equal(kinds.at(-1), 'restored');
    await again.close();
  }));

test('nothing is removed while engines do not say the same', () =>
  watching(3, async ({ fake, kinds, start }) => {
    const running = await start();
    const looks: (() => void)[] = [
      () => fake.die(1, []),
      () => fake.die(1, [0]),
      () => {
        fake.engines[0] = { status: 'unhealthy', mask: [0, 0, 1, 1, 0, 0] };
        fake.engines[2] = { status: 'unhealthy', mask: [1, 1, 1, 1, 0, 0] };
      },
      () => {
        fake.engines[2] = { status: 'unhealthy' };
      },
      () => {
        fake.engines[2] = { status: 'diagnosing', mask: [0, 0, 1, 1, 0, 0] };
      },
      () => {
        fake.engines[2] = { status: 'unhealthy', mask: [0, 1, 0, 0] };
      },
      // All say so of one that says that it is well.
      () => {
        fake.engines[1] = { status: 'healthy' };
        fake.engines[2] = { status: 'unhealthy', mask: [0, 0, 1, 1, 0, 0] };
      },
      () => {
        fake.engines.fill(undefined);
      },
    ];
    for (const change of looks) {
      change();
      await sleep(SOME_LOOKS_MS);
      assert.deepEqual([running.vllm()!.state, fake.told.length], ['watching', 0]);
    }
    assert.deepEqual([...new Set(kinds)], ['waiting']);
    await running.close();
  }));

test('what was refused, or failed, blocks until all engines are healthy', () =>
  watching(3, async ({ fake, kinds, start, until }) => {
    fake.onApply = undefined;
    let running = await start();
    fake.die(1);
    await until(running, ({ state }) => state === 'blocked');
    assert.match(running.vllm()!.reason!, /^engine [02] answered 400$/);
    await sleep(SOME_LOOKS_MS);
    await running.close();
    running = await start();
    assert.equal(running.vllm()!.state, 'blocked');
    fake.engines.fill({ status: 'healthy' });
    await until(running, ({ state }) => state === 'watching');
    fake.onApply = ({ rank, body }) => {
      fake.engines[rank] = {
        ...fake.engines[rank],
        ...{ ft_error: 'reload failed', last_ft_request_id: body.request_id },
      };
    };
    fake.die(1);
    await until(running, ({ state }) => state === 'blocked');
    assert.match(running.vllm()!.reason!, /^engine [02] failed: reload failed$/);
    assert.deepEqual([...new Set(kinds)], ['applying', 'blocked', 'restored']);
    assert.equal(fake.told.length, 4);
    await running.close();
  }));

test('an instruction that was interrupted is waited for, and never sent again', () =>
  watching(3, async ({ fake, start, until }) => {
    fake.onApply = () => undefined;
    let running = await start();
    fake.die(1);
    await until(running, ({ state }) => state === 'applying');
    await running.close();
    running = await start();
    await sleep(SOME_LOOKS_MS);
    assert.deepEqual([running.vllm()!.state, fake.told.length], ['applying', 2]);
    for (const told of fake.told) fake.recover(told);
    await until(running, ({ state }) => state === 'watching');
    assert.deepEqual(running.vllm()!.removedRanks, [1]);
    assert.equal(fake.told.length, 2);
    await running.close();
  }));

test('engines that answer anything else are left alone', () =>
  watching(2, async ({ fake, start }) => {
    const running = await start();
    const answers = [
      ...['', 'null', '[]', '{"schema_version": 2, "engines": []}', '{"schema_version": 1, "engines": 3}'],
      ...['{"schema_version": 1, "engines": [null, {"id": 7, "status": "unhealthy"}]}', '\u0000'.repeat(99)],
      ...fc.sample(fc.json(), { numRuns: 20, seed: 1 }),
    ];
    fake.die(1);
    for (const answer of answers) {
      fake.answer = answer;
      await sleep(2 * INTERVAL_MS);
    }
    assert.deepEqual([running.vllm()!.state, fake.told.length], ['watching', 0]);
    await running.close();
  }));

test('engines are named rightly, or the service does not start', () => {
  const wrong: [readonly string[], string | undefined, RegExp][] = [
    [['http://a', 'http://b'], undefined, /needs state or etcd/],
    [['http://a'], 'state', /at least two engines/],
    [['http://a', 'http://a'], 'state', /http:\/\/a is given twice/],
    [['http://a', 'ftp://b'], 'state', /'ftp:\/\/b', of rank 1, is not an http:\/\/ or https/],
    [['http://a', 'b'], 'state', /'b', of rank 1, is not an http:\/\/ or https/],
  ];
  for (const [vllm, state, message] of wrong) {
    const options = { listen: 'unix:a', vllm, ...(state === undefined ? {} : { state }) };
    assert.throws(() => serve.readSettings(options), message);
  }
});
