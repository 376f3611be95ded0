/** What a service says of groups that are not well: in health, conditions, metrics and its log. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { inTempDir } from '../helpers/cli.ts';
import { until } from '../helpers/library.ts';
import { seriesOf } from '../helpers/promtool.ts';
import { ask, assertRefusal, endProcess, serve, startProcess } from '../helpers/service.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
const INTERVAL = 300_000;

interface Reason {
  readonly group: string;
  readonly type: string;
  readonly reason: string;
}

/** A service in a time of its own. */
async function withService(
  work: (scene: {
    readonly base: string;
    /** Lets time pass, and loads of a group arrive meanwhile. */
    pass(intervals: number, ...groups: string[]): Promise<void>;
    /** What is flagged, by health, groups and metrics, which have to say the same. */
    flagged(): Promise<string[]>;
  }) => Promise<void>,
): Promise<void> {
  let nowMs = 0;
  const running = await serve.startService({ listen: '127.0.0.1:0' }, { clock: () => nowMs });
  const base = running.address;
  let step = 1000;
  const pass = async (intervals: number, ...groups: string[]) => {
    const endMs = nowMs + intervals * INTERVAL;
    while (nowMs < endMs) {
      nowMs = Math.min(nowMs + INTERVAL / 2, endMs);
      step++;
      for (const group of groups) {
        const { epoch } = (await ask(base, 'GET', `/v1/groups/${group}`)).json;
        await ask(base, 'POST', `/v1/groups/${group}/loads`, { step, epoch, loads: LOADS });
      }
      await ask(base, 'GET', '/healthz');
    }
  };
  const flagged = async () => {
    const { json } = await ask(base, 'GET', '/healthz');
    const reasons = json.reasons as Reason[];
    assert.equal(json.status, reasons.length === 0 ? 'ok' : 'degraded');
    const strict = await ask(base, 'GET', '/healthz?degraded=503');
    assert.equal(strict.status, reasons.length === 0 ? 200 : 503);
    const series = seriesOf(new TextDecoder().decode((await ask(base, 'GET', '/metrics')).bytes));
    const wrong = [...series]
      .filter(([name, value]) => name.startsWith('eplb_condition') && value === 0)
      .map(([name]) => /group="(\w+)",condition="(\w+)"/.exec(name)!.slice(1).join(' '));
    const names = reasons.map(({ group, type }) => `${group} ${type}`);
    assert.deepEqual(wrong.sort(), [...names].sort());
    for (const { group, type, reason } of reasons) {
      const { conditions } = (await ask(base, 'GET', `/v1/groups/${group}`)).json;
      assert.deepEqual(
        conditions.find((one: Reason) => one.type === type),
        { type, status: false, reason },
      );
    }
    return names;
  };
  try {
    await work({ base, pass, flagged });
  } finally {
    await running.close();
  }
}

test('groups without loads are degraded within two intervals, each by itself, until loads come', async () => {
  await withService(async ({ base, pass, flagged }) => {
    await ask(base, 'PUT', '/v1/groups/a', SIZES);
    await ask(base, 'PUT', '/v1/groups/b', SIZES);
    await pass(1, 'a', 'b');
    assert.deepEqual(await flagged(), []);
    await pass(2, 'a');
    assert.deepEqual(await flagged(), ['b LoadsArrive']);
    await pass(2);
    assert.deepEqual(await flagged(), ['a LoadsArrive', 'b LoadsArrive']);
    await pass(0.5, 'a', 'b');
    assert.deepEqual(await flagged(), []);
    await ask(base, 'DELETE', '/v1/groups/b');
    await pass(3, 'a');
    assert.deepEqual(await flagged(), [], 'a group that is gone is not missed');
    assertRefusal(await ask(base, 'GET', '/healthz?degraded=404'), 'EPLB_RANGE', 422, /200, 503/);
  });
});

test('ranks that report other epochs, or contradict each other, are flagged while they do', async () => {
  await withService(async ({ base, pass, flagged }) => {
    const post = (path: string, body: object) => ask(base, 'POST', `/v1/groups/g/${path}`, body);
    await ask(base, 'PUT', '/v1/groups/g', SIZES);
    const { digest } = (await post('plan', { loads: [[10, 10, 90, 10], LOADS[1]!] })).json;
    await pass(1, 'g');
    assert.equal((await post('loads', { epoch: 1, digest })).status, 200);
    const part = (step: number, rank: number, epoch: number) =>
      post('loads', { step, rank, epoch, loads: LOADS });
    // Rank 1 goes on with the epoch before: its parts are no parts of the steps of rank 0.
    for (let round = 0; round < 4; round++) {
      assert.equal((await part(5000 + 2 * round, 0, 1)).status, 200);
      assertRefusal(await part(5000 + 2 * round, 1, 0), 'EPLB_CONFLICT', 409, /epoch 1/);
      await pass(0.5, 'g');
    }
    assert.deepEqual(await flagged(), ['g RanksAgree']);
    const text = new TextDecoder().decode((await ask(base, 'GET', '/metrics?ranks=true')).bytes);
    const series = seriesOf(text);
    assert.equal(series.get('eplb_refusals_total{group="g",code="EPLB_CONFLICT"}'), 4);
    assert.ok(series.has('eplb_rank_load_ratio{group="g",rank="1"}'));
    for (let round = 0; round < 4; round++) {
      for (const rank of [0, 1]) assert.equal((await part(6000 + 2 * round, rank, 1)).status, 200);
      await pass(0.5);
    }
    assert.deepEqual(await flagged(), []);
  });
});

test('the log has one line of JSON for each that is flagged, and for each that is well again', async () => {
  await inTempDir(async (dir) => {
    const config = join(dir, 'eplb.json');
    // YAML is a superset of JSON.
    writeFileSync(config, JSON.stringify({ watchdog: { intervalMs: 200 }, groups: { g: SIZES } }));
    const service = await startProcess(['--listen', '127.0.0.1:0', '--config', config]);
    try {
      const lines = () =>
        service
          .errors()
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line));
      await until(() => lines().some(({ event }) => event === 'degraded'));
      assert.equal((await ask(service.address, 'GET', '/healthz')).json.status, 'degraded');
      // Again and again: on a busy machine the ones before may be old when the watchdog looks.
      for (let step = 1; !lines().some(({ event }) => event === 'recovered'); step++) {
        assert.ok(step < 1000);
        await ask(service.address, 'POST', '/v1/groups/g/loads', { step, epoch: 0, loads: LOADS });
        await ask(service.address, 'GET', '/healthz');
      }
      const [first, second] = lines();
      const { time, ...said } = first;
      assert.ok(Number.isFinite(Date.parse(time)));
      const message = 'group g: no loads yet';
      const which = { group: 'g', epoch: 0, condition: 'LoadsArrive' };
      assert.deepEqual(said, { level: 'warn', event: 'degraded', message, ...which });
      assert.equal(second.level, 'info');
    } finally {
      await endProcess(service);
    }
  });
});
