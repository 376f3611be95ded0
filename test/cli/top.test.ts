/** `eplb top` beside a real service, off and on a terminal, and whatever a service says. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import picocolors from 'picocolors';
import { renderTop, type TopSnapshot } from '../../src/cli/top/frame.ts';
import { CLI, eplb, inTempDir } from '../helpers/cli.ts';
import { HOSTILE, UNPRINTABLE } from '../helpers/hostile-names.ts';
import { schemaErrors } from '../helpers/json-schema.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { ask, openApi, serve } from '../helpers/service.ts';

type Running = Awaited<ReturnType<typeof serve.startService>>;
type Group = TopSnapshot['groups'][number];

const TOKEN = 'a-token-of-this-test-alone';
const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const LOADS = [
  [10, 20, 30, 900],
  [400, 300, 20, 10],
];

describe('eplb top', () => {
  let dir = '';
  let tokenFile = '';
  let service: Running;
  const authorised = (method: string, path: string, body?: unknown) =>
    ask(service.address, method, path, body, { authorization: `Bearer ${TOKEN}` });
  const top = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    eplb(['top', '--url', service.address, ...args], { env: { ...process.env, ...env } });

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'eplb-test-'));
    tokenFile = join(dir, 'token');
    await writeFile(tokenFile, `${TOKEN}\n`);
    // Soon nobody has reported anything for so long.
    const watchdog = { intervalMs: 10 };
    service = await serve.startService({ listen: '127.0.0.1:0', token: TOKEN, watchdog });
    for (const name of ['decode', 'prefill']) await authorised('PUT', `/v1/groups/${name}`, SIZES);
    await authorised('POST', '/v1/groups/decode/loads', { step: 1, epoch: 0, loads: LOADS });
    const { json: plan } = await authorised('POST', '/v1/groups/decode/plan', { planId: 1 });
    const live = { step: 2, epoch: 1, digest: plan.digest, loads: LOADS };
    await authorised('POST', '/v1/groups/decode/loads', live);
  });
  after(async () => {
    await service.close();
    await rm(dir, { recursive: true, force: true });
  });

  test('shows groups, heat, balance, plans with what came of them, moves and what is flagged', async () => {
    const run = await top(['--token-file', tokenFile]);
    assert.deepEqual([run.code, run.stderr], [0, '']);
    const { stdout } = run;
    assert.match(stdout, /^eplb top {2}http:\/\/127\.0\.0\.1:\d+ {2}\d\d:\d\d:\d\d\n2 groups, 2 flagged\n/);
    assert.match(stdout, /\ndecode {2}default, epoch 1\n 2 layers, 4 experts in 6 slots on 2 ranks\n/);
    assert.match(
      stdout,
      /\n heat {6}[▁▂▃▄▅▆▇█]{2}\n {11}1\.\d\d of the mean at rank \d, 0\.\d\d at rank \d\n/,
    );
    assert.match(stdout, /\n balance {3}0\.\d{4} at step [12], 0\.\d{4} mean step of the window\n/);
    assert.match(stdout, /\n time lost not known without a cost model\n/);
    assert.match(stdout, /\n plans {5}1 planned\n moves {5}(\d+) live of \1 planned\n/);
    assert.match(
      stdout,
      /\n epoch 1 {3}\d+ moves, predicted 0\.\d{3} to 0\.\d{3}, realised .*; gains \d+\.\d% a step\n/,
    );
    assert.match(stdout, /\n watchdog {2}LoadsArrive: no loads for .*\n\nprefill /);
    assert.match(stdout, /\nprefill {2}default, epoch 0\n(.*\n)* watchdog {2}LoadsArrive: no loads yet\n$/);
    assert.equal(stripVTControlCharacters(stdout), stdout);
  });

  test('has lines that a terminal of 40 columns shows', async () => {
    const { stdout } = await top(['--token-file', tokenFile, '--once'], { COLUMNS: '40' });
    for (const line of stdout.split('\n')) assert.ok(line.length <= 40, line);
    const [wide] = /prefill[\s\S]*/.exec((await top(['--token-file', tokenFile])).stdout)!;
    const words = (text: string) => text.split(/\s+/).join(' ');
    assert.ok(words(stdout).includes(words(wide)));
  });

  test('prints as JSON what the service answers', async () => {
    const { stdout } = await top(['--token-file', tokenFile, '--json']);
    const { url, overview, groups } = JSON.parse(stdout);
    assert.equal(url, service.address);
    const schemaOf = (path: string) =>
      openApi.paths[path]!.get!.responses[200]!.content!['application/json']!.schema;
    assert.deepEqual(schemaErrors(schemaOf('/v1/dashboard'), overview), []);
    const names = groups.map(({ group }: Group) => group.group);
    assert.deepEqual(names, ['decode', 'prefill']);
    for (const group of groups) {
      assert.deepEqual(schemaErrors(schemaOf('/v1/groups/{group}/dashboard'), group), []);
    }
  });

  test("needs a token where the service does, and shows its own group to a group's", async () => {
    const bare = await top([]);
    assertRefused(bare, 'DENIED', /the service refused: the token is missing or wrong/);
    const { json } = await authorised('GET', '/v1/groups/decode/token');
    const env = { EPLB_SERVE_TOKEN: json.token };
    assertRefused(await top([], env), 'DENIED', /refused/);
    const own = await top(['--group', 'decode'], env);
    assert.match(own.stdout, /^eplb top .*\n\ndecode /);
    assertRefused(await top(['--group', 'prefill'], env), 'DENIED', /refused/);
    assertRefused(await top(['--group', 'none', '--token-file', tokenFile]), 'NOT_FOUND', /none/);
  });

  test('says so when there is no service, and when something else answers', async () => {
    const away = await eplb(['top', '--url', `unix:${join(dir, 'nobody.sock')}`]);
    assert.deepEqual([away.code, away.stdout], [1, '']);
    assert.match(away.stderr, /^eplb: --url: the service at .* nobody listens there \(EPLB_UNREACHABLE\)\n$/);
    assertRefused(await top(['--interval', '0']), 'RANGE', /--interval/);
  });

  test('goes on in a terminal, and leaves it as it was at Ctrl-C', async () => {
    const args = [CLI, 'top', '--url', service.address, '--token-file', tokenFile, '--interval', '0.1'];
    const line = [process.execPath, ...args].map((word) => `'${word}'`).join(' ');
    const { NO_COLOR: _, ...env } = process.env;
    const child = spawn('script', ['-qec', `stty cols 60 rows 12; exec ${line}`, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...env, TERM: 'xterm' },
    });
    let text = '';
    let isStopped = false;
    child.stdout!.setEncoding('utf8').on('data', (part) => {
      text += part;
      // The terminal makes a signal of it.
      if (!isStopped && text.split('\u001b[H').length > 3) child.stdin!.write('\u0003');
      isStopped ||= text.split('\u001b[H').length > 3;
    });
    const [code] = await once(child, 'close');
    assert.equal(code, 0);
    assert.ok(text.includes('\u001b[?1049h\u001b[?25l') && text.includes('\u001b[1mdecode\u001b[22m'), text);
    assert.match(text, /a higher terminal shows more/);
    assert.ok(text.trimEnd().endsWith('\u001b[?25h\u001b[?1049l'), JSON.stringify(text.slice(-100)));
  });
});

