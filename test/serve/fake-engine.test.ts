/** The fake engine beside a real service: real processes that move real bytes, die and come back. */
import assert from 'node:assert/strict';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { linkPath, WeightLinks, WeightServer } from '../../src/cli/fake-engine/links.ts';
import { checkpointOf, WeightStore } from '../../src/cli/fake-engine/weights.ts';
import { ServiceClient } from '../../src/cli/service/client.ts';
import { isOwnError } from '../../src/core/errors.ts';
import { ExpertMapping } from '../../src/mapping/expert-mapping.ts';
import { eplb, inTempDir } from '../helpers/cli.ts';
import { EngineProcess, makeRecording } from '../helpers/fake-engine.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { serve } from '../helpers/service.ts';

type Running = Awaited<ReturnType<typeof serve.startService>>;

const RANKS = ['--ranks', '4', '--steps-per-second', '60', '--plan-every', '30'];

describe('the fake engine', { concurrency: 2 }, () => {
  let dir = '';
  let recording = '';
  let service: Running;
  const engines: EngineProcess[] = [];
  const engine = (...args: string[]) => {
    const started = new EngineProcess([
      '--recording',
      recording,
      '--url',
      service.address,
      ...RANKS,
      ...args,
    ]);
    engines.push(started);
    return started;
  };
  const view = async (group: string) => (await fetch(`${service.address}/v1/groups/${group}`)).json();

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'eplb-test-'));
    recording = await makeRecording(dir);
    service = await serve.startService({ listen: '127.0.0.1:0' });
  });
  after(async () => {
    for (const { child } of engines) child.kill('SIGKILL');
    await Promise.all(engines.map((each) => each.ended()));
    await service.close();
    await rm(dir, { recursive: true, force: true });
  });

  test('loses a rank and goes on: repaired, filled again when it is back, all weights right', async () => {
    const run = engine('--group', 'dies', '--kill', '3@70', '--back-after', '40');
    const refill = await run.until(({ type, why }) => type === 'offered' && /rank 3 is empty/.test(why));
    await run.until(({ type, epoch }) => type === 'activated' && epoch === refill.epoch);
    run.child.kill('SIGTERM');
    assert.equal(await run.ended(), 0, run.errors);
    assert.equal(run.errors, '');
    const [death] = run.ofType('died');
    assert.deepEqual([death!.rank, death!.step, death!.reason], [3, 70, 'SIGKILL']);
    const at = (type: string, fits: (event: (typeof run.events)[number]) => boolean) =>
      run.events.findIndex((event) => event.type === type && fits(event));
    const order = [
      at('started', ({ ranks }) => ranks === 4),
      at('died', () => true),
      at('offered', ({ why }) => /a repair: rank 3 is dead/.test(why)),
      at('activated', ({ ranks }) => ranks === 3),
      at('repaired', ({ rank }) => rank === 3),
      at('restarted', ({ rank }) => rank === 3),
      at('returned', ({ rank }) => rank === 3),
      at('offered', ({ why }) => /a repair: rank 3 is empty/.test(why)),
    ];
    assert.ok(
      order.every((place, i) => place >= 0 && (i === 0 || place > order[i - 1]!)),
      `${order}\n${run.told()}`,
    );
    // Each swap was looked at, and weights have come from other processes.
    const activated = run.ofType('activated');
    assert.ok(
      activated.some(({ received, bytesReceived }) => received > 0 && bytesReceived === 4096 * received),
    );
    assert.deepEqual(
      run.ofType('verified').map(({ wrong }) => wrong),
      run.ofType('verified').map(() => 0),
    );
    const summary = run.events.at(-1)!;
    assert.equal(summary.type, 'summary');
    const { steps, epochs, slotsWrong, stepsSplit, tokensLost, deaths } = summary;
    assert.deepEqual([slotsWrong, stepsSplit], [0, 0]);
    assert.equal(epochs, activated.length);
    assert.equal(deaths.length, 1);
    assert.ok(deaths[0].tokensLost > 0 && deaths[0].tokensLost === tokensLost, run.told());
    assert.ok(deaths[0].secondsToRepair < deaths[0].secondsToReturn);
    // The service has seen the same: steps also while the rank was dead.
    const { epoch, counters, window, gains } = await view('dies');
    assert.ok(epoch >= epochs && epochs >= 3, `${epoch} ${run.told()}`);
    assert.ok(counters.numSteps > steps / 2, `${counters.numSteps} of ${steps} steps`);
    assert.ok(window.lastStep >= steps / 2 && gains.length > 0);
  });

  test('finds a silent death by its lease, and ends at SIGTERM with all ranks', async () => {
    const run = engine(
      '--group',
      'silent',
      '--silent-deaths',
      '--lease-ms',
      '800',
      '--back-after',
      '0',
      '--commands',
    );
    await run.until(({ type }) => type === 'started');
    run.command('kill 7');
    run.command('kill 2');
    await run.until(({ type, rank }) => type === 'repaired' && rank === 2);
    const { ranks } = await view('silent');
    assert.deepEqual([ranks.dead, ranks.serving], [1, 3]);
    run.command('start 2');
    await run.until(({ type, rank }) => type === 'returned' && rank === 2);
    run.command('start 2');
    run.child.kill('SIGTERM');
    assert.equal(await run.ended(), 0);
    assert.deepEqual(run.events.at(-1)!.slotsWrong, 0);
    assert.match(run.errors, /^eplb: --commands: "kill 7": rank 7 is not there to kill\n/);
    assert.match(run.errors, /rank 2 is not there to start\n$/);
  });

  test('refuses an epoch whose weights are on a rank that is gone, and all stay as they are', async () => {
    const silent = ['--silent-deaths', '--lease-ms', '15000', '--kill', '2@25', '--back-after', '0'];
    const run = engine('--group', 'refuses', '--commands', ...silent);
    const refused = await run.until(({ type }) => type === 'refused');
    assert.match(refused.reason, /rank 2 cannot be reached/);
    const aborted = await run.until(({ type }) => type === 'aborted');
    assert.equal(aborted.epoch, refused.epoch);
    assert.match(aborted.reason, /refused: rank 2 cannot be reached/);
    // The end of its commands is its own.
    run.child.stdin!.end();
    assert.equal(await run.ended(), 0, run.errors);
    const { epochs, slotsWrong, stepsSplit, deaths } = run.events.at(-1)!;
    assert.deepEqual([epochs, slotsWrong, stepsSplit, deaths[0].secondsToRepair], [0, 0, 0, null]);
    assert.equal((await view('refuses')).epoch, 0);
  });

  test('leaves no process and no file behind when it is killed itself', async () => {
    const run = engine('--group', 'killed');
    await run.until(({ type }) => type === 'started');
    run.child.kill('SIGKILL');
    // Not before the ranks have ended.
    await run.ended();
    // A new engine of the same group goes on: its ranks are new processes of the old ones.
    const next = engine('--group', 'killed', '--num-steps', '5');
    assert.equal(await next.ended(), 0, next.errors);
    assert.equal(next.events.at(-1)!.steps, 5);
    const other = await eplb([
      'fake-engine',
      '--recording',
      recording,
      '--url',
      service.address,
      '--group',
      'killed',
    ]);
    assert.deepEqual([other.code, other.stdout], [2, '']);
    assert.match(
      other.stderr,
      /^eplb: the service refused: group\.numPhysicalExperts: a rank has 3 slots, not 2.* \(EPLB_CONFLICT\)\n$/,
    );
  });

  test('refuses options that cannot be', async () => {
    const run = (...args: string[]) => eplb(['fake-engine', '--recording', recording, ...args]);
    assertRefused(await run('--kill', '3'), 'OPTION', /--kill: "3" is not R@STEP/);
    assertRefused(await run('--ranks', '2', '--kill', '2@1'), 'RANGE', /--kill: rank 2 is not from 0 to 1/);
    assertRefused(await run('--ranks', '65'), 'RANGE', /--ranks: 65 are more than 64 processes/);
    assertRefused(await run('--expert-bytes', '8'), 'RANGE', /--expert-bytes/);
    assertRefused(await run('--url', 'ftp://here'), 'OPTION', /--url: "ftp:\/\/here" is neither/);
    const missing = await eplb(['fake-engine', '--recording', join(dir, 'none.npy')]);
    assertRefused(missing, 'FILE', /none\.npy/);
    const away = await run('--url', `unix:${join(dir, 'nobody.sock')}`);
    assert.deepEqual([away.code, away.stdout], [1, '']);
    const line =
      /^eplb: --url: the service at unix:\S+ does not answer: nobody listens there \(EPLB_UNREACHABLE\)\n$/;
    assert.match(away.stderr, line);
  });
});

