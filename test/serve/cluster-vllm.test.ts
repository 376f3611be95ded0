/** vLLM's dead engines are removed by whoever leads, and the next leader knows what they were told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTempDir } from '../helpers/cli.ts';
import { Etcd, SKIPS_WITHOUT_ETCD } from '../helpers/etcd.ts';
import { FakeVllm } from '../helpers/fake-vllm.ts';
import { serve } from '../helpers/service.ts';

type Running = Awaited<ReturnType<typeof serve.startService>>;
type View = NonNullable<ReturnType<Running['vllm']>>;

const INTERVAL_MS = 10;
const SOME_LOOKS_MS = 150;
const MOST_LOOKS = 1500;

async function until(what: string, holds: () => boolean | undefined): Promise<void> {
  for (let i = 0; i < MOST_LOOKS; i++) {
    if (holds()) return;
    await sleep(20);
  }
  assert.fail(`not within ${MOST_LOOKS} looks: ${what}`);
}

const untilView = (running: Running, holds: (view: View) => boolean) =>
  until('it is as wanted', () => {
    const view = running.vllm();
    return view && holds(view);
  });

test(
  'the leader removes dead engines, and the next one goes on from there',
  { skip: SKIPS_WITHOUT_ETCD },
  () =>
    inTempDir(async (folder) => {
      const etcd = await Etcd.start(folder);
      const fake = await FakeVllm.start(4);
      const started: Running[] = [];
      const faults: unknown[] = [];
      const start = async () => {
        const options = { urls: etcd.urls, leaseSeconds: 1 };
        const running = await serve.startService(
          { listen: '127.0.0.1:0', etcd: options, vllm: fake.urls, limits: { vllmIntervalMs: INTERVAL_MS } },
          { onFault: (error) => faults.push(error) },
        );
        started.push(running);
        return running;
      };
      const journal = async () => JSON.parse((await etcd.keys('/eplb/.vllm')).get('/eplb/.vllm')!);
      try {
        const [first, second] = [await start(), await start()];
        await until('one watches', () => first.vllm() !== undefined);
        assert.equal(second.vllm(), undefined, 'another one leads');
        fake.die(2);
        await untilView(first, ({ removedRanks }) => removedRanks.length === 1);
        assert.equal(fake.told.length, 3);
        // The next one is told, and dies with nobody having heard how that ended.
        fake.onApply = () => undefined;
        fake.die(0);
        await untilView(first, ({ state }) => state === 'applying');
        await until('both are told', () => fake.told.length === 5);
        const { requestId } = first.vllm()!;
        await first.close();
        await untilView(second, ({ state }) => state === 'applying');
        assert.deepEqual(second.vllm(), { state: 'applying', removedRanks: [2], requestId });
        await sleep(SOME_LOOKS_MS);
        assert.equal(fake.told.length, 5, 'what was sent once is waited for');
        for (const told of fake.told.slice(3)) fake.recover(told);
        await untilView(second, ({ removedRanks }) => removedRanks.length === 2);
        const kinds = (await journal()).map(({ kind }: { kind: string }) => kind);
        assert.deepEqual(kinds, ['applying', 'recovered', 'applying', 'recovered']);
        fake.engines.fill({ status: 'healthy' });
        await untilView(second, ({ removedRanks }) => removedRanks.length === 0);
        assert.deepEqual(await journal(), [], 'nothing of before matters any more');
        assert.deepEqual(faults, []);
      } finally {
        for (const running of started) await running.close();
        await fake.close();
        await etcd.stop();
      }
    }),
);