test('reaches a service on a socket, and by TLS whom its own certificate is trusted for', async (t) => {
  await inTempDir(async (folder) => {
    const socket = await serve.startService({ listen: `unix:${join(folder, 'eplb.sock')}` });
    const onSocket = await eplb(['top'], { env: { ...process.env, XDG_RUNTIME_DIR: folder } });
    assert.equal(onSocket.code, 0, onSocket.stderr);
    assert.match(onSocket.stdout, /^eplb top {2}unix:\S+eplb\.sock {2}.*\n0 groups, 0 flagged\n$/);
    await socket.close();
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const made = spawnSync('openssl', [
      'req',
      ...kind,
      '-subj',
      '/CN=localhost',
      '-keyout',
      key,
      '-out',
      cert,
    ]);
    if (made.error !== undefined) return t.skip('no openssl');
    const { address, close } = await serve.startService({ listen: 'localhost:0', tls: { cert, key } });
    const distrusted = await eplb(['top', '--url', address]);
    assert.deepEqual([distrusted.code, distrusted.stdout], [1, '']);
    assert.match(distrusted.stderr, /certificate \(EPLB_UNREACHABLE\)\n$/);
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: cert };
    const trusted = await eplb(['top', '--url', address], { env });
    assert.equal(trusted.code, 0, trusted.stderr);
    await close();
  });
});

