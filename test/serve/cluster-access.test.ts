/** Etcd that does not let everybody in. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTempDir } from '../helpers/cli.ts';
import { Etcd, SKIPS_WITHOUT_ETCD } from '../helpers/etcd.ts';
import { ask, endProcess, serve, startProcess } from '../helpers/service.ts';

const SKIP = { skip: SKIPS_WITHOUT_ETCD };
const SIZES = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
type EtcdOptions = NonNullable<Parameters<typeof serve.startService>[0]['etcd']>;

/** What a service is told, once it leads or has said why it does not. */
async function tried(
  etcd: EtcdOptions,
  says = /./,
): Promise<{ readonly status: number; readonly reasons: string }> {
  const service = await serve.startService({ listen: '127.0.0.1:0', etcd: { leaseSeconds: 1, ...etcd } });
  try {
    for (let i = 0; i < 500; i++) {
      const { status } = await ask(service.address, 'PUT', '/v1/groups/g', SIZES);
      const { reasons } = (await ask(service.address, 'GET', '/healthz')).json;
      const said = JSON.stringify(reasons);
      if (status < 300 || (reasons.length > 1 && says.test(said))) return { status, reasons: said };
      await sleep(20);
    }
    return assert.fail(`it neither leads nor says why: ${says}`);
  } finally {
    await service.close();
  }
}

test('a user and a password are enough, and a wrong one is told', SKIP, () =>
  inTempDir(async (folder) => {
    const etcd = await Etcd.start(folder);
    const call = async (path: string, body: object) => {
      const answer = await fetch(`${etcd.urls[0]}/v3/auth/${path}`, {
        method: 'POST',
        body: JSON.stringify(body),
      });
      assert.equal(answer.status, 200, await answer.text());
    };
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    await call('user/add', { name: 'root', password: 'r' });
    await call('user/grant', { user: 'root', role: 'root' });
    await call('user/add', { name: 'eplb', password: 'secret' });
    await call('role/add', { name: 'own' });
    const perm = { permType: 'READWRITE', key: base64('/eplb/'), range_end: base64('/eplb0') };
    await call('role/grant', { name: 'own', perm });
    await call('user/grant', { user: 'eplb', role: 'own' });
    await call('enable', {});
    const { urls } = etcd;
    const right = await tried({ urls, user: 'eplb', password: 'secret' });
    const [wrong, nobody, elsewhere] = await Promise.all([
      tried({ urls, user: 'eplb', password: 'wrong' }, /EtcdAnswers.*authentication failed/),
      tried({ urls }, /EtcdAnswers.*user name is empty/),
      // Its role has no other keys than these.
      tried({ urls, user: 'eplb', password: 'secret', prefix: '/other' }, /EtcdAnswers.*permission denied/),
    ]);
    assert.equal(right.status, 201);
    for (const { status, reasons } of [wrong, nobody, elsewhere]) assert.equal(status, 503, reasons);
    await etcd.stop();
  }),
);

test('certificates are checked on both sides', SKIP, (t) =>
  inTempDir(async (folder) => {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    if (!certify(cert, key)) return t.skip('no openssl');
    const etcd = await Etcd.start(folder, 1, [
      ...['--cert-file', cert, '--key-file', key, '--trusted-ca-file', cert, '--client-cert-auth'],
    ]);
    const { urls } = etcd;
    const [right, uncertified, unknown] = await Promise.all([
      tried({ urls, tls: { ca: cert, cert, key } }),
      tried({ urls, tls: { ca: cert } }),
      tried({ urls, tls: { cert, key } }),
    ]);
    assert.equal(right.status, 201);
    assert.match(uncertified.reasons, /EtcdAnswers/);
    assert.match(unknown.reasons, /EtcdAnswers.*self.signed/);
    await assert.rejects(
      tried({ urls, tls: { ca: join(folder, 'none.pem') } }),
      /cannot read .*none\.pem: there is no such file/,
    );
    await etcd.stop();
  }),
);

test('services reach each other by TLS, with the token that the client gave', SKIP, (t) =>
  inTempDir(async (folder) => {
    const [cert, key, token] = [join(folder, 'cert.pem'), join(folder, 'key.pem'), join(folder, 'token')];
    if (!certify(cert, key)) return t.skip('no openssl');
    await writeFile(token, 'a-token-of-some-length');
    const etcd = await Etcd.start(folder);
    const args = [
      ...['--listen', '127.0.0.1:0', '--etcd', etcd.urls.join(','), '--token-file', token],
      ...['--tls-cert', cert, '--tls-key', key],
    ];
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: cert };
    const services = [await startProcess(args, env), await startProcess(args, env)];
    const agent = new Agent({ ca: await readFile(cert) });
    const put = async (address: string, headers: Record<string, string>) => {
      const options = { method: 'PUT', agent, headers: { ...headers, 'content-type': 'application/json' } };
      const asked = request(`${address}/v1/groups/g`, options).end(JSON.stringify(SIZES));
      const [response] = await once(asked, 'response');
      response.resume();
      return [response.statusCode, response.headers['eplb-term'] !== undefined];
    };
    const authorization = 'Bearer a-token-of-some-length';
    assert.deepEqual(await put(services[1]!.address, { authorization }), [201, true]);
    assert.deepEqual(await put(services[0]!.address, { authorization }), [200, true]);
    assert.deepEqual(await put(services[1]!.address, {}), [401, false]);
    for (const service of services) await endProcess(service);
    await etcd.stop();
  }),
);

/** A certificate that signs itself. @returns whether it could be made */
function certify(cert: string, key: string): boolean {
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
  ]);
  return made.error === undefined;
}
