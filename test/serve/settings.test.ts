/** How a service is set up: by a file, the environment and flags; and where it listens. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { Agent, get } from 'node:https';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { eplb, eplbMany, inTempDir } from '../helpers/cli.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { endProcess, serve, startProcess } from '../helpers/service.ts';

const OTHER = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6 };
const GROUP = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };

test('flags stand before the environment, and that before the file', async () => {
  await inTempDir(async (dir) => {
    const file = join(dir, 'eplb.yaml');
    await writeFile(
      file,
      [
        'listen: 127.0.0.1:1',
        'state: kept',
        'limits:',
        '  maxGroups: 3',
        'groups:',
        `  decode: ${JSON.stringify(GROUP)}`,
        `  other: ${JSON.stringify({ ...OTHER, topology: 'three.json' })}`,
        `  ruled: ${JSON.stringify({ ...GROUP, policy: 'adaptive', rules: 'rules.yaml' })}`,
        'topology: devices.yaml',
      ].join('\n'),
    );
    await writeFile(join(dir, 'devices.yaml'), 'ranks: 2\nslots: 6\n');
    await writeFile(join(dir, 'three.json'), '{"ranks": 3}');
    await writeFile(join(dir, 'rules.yaml'), 'neverReplicated: [{experts: 0-1}]\n');
    await writeFile(join(dir, 'token'), 'a-token-of-some-length\n');
    const env = {
      ...process.env,
      EPLB_SERVE_LISTEN: '127.0.0.1:2',
      EPLB_SERVE_CONFIG: file,
      EPLB_SERVE_VLLM_KEY: 'k',
    };
    const check = async (...args: string[]) => {
      const run = await eplb(['serve', '--check-config', ...args], { env });
      assert.deepEqual([run.code, run.stderr], [0, '']);
      return JSON.parse(run.stdout);
    };
    const ofEnvironment = await check();
    assert.deepEqual([ofEnvironment.listen, ofEnvironment.limits.maxGroups], ['127.0.0.1:2', 3]);
    assert.equal(ofEnvironment.state, join(dir, 'kept'), 'relative to the file');
    const rules = { neverReplicated: [{ experts: '0-1' }] };
    assert.deepEqual(ofEnvironment.groups, {
      ...{ decode: GROUP, other: { ...OTHER, topology: { ranks: 3 } } },
      ruled: { ...GROUP, policy: 'adaptive', rules },
    });
    assert.deepEqual(ofEnvironment.topology, { ranks: 2, slots: 6 }, 'a path is relative to the file');
    const flags = [
      ...['--token-file', join(dir, 'token'), '--vllm', 'http://a:1,http://b:1'],
      ...['--topology', join(dir, 'three.json')],
    ];
    const ofFlags = await check('--listen', '127.0.0.1:3', ...flags);
    assert.deepEqual([ofFlags.vllm, ofFlags.vllmKey], [['http://a:1', 'http://b:1'], '(set)']);
    assert.deepEqual(ofFlags.topology, { ranks: 3 });
    assert.deepEqual([ofFlags.listen, ofFlags.token], ['127.0.0.1:3', '(set)']);
  });
});

test('etcd is named by flags, the environment and the file, and its password is not shown', async () => {
  await inTempDir(async (dir) => {
    const file = join(dir, 'eplb.yaml');
    const etcd = ['etcd:', '  urls: [http://a:1]', '  leaseSeconds: 7', '  tls: {ca: ca.pem}'];
    await writeFile(file, ['listen: 127.0.0.1:1', ...etcd].join('\n'));
    const variables = {
      EPLB_SERVE_ETCD_USER: 'u',
      EPLB_SERVE_ETCD_PASSWORD: 'p',
      EPLB_SERVE_ETCD_LEASE: '9',
    };
    const check = async (env: NodeJS.ProcessEnv, ...args: string[]) => {
      const run = await eplb(['serve', '--check-config', '--config', file, ...args], {
        env: { ...process.env, ...env },
      });
      assert.deepEqual([run.code, run.stderr], [0, '']);
      return JSON.parse(run.stdout).etcd;
    };
    const tls = { ca: join(dir, 'ca.pem') };
    assert.deepEqual(await check({}), { urls: ['http://a:1'], leaseSeconds: 7, tls, prefix: '/eplb' });
    const flags = [
      '--etcd',
      'https://b:1,https://c:2',
      '--advertise',
      'http://me:3',
      '--etcd-prefix',
      '/x/y',
    ];
    assert.deepEqual(await check(variables, ...flags), {
      ...{ urls: ['https://b:1', 'https://c:2'], advertise: 'http://me:3', prefix: '/x/y' },
      ...{ leaseSeconds: 9, tls, user: 'u', password: '(set)' },
    });
  });
});

test('wrong configurations are refused, each by its name', async () => {
  await inTempDir(async (dir) => {
    const files = {
      'a.yaml': 'listen: [',
      'b.yaml': 'listn: unix:/a',
      'c.yaml': 'limits: {maxGroups: 0}',
      'd.yaml': 'groups: {g: {numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 5}}',
      'e.yaml': '- a',
      'f.yaml': 'topology: none.yaml',
      'g.yaml': 'topology: {ranks: 0}',
      'h.yaml': 'topology: {ranks: 5}\ngroups: {g: {numLayers: 1, numLogicalExperts: 4}}',
      'i.yaml': 'watchdog: {intervalMs: 1}',
      'j.yaml': `groups: {g: ${JSON.stringify({ ...GROUP, rules: 'none.yaml' })}}`,
      'k.yaml': `groups: {g: ${JSON.stringify({ ...GROUP, rules: { pinned: [{ experts: 9, ranks: 0 }] } })}}`,
      'm.yaml': `groups: {a/b: ${JSON.stringify(GROUP)}}`,
      'l.yaml': 'listen: 127.0.0.1:1\netcd: {urls: [http://b:1], tls: {cert: c}}',
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
    const wrong: [string[], string, RegExp][] = [
      [['--config', 'a.yaml'], 'FORMAT', /is not YAML/],
      [['--config', 'b.yaml'], 'OPTION', /no option "listn"; did you mean listen/],
      [['--config', 'c.yaml'], 'RANGE', /^--config: "c\.yaml": limits\.maxGroups: 0/],
      [['--config', 'd.yaml'], 'TOPOLOGY', /^--config: "d\.yaml": groups\.g: numPhysicalExperts: 6/],
      [['--config', 'e.yaml'], 'FORMAT', /not a map/],
      [['--config', 'm.yaml'], 'RANGE', /^--config: "m\.yaml": groups: the name "a\/b" does not match/],
      [['--config', 'f.yaml'], 'FILE', /--config: "f\.yaml": topology: .*none\.yaml/],
      [['--config', 'g.yaml'], 'RANGE', /^--config: "g\.yaml": topology: ranks: 0/],
      [['--config', 'h.yaml'], 'KIND', /"h\.yaml": groups\.g: group: numPhysicalExperts is missing/],
      [['--topology', 'e.yaml', '--listen', 'unix:a'], 'KIND', /--topology: "e\.yaml": is a list/],
      [['--config', 'i.yaml'], 'RANGE', /"i\.yaml": watchdog\.intervalMs: 1/],
      [['--config', 'j.yaml'], 'FILE', /groups\.g\.rules: .*none\.yaml/],
      [['--config', 'k.yaml'], 'RANGE', /groups\.g: group\.rules: pinned\[0\]\.experts: 9/],
      [['--config', 'none.yaml'], 'FILE', /none\.yaml/],
      [['--listen', 'nowhere'], 'OPTION', /^--listen: 'nowhere' is neither unix:PATH nor HOST:PORT/],
      [['--listen', '127.0.0.1:99999'], 'OPTION', /99999/],
      [['--listen', `unix:${'a'.repeat(200)}`], 'RANGE', /107 bytes/],
      [
        ['--listen', '0.0.0.0:1'],
        'OPTION',
        /^--listen: .* can reach 0\.0\.0\.0:1: give a token and TLS, or insecure/,
      ],
      [['--listen', 'unix:a', '--tls-cert', 'c'], 'OPTION', /^--tls-cert: needs --tls-key, .* give both/],
      [
        ['--listen', 'unix:a', '--tls-cert', 'c', '--tls-key', 'k'],
        'OPTION',
        /^--tls-cert: has no use on a unix socket/,
      ],
      [['--listen', '10.0.0.1:1', '--tls-cert', 'c', '--tls-key', 'k'], 'OPTION', /give a token, or/],
      [
        ['--listen', 'unix:a', '--etcd', 'http://b:2379'],
        'OPTION',
        /^--advertise: is missing: other services cannot tell from unix:a/,
      ],
      [
        ['--listen', '0.0.0.0:1', '--insecure', '--etcd', 'http://b:2379'],
        'OPTION',
        /cannot tell from 0\.0\.0\.0:1/,
      ],
      [['--listen', '127.0.0.1:1', '--etcd', 'b:2379'], 'OPTION', /^--etcd: 'b:2379' is not http/],
      [['--listen', '127.0.0.1:1', '--etcd', 'http://b:1/v3'], 'OPTION', /'http:\/\/b:1\/v3' is not/],
      [
        ['--listen', '127.0.0.1:1', '--etcd', 'http://b:1', '--state', 's'],
        'OPTION',
        /^--etcd: keeps all state itself: leave state out/,
      ],
      [
        ['--listen', '127.0.0.1:1', '--etcd', 'http://b:1', '--etcd-prefix', 'a'],
        'OPTION',
        /^--etcd-prefix: 'a' is not a path such as \/eplb/,
      ],
      [
        ['--listen', '127.0.0.1:1', '--etcd', 'http://b:1', '--etcd-lease', 'x'],
        'NOT_WHOLE',
        /^--etcd-lease: "x" is not a whole/,
      ],
      [['--listen', '127.0.0.1:1', '--advertise', 'http://b:1'], 'OPTION', /^--advertise: needs --etcd/],
      [['--config', 'l.yaml'], 'OPTION', /^--config: "l\.yaml": etcd\.tls: cert and key go together/],
    ];
    const runs = await eplbMany(
      wrong.map(([args]) => ({ args: ['serve', '--check-config', ...args] })),
      dir,
    );
    for (const [i, [, code, message]] of wrong.entries()) assertRefused(runs[i]!, code, message);
  });
});

test('messages name what was given: a flag, a variable of the environment, or the file', async () => {
  await inTempDir(async (dir) => {
    const listen = 'listen: 127.0.0.1:1\n';
    await writeFile(join(dir, 'short'), 'short');
    await writeFile(join(dir, 'token.yaml'), `${listen}tokenFile: short`);
    await writeFile(join(dir, 'vllm.yaml'), `${listen}state: s\nvllm: [http://a, b]`);
    await writeFile(join(dir, 'lost.yaml'), `${listen}tokenFile: none`);
    const few = 'has fewer than 16 characters (EPLB_RANGE)\n';
    const bad = "'b', of rank 1, is not an http:// or https:// URL (EPLB_OPTION)\n";
    const wrong: [string[], NodeJS.ProcessEnv, string][] = [
      [['--token-file', 'short'], { EPLB_SERVE_TOKEN: 't' }, `--token-file: ${few}`],
      [[], { EPLB_SERVE_TOKEN: 't' }, `EPLB_SERVE_TOKEN: ${few}`],
      [[], { EPLB_SERVE_TOKEN_FILE: 'short' }, `EPLB_SERVE_TOKEN_FILE: ${few}`],
      [['--config', 'token.yaml'], {}, `--config: "token.yaml": tokenFile: ${few}`],
      [[], { EPLB_SERVE_CONFIG: 'token.yaml' }, `EPLB_SERVE_CONFIG: "token.yaml": tokenFile: ${few}`],
      [['--state', 's', '--vllm', 'http://a,b'], {}, `--vllm: ${bad}`],
      [['--config', 'vllm.yaml'], {}, `--config: "vllm.yaml": vllm: ${bad}`],
      [
        [],
        { EPLB_SERVE_LISTEN: 'x' },
        "EPLB_SERVE_LISTEN: 'x' is neither unix:PATH nor HOST:PORT (EPLB_OPTION)\n",
      ],
      [
        ['--state', 'short', '--listen', '127.0.0.1:0'],
        {},
        '--state: short: cannot be used: it is a file, not a directory (EPLB_FILE)\n',
      ],
      [
        [],
        { EPLB_SERVE_STATE: 'short/s' },
        'EPLB_SERVE_STATE: short/s: cannot be used: a part of the path is not a directory (EPLB_FILE)\n',
      ],
    ];
    for (const [args, env, message] of wrong) {
      const own = { ...process.env, ...env };
      const run = await eplb(['serve', ...args], { cwd: dir, env: own });
      assert.deepEqual([run.code, run.stderr], [2, `eplb: ${message}`]);
    }
    const lost = await eplb(['serve', '--config', 'lost.yaml'], { cwd: dir });
    assert.match(
      lost.stderr,
      /^eplb: --config: "lost\.yaml": tokenFile: cannot read ".*none": there is no such/,
    );
  });
});

test('a unix socket is its user’s alone, and outlives no service', async () => {
  await inTempDir(async (dir) => {
    const path = join(dir, 's.sock');
    const service = await startProcess(['--listen', `unix:${path}`]);
    assert.equal(service.address, `unix:${path}`);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const asked = request({ socketPath: path, path: '/healthz' }).end();
    const [response] = await once(asked, 'response');
    assert.equal(response.statusCode, 200);
    response.resume();
    await assert.rejects(serve.startService({ listen: `unix:${path}` }), /another service is listening/);
    await endProcess(service, 'SIGKILL');
    // What a killed one left is taken over.
    const next = await serve.startService({ listen: `unix:${path}` });
    await next.close();
    await assert.rejects(stat(path), /ENOENT/);
    await writeFile(path, 'a file of somebody');
    await assert.rejects(serve.startService({ listen: `unix:${path}` }), /cannot listen/);
    assert.equal(await readFile(path, 'utf8'), 'a file of somebody');
  });
});

test('an address in use is named', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  await assert.rejects(serve.startService({ listen: `127.0.0.1:${port}` }), /cannot listen: .*EADDRINUSE/);
  other.close();
});

test('answers by TLS, and says aloud when it is insecure', async (t) => {
  await inTempDir(async (dir) => {
    const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    const subject = ['-subj', '/CN=localhost', '-days', '2', '-keyout', key, '-out', cert];
    const made = spawnSync('openssl', [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      ...subject,
    ]);
    if (made.error !== undefined) return t.skip('no openssl');
    const { address, close } = await serve.startService({ listen: 'localhost:0', tls: { cert, key } });
    assert.match(address, /^https:\/\/localhost:\d+$/);
    const agent = new Agent({ ca: await readFile(cert) });
    const [response] = await once(get(`${address}/healthz`, { agent }), 'response');
    assert.equal(response.statusCode, 200);
    response.resume();
    await close();
    await assert.rejects(
      serve.startService({ listen: 'localhost:0', tls: { cert: key, key } }),
      /config\.tls/,
    );
    const insecure = await startProcess(['--listen', '0.0.0.0:0', '--insecure']);
    while (!insecure.errors().includes('"insecure"')) await once(insecure.child.stderr!, 'data');
    await endProcess(insecure);
  });
});

test('a client that sends nothing, or nonsense, keeps nobody waiting', async () => {
  const { address, close } = await serve.startService({
    listen: '127.0.0.1:0',
    limits: { drainTimeoutMs: 50 },
  });
  const { port, hostname } = new URL(address);
  const silent = connect(Number(port), hostname);
  await once(silent, 'connect');
  const nonsense = connect(Number(port), hostname);
  nonsense.write('\u0000\u0001\r\n\r\n');
  const [answer] = await once(nonsense, 'data');
  assert.match(String(answer), /^HTTP\/1\.1 400/);
  // What is no request gets a refusal as all others do.
  const host = 'Host: localhost\r\n';
  for (const [text, status, code] of [
    ['nonsense\r\n\r\n', 400, 'EPLB_FORMAT'],
    ['GET /v1/groups HTTP/1.1\r\n\r\n', 400, 'EPLB_FORMAT'],
    [`GET http://[ HTTP/1.1\r\n${host}\r\n`, 400, 'EPLB_FORMAT'],
    [`OPTIONS * HTTP/1.1\r\n${host}\r\n`, 400, 'EPLB_FORMAT'],
    [`POST / HTTP/1.1\r\n${host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n`, 400, 'EPLB_FORMAT'],
    [`GET / HTTP/1.1\r\n${host}a: ${'b'.repeat(20_000)}\r\n\r\n`, 431, 'EPLB_TOO_LARGE'],
  ] as const) {
    const socket = connect(Number(port), hostname);
    socket.write(text);
    const [bytes] = await once(socket, 'data');
    const [head, body = ''] = String(bytes).split('\r\n\r\n');
    assert.match(head!, new RegExp(`^HTTP/1.1 ${status} `), text.slice(0, 60));
    assert.match(head!, /content-type: application\/json/i);
    const { code: found, message } = JSON.parse(body);
    assert.equal(found, code);
    assert.ok(message.length > 10);
    socket.destroy();
  }
  const wrongHost = request(`${address}/v1/groups`, { headers: { host: 'example.org' } }).end();
  const [response] = await once(wrongHost, 'response');
  assert.equal(response.statusCode, 403);
  response.resume();
  const closed = once(silent, 'close');
  await close();
  await closed;
});