test('weights of a checkpoint differ from expert to expert, and are the same each time', () => {
  const expert = fc.record({ layer: fc.nat(200), expert: fc.nat(1000) });
  fc.assert(
    fc.property(expert, expert, fc.integer({ min: 16, max: 300 }), (a, b, length) => {
      const of = (one: typeof a) => checkpointOf(one.layer, one.expert, Buffer.alloc(length));
      assert.ok(of(a).equals(of(a)));
      const isSame = a.layer === b.layer && a.expert === b.expert;
      assert.equal(of(a).equals(of(b)), isSame);
    }),
  );
});

test('a slot that holds anything but its expert is found', () => {
  const weights = new WeightStore({ numLayers: 2, slotsPerRank: 3, expertBytes: 64 });
  const rows = [
    [0, 1, 2, 3, 0, -1],
    [3, 2, 1, 0, 3, 2],
  ];
  const mapping = ExpertMapping.fromPhysicalToLogical(rows);
  assert.equal(weights.load(mapping, 1), 5);
  assert.deepEqual(weights.verify(mapping, 1), { numSlots: 6, wrong: [] });
  for (const [layer, row] of rows.entries()) {
    for (const slot of [0, 1, 2]) {
      const memory = weights.at(layer, slot);
      for (let at = 0; at < memory.length; at++) {
        memory[at]! ^= 1;
        const where = `layer ${layer}, slot ${slot}, expert ${row[3 + slot]}`;
        assert.deepEqual(weights.verify(mapping, 1), { numSlots: 6, wrong: [where] });
        memory[at]! ^= 1;
      }
    }
  }
  // As if it had been given another layer's expert, or a buffer that was never filled.
  weights.at(0, 0).set(weights.at(1, 1));
  weights.at(1, 2).set(weights.at(1, 7));
  assert.equal(weights.verify(mapping, 1).wrong.length, 2);
});