/** Any view that a service may answer, with names and reasons of others in it. */
function anyGroup(): fc.Arbitrary<Group> {
  const text = fc.oneof(fc.constant(HOSTILE), fc.string(), fc.constant('rank 3 is late'));
  const count = fc.nat(1_000_000);
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const maybe = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: null });
  const both = maybe(fc.record({ before: share, after: share }));
  const map = fc
    .record({ rows: fc.integer({ min: 1, max: 4 }), columns: fc.integer({ min: 1, max: 128 }) })
    .chain(({ rows, columns }) =>
      fc.record({
        ...{ step: maybe(count), epoch: count, measured: fc.constant('slots' as const), tokens: count },
        ...{ rows: fc.constant(rows), columns: fc.constant(columns), layersPerRow: count },
        ...{ ranksPerColumn: fc.integer({ min: 1, max: 8 }), scale: share, hottest: fc.constant([]) },
        cells: fc
          .uint8Array({ minLength: rows * columns, maxLength: rows * columns })
          .map((bytes) => Buffer.from(bytes).toString('base64')),
      }),
    );
  return fc.record({
    at: fc.integer({ min: 0, max: 2e12 }),
    group: fc.record({
      ...{ group: text, policy: text, numLayers: count, numLogicalExperts: count, numPhysicalExperts: count },
      ...{ numRanks: count, numNodes: count, windowSize: count, epoch: count, digest: text },
      ...{ paused: fc.boolean(), dryRun: fc.boolean(), hasCost: fc.boolean() },
      underWay: maybe(fc.record({ epoch: count, digest: text, state: text })),
      ranks: fc.record({
        ...{ serving: count, unconfirmed: count, fenced: count },
        ...{ unknown: count, suspected: count, dead: count },
      }),
      conditions: fc.array(
        fc.record({
          type: fc.constantFrom('LoadsArrive', 'RanksAgree', 'Durable'),
          status: fc.boolean(),
          reason: text,
        }),
      ),
    }),
    now: fc.record({
      ...{ lastLoadsAt: maybe(count), lastPlanAt: maybe(count) },
      window: fc.record({
        ...{ steps: count, source: fc.constant('recorded' as const) },
        ...{ lastStep: maybe(count), incompleteSteps: count },
      }),
      newest: maybe(
        fc.record({
          step: count,
          epoch: count,
          tokens: count,
          balancedness: share,
          secondsLost: maybe(share),
        }),
      ),
      windowMean: maybe(
        fc.record({
          ...{ balancedness: share, secondsLost: maybe(share), worstLayer: count },
          ...{ worstRank: count, activeExperts: share },
        }),
      ),
    }),
    plans: fc.record({
      counts: fc.array(fc.record({ result: text, reason: text, count })),
      last: fc.constant([]),
      live: fc.array(
        fc.record({
          ...{ at: count, epoch: count, digest: text, moves: count, bytes: maybe(count), predicted: both },
          realised: fc.record({ before: maybe(share), after: maybe(share), steps: count }),
          gain: maybe(
            fc.record({
              ...{ unit: fc.constantFrom('share' as const, 'seconds' as const), predicted: maybe(share) },
              ...{ realised: share, steps: count, isFinal: fc.boolean() },
            }),
          ),
        }),
      ),
      moves: fc.record({ planned: count, live: count }),
      bytes: maybe(fc.record({ planned: count, live: count })),
    }),
    history: fc.array(share.map((value) => [0, 1, value, value, value, null] as const)).map((points) => ({
      minutes: { secondsPerPoint: 2, maxPoints: 300, points },
      hours: { secondsPerPoint: 60, maxPoints: 480, points: [] },
    })),
    rankLoads: maybe(map),
  });
}

test('whatever a service answers fits the terminal, and steers none', () => {
  const colors = picocolors.createColors(false);
  fc.assert(
    fc.property(
      fc.array(anyGroup(), { maxLength: 3 }),
      fc.integer({ min: 20, max: 140 }),
      (groups, columns) => {
        const text = renderTop(
          { url: HOSTILE, overview: undefined, groups, problem: HOSTILE },
          { columns, colors },
        );
        for (const line of text.split('\n')) {
          assert.doesNotMatch(line, UNPRINTABLE);
          const isOneWord = line.trim().split(' ').length === 1;
          assert.ok(line.length <= columns || isOneWord, `${columns}: ${line}`);
        }
      },
    ),
  );
});