test('a rank gives its weights to who starts from the mapping that it holds alone', async () => {
  await inTempDir(async (folder) => {
    const held = 'a'.repeat(64);
    const slots = [1, 2].map((fill) => Buffer.alloc(100_000, fill));
    const server = new WeightServer(linkPath(folder, 1), (digest, layer, slot) =>
      digest === held && layer === 0 ? slots[slot] : undefined,
    );
    await server.listen();
    const links = new WeightLinks(folder);
    const into = Buffer.alloc(100_000);
    for (const slot of [1, 0]) {
      await links.pull(1, held, 0, slot, into);
      assert.ok(into.equals(slots[slot]!));
    }
    await assert.rejects(links.pull(1, 'b'.repeat(64), 0, 0, into), /does not hold the mapping/);
    await assert.rejects(links.pull(2, held, 0, 0, into), /rank 2 cannot be reached/);
    // One that dies in the middle.
    await links.pull(1, held, 0, 0, into);
    server.close();
    await assert.rejects(links.pull(1, held, 0, 0, into), /ended|reset|reached|EPIPE/);
    links.close();
    await assert.rejects(access(linkPath(folder, 1)));
  });
});

test('whatever answers in place of a service, a client says so with a code', async () => {
  let answer = { status: 200, body: '' };
  const server = createServer((_, response) => response.writeHead(answer.status).end(answer.body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new ServiceClient({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  try {
    const bodies = fc.oneof(
      fc.string(),
      fc.json(),
      fc.record({ code: fc.string(), message: fc.string() }).map((r) => JSON.stringify(r)),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 200, max: 599 }), bodies, async (status, body) => {
        answer = { status, body };
        const hasNone = status === 204 || status === 304;
        try {
          const given = await client.ask('GET', '/');
          assert.ok(status < 300);
          assert.deepEqual(given, hasNone || body === '' ? undefined : JSON.parse(body));
        } catch (error) {
          assert.ok(isOwnError(error), String(error));
          assert.match(error.code, /^EPLB_[A-Z_]+$/);
        }
      }),
    );
  } finally {
    client.close();
    server.close();
  }
});
