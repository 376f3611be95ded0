/** Services that share etcd: who answers what, and what they say when etcd is gone. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningService } from '../../dist/types/serve/index.d.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { inTempDir } from '../helpers/cli.ts';
import { Etcd, SKIPS_WITHOUT_ETCD } from '../helpers/etcd.ts';
import { assertOpenMetrics, checkByPromtool, seriesOf } from '../helpers/promtool.ts';
import { type Answer, ask, assertRefusal, loadBytes, serve } from '../helpers/service.ts';

const SKIP = { skip: SKIPS_WITHOUT_ETCD };
const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
const MOST_LOOKS = 1500;

/** What services have told of themselves. */
const events: string[] = [];

type Options = Parameters<typeof serve.startService>[0];

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < MOST_LOOKS; i++) {
    if (await holds()) return;
    await sleep(20);
  }
  assert.fail(`not within ${MOST_LOOKS} looks: ${what}`);
}

interface Pair {
  readonly etcd: Etcd;
  readonly leader: RunningService;
  readonly follower: RunningService;
  /** What anything was told as a fault. */
  readonly faults: unknown[];
}

const start = (etcd: Etcd, faults: unknown[], more: Partial<Options> = {}, leaseSeconds = 1) =>
  serve.startService(
    { listen: '127.0.0.1:0', etcd: { urls: etcd.urls, leaseSeconds }, ...more },
    {
      onFault: (error) => faults.push(error),
      onCluster: ({ message }) => events.push(message),
    },
  );

/** Runs work beside two services in this process. */
async function withPair(work: (pair: Pair) => Promise<void>, leaseSeconds = 1): Promise<void> {
  await inTempDir(async (folder) => {
    const etcd = await Etcd.start(folder);
    const faults: unknown[] = [];
    // One that has joined has looked who leads.
    const leader = await start(etcd, faults, {}, leaseSeconds);
    const follower = await start(etcd, faults, {}, leaseSeconds);
    try {
      assert.deepEqual([leader.cluster()?.role, follower.cluster()?.role], ['leader', 'follower']);
      await work({ etcd, leader, follower, faults });
    } finally {
      await follower.close();
      await leader.close();
      await etcd.stop();
    }
  });
}

const forwarded = async ({ address }: RunningService, headers = {}) => {
  const { bytes } = await ask(address, 'GET', '/metrics', undefined, headers);
  return seriesOf(new TextDecoder().decode(bytes)).get('eplb_forwarded_requests_total');
};

/** Plans, and makes the plan live. */
async function commit(base: string, loads: readonly (readonly number[])[]): Promise<Answer> {
  const { digest, epoch } = (await ask(base, 'POST', '/v1/groups/g/plan', { loads })).json;
  return bringLive(base, digest, epoch, 2);
}

async function bringLive(base: string, digest: string, epoch: number, numRanks: number): Promise<Answer> {
  const offered = await ask(base, 'POST', '/v1/groups/g/epochs', { digest, fromEpoch: epoch });
  assert.equal(offered.status, 201, JSON.stringify([offered.json, events]));
  for (let rank = 0; rank < numRanks; rank++) {
    await ask(base, 'POST', `/v1/groups/g/epochs/${epoch + 1}/ack`, { rank });
  }
  const active = await ask(base, 'POST', `/v1/groups/g/epochs/${epoch + 1}/activate`, {});
  assert.equal(active.json.state, 'active', JSON.stringify(active.json));
  return active;
}

test('followers answer what the record has, and plans that they have seen, and forward the rest', SKIP, () =>
  withPair(async ({ leader, follower }) => {
    const base = follower.address;
    const declared = await ask(base, 'PUT', '/v1/groups/g', SIZES);
    assert.equal(declared.status, 201);
    assert.equal(declared.headers.get('eplb-term'), String(leader.cluster()!.term));
    assertRefusal(await ask(base, 'GET', '/v1/groups/none'), 'EPLB_NOT_FOUND', 404, /no group 'none'/);
    assertRefusal(await ask(base, 'GET', '/v1/groups/none/mapping'), 'EPLB_NOT_FOUND', 404, /'none'/);
    const wrong = await ask(base, 'POST', '/v1/groups/g/plan', { loads: [[1, -1, 1, 1], LOADS[1]] });
    assertRefusal(wrong, 'EPLB_LOAD', 422, /layer 0/);
    assert.equal((await commit(base, LOADS)).json.epoch, 1);
    const first = await forwarded(follower);
    // The same of both, by JSON and in bytes.
    const bytes = { accept: 'application/octet-stream' };
    for (const [path, headers] of [
      ['/v1/groups', {}],
      ['/v1/groups/g/mapping', {}],
      ['/v1/groups/g/mapping', bytes],
      ['/v1/groups/g/epochs/0/mapping', {}],
      ['/v1/groups/g/epochs/1/mapping', bytes],
    ] as const) {
      const [one, other] = [
        await ask(base, 'GET', path, undefined, headers),
        await ask(leader.address, 'GET', path, undefined, headers),
      ];
      assert.equal(one.status, 200);
      assert.deepEqual(one.bytes, other.bytes, path);
      assert.equal(one.headers.get('eplb-digest'), other.headers.get('eplb-digest'));
      assert.equal(one.headers.get('eplb-stale-seconds'), null);
    }
    assert.equal(await forwarded(follower), first, 'all this is in the record');
    // A plan is asked once of the leader, in each form of the question.
    const binary = loadBytes(SIZES, LOADS);
    for (const [body, headers] of [
      [{ loads: LOADS }, {}],
      [binary, bytes],
    ] as const) {
      const before = (await forwarded(follower))!;
      const answers: Answer[] = [];
      for (let i = 0; i < 3; i++) answers.push(await ask(base, 'POST', '/v1/groups/g/plan', body, headers));
      const own = await ask(leader.address, 'POST', '/v1/groups/g/plan', body, headers);
      for (const { bytes: answered, status } of answers) {
        assert.equal(status, 200);
        assert.deepEqual(answered, own.bytes);
      }
      assert.equal(await forwarded(follower), before + 1);
    }
    // Of another epoch it is another plan.
    await commit(leader.address, [[...LOADS[0]!].reverse(), [...LOADS[1]!].reverse()]);
    const { json } = await ask(base, 'POST', '/v1/groups/g/plan', { loads: LOADS });
    assert.equal(json.epoch, 2);
    assert.equal((await ask(base, 'GET', '/v1/groups/g')).json.counters.numPlanned > 0, true);
    await ask(base, 'POST', '/v1/groups/g/loads', { step: 1, loads: LOADS });
    assert.equal((await ask(leader.address, 'GET', '/v1/groups/g')).json.window.steps, 1);
    assert.equal((await ask(base, 'DELETE', '/v1/groups/g')).status, 204);
    assert.deepEqual((await ask(base, 'GET', '/v1/groups')).json.groups, []);
    // It begins anew, at both.
    assert.equal((await ask(base, 'PUT', '/v1/groups/g', SIZES)).json.epoch, 0);
    assert.equal((await ask(base, 'GET', '/v1/groups/g/mapping')).json.epoch, 0);
    // It gets a rank more; the mapping of the epoch stays as it is.
    const more = { ...SIZES, numRanks: 3, numPhysicalExperts: 9 };
    assert.equal((await ask(base, 'PUT', '/v1/groups/g', more)).status, 200);
    const grown = await ask(base, 'GET', '/v1/groups/g/mapping');
    assert.equal(grown.json.physicalToLogical[0].length, 6);
    assert.equal((await ask(base, 'GET', '/v1/groups/g')).json.numRanks, 3);
    assert.deepEqual(grown.bytes, (await ask(leader.address, 'GET', '/v1/groups/g/mapping')).bytes);
  }),
);

test('what ranks have prepared is known to the next leader', SKIP, () =>
  withPair(async ({ leader, follower }) => {
    const base = follower.address;
    const group = '/v1/groups/g';
    await ask(base, 'PUT', group, SIZES);
    const { digest } = (await ask(base, 'POST', `${group}/plan`, { loads: LOADS })).json;
    await ask(base, 'POST', `${group}/epochs`, { digest });
    // One rank all of it, the other one a layer.
    await ask(base, 'POST', `${group}/epochs/1/ack`, { rank: 0 });
    await ask(base, 'POST', `${group}/epochs/1/ack`, { rank: 1, layers: [1] });
    await ask(base, 'POST', `${group}/epochs/1/ack`, { rank: 1, layers: [1] });
    const before = (await ask(base, 'GET', `${group}/epochs/1`)).json;
    await ask(base, 'POST', `${group}/loads`, { step: 1, loads: LOADS });
    assert.equal((await ask(base, 'GET', group)).json.window.steps, 1);
    events.length = 0;
    await leader.close();
    await until('the follower leads', () => follower.cluster()?.role === 'leader');
    const { conditions, window } = (await ask(base, 'GET', group)).json;
    assert.deepEqual([window.steps, window.source], [0, 'empty']);
    assert.equal(conditions[1].reason, 'the window is empty');
    assert.ok(events.includes('groups that go on from etcd: 1. It has no loads: their windows are empty'));
    const { secondsUnderWay: _, ...after } = (await ask(base, 'GET', `${group}/epochs/1`)).json;
    const { secondsUnderWay: _also, ...known } = before;
    assert.deepEqual(after, known);
    assert.deepEqual([after.state, after.preparedLayers, after.waitingFor], ['preparing', [1], [1]]);
    await ask(base, 'POST', `${group}/epochs/1/ack`, { rank: 1, layers: [0] });
    assert.equal((await ask(base, 'POST', `${group}/epochs/1/activate`)).json.state, 'active');
    const { json } = await ask(base, 'GET', group);
    assert.deepEqual([json.epoch, json.digest], [1, digest]);
    assert.match(json.conditions[4].reason, /in etcd/);
  }),
);

test('events come through a follower, and a request is never sent on twice', SKIP, () =>
  withPair(async ({ leader, follower }) => {
    await ask(leader.address, 'PUT', '/v1/groups/g', SIZES);
    const listening = request(`${follower.address}/v1/groups/g/events`, {
      headers: { accept: 'text/event-stream' },
    }).end();
    const [events] = await once(listening, 'response');
    assert.equal(events.headers['content-type'], 'text/event-stream');
    let heard = '';
    events.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
    });
    await until('the state is heard', () => heard.includes('event: state'));
    await ask(follower.address, 'POST', '/v1/groups/g/pause');
    await until('a change is heard', () => heard.includes('event: mode'));
    const sent = { 'eplb-forwarded': 'another-service' };
    const refused = await ask(follower.address, 'POST', '/v1/groups/g/resume', undefined, sent);
    assertRefusal(refused, 'EPLB_NO_LEADER', 503, /is not/);
    assert.equal(refused.headers.get('retry-after'), '1');
    const ended = once(events, 'close');
    await leader.close();
    await ended;
    await until('the follower leads', () => follower.cluster()?.role === 'leader');
    assert.equal((await ask(follower.address, 'GET', '/v1/groups/g')).json.paused, true);
    assert.equal((await ask(follower.address, 'POST', '/v1/groups/g/resume', undefined, sent)).status, 200);
  }),
);

test('without etcd nothing is acknowledged, reads say how old they are, and all goes on with it', SKIP, () =>
  withPair(async ({ etcd, leader, follower, faults }) => {
    const services = [leader, follower];
    await ask(leader.address, 'PUT', '/v1/groups/g', SIZES);
    const { epoch, digest } = (await commit(follower.address, LOADS)).json;
    const { text } = await (async () => ({ text: await metricsOf(leader) }))();
    assert.equal(seriesOf(text).get('eplb_service_leads'), 1);
    await etcd.killMember(0);
    for (const { address, cluster } of services) {
      await until('it is flagged', async () => {
        const { reasons } = (await ask(address, 'GET', '/healthz')).json;
        const types = reasons.map(({ type }: { type: string }) => type);
        return types.includes('EtcdAnswers') && types.includes('HasLeader');
      });
      const health = await ask(address, 'GET', '/healthz?degraded=503');
      assert.equal(health.status, 503);
      assert.equal(health.json.status, 'degraded');
      assert.deepEqual(health.json.cluster.leader, null);
      assert.equal(cluster()!.role, 'follower');
      // What was live is known, with its age; nothing else is.
      const read = await ask(address, 'GET', '/v1/groups/g/mapping');
      assert.deepEqual([read.status, read.json.epoch, read.json.digest], [200, epoch, digest]);
      assert.ok(Number(read.headers.get('eplb-stale-seconds')) > 0);
      const view = await ask(address, 'GET', '/v1/groups/g');
      assert.deepEqual([view.json.epoch, view.json.conditions[0].status], [epoch, false]);
      assert.equal((await ask(address, 'GET', '/v1/groups')).json.groups[0].digest, digest);
      for (const [path, body] of [
        ['/plan', { loads: LOADS }],
        ['/loads', { step: 1, loads: LOADS }],
        ['/epochs', { digest }],
        ['/pause', undefined],
        ['/ranks/0/heartbeat', { incarnation: 1 }],
      ] as const) {
        const refused = await ask(address, 'POST', `/v1/groups/g${path}`, body);
        assertRefusal(refused, 'EPLB_ETCD', 503, /etcd/);
        assert.equal(refused.headers.get('retry-after'), '1');
      }
      assert.equal(seriesOf(await metricsOf({ address })).get('eplb_etcd_answers'), 0);
    }
    etcd.startMember(0);
    await etcd.untilReady();
    await until('one leads again', () => services.some(({ cluster }) => cluster()!.role === 'leader'));
    for (const { address } of services) {
      await until('all is well', async () => {
        const { status, json } = await ask(address, 'GET', '/healthz');
        return status === 200 && json.status === 'ok';
      });
      const read = await ask(address, 'GET', '/v1/groups/g/mapping');
      assert.deepEqual([read.json.epoch, read.json.digest], [epoch, digest]);
      assert.equal(read.headers.get('eplb-stale-seconds'), null);
    }
    await commit(follower.address, [LOADS[1]!, LOADS[0]!]);
    assert.deepEqual(faults, []);
  }),
);

async function metricsOf({ address }: { readonly address: string }): Promise<string> {
  const headers = { accept: 'application/openmetrics-text' };
  const { bytes } = await ask(address, 'GET', '/metrics', undefined, headers);
  const text = new TextDecoder().decode(bytes);
  assertOpenMetrics(text);
  const { bytes: older } = await ask(address, 'GET', '/metrics');
  checkByPromtool(new TextDecoder().decode(older));
  return text;
}

test('groups of the configuration are declared by whoever leads, and what etcd has stands', SKIP, () =>
  inTempDir(async (folder) => {
    const etcd = await Etcd.start(folder);
    const faults: unknown[] = [];
    const token = 'a-token-of-some-length';
    const auth = { authorization: `Bearer ${token}` };
    const one = await start(etcd, faults, { groups: { g: SIZES }, token });
    await until('g is there', async () => {
      const { json } = await ask(one.address, 'GET', '/v1/groups', undefined, auth);
      return json.groups?.length === 1;
    });
    assert.equal((await ask(one.address, 'GET', '/v1/groups')).status, 401);
    const tokenOf = async ({ address }: RunningService) =>
      (await ask(address, 'GET', '/v1/groups/g/token', undefined, auth)).json.token;
    const other = { ...SIZES, windowSize: 7 };
    const two = await start(etcd, faults, { groups: { g: other, h: SIZES }, token });
    const ofGroup = await tokenOf(two);
    assert.equal(ofGroup, await tokenOf(one));
    const rank = { authorization: `Bearer ${ofGroup}` };
    assert.equal((await ask(two.address, 'GET', '/v1/groups/g/ranks', undefined, rank)).status, 200);
    assert.equal((await ask(two.address, 'GET', '/v1/groups/h', undefined, rank)).status, 401);
    await one.close();
    await until('the other one leads', async () => {
      const { json } = await ask(two.address, 'GET', '/v1/groups', undefined, auth);
      return two.cluster()!.role === 'leader' && json.groups?.length === 2;
    });
    assert.equal((await ask(two.address, 'GET', '/v1/groups/g', undefined, auth)).json.windowSize, 100);
    assert.equal(faults.length, 1);
    assert.match(String(faults[0]), /other content/);
    await two.close();
    // What was declared is there for the next one, whatever it is told.
    const three = await start(etcd, faults, { token });
    await until('it leads', () => three.cluster()!.role === 'leader');
    assert.equal((await ask(three.address, 'GET', '/v1/groups', undefined, auth)).json.groups.length, 2);
    // With another prefix it is on its own, beside the others on the same etcd.
    const apart = { urls: etcd.urls, leaseSeconds: 1, prefix: '/other' };
    const four = await start(etcd, faults, { token, etcd: apart, groups: { h: SIZES } });
    await until('its group is there', async () => {
      const { json } = await ask(four.address, 'GET', '/v1/groups', undefined, auth);
      return four.cluster()!.role === 'leader' && json.groups?.length === 1;
    });
    await ask(four.address, 'DELETE', '/v1/groups/h', undefined, auth);
    assert.equal((await ask(three.address, 'GET', '/v1/groups', undefined, auth)).json.groups.length, 2);
    await four.close();
    await three.close();
    await etcd.stop();
  }),
);

test('a large group is kept in small values', SKIP, () =>
  withPair(async ({ etcd, leader, follower }) => {
    const sizes = { numLayers: 92, numLogicalExperts: 640, numPhysicalExperts: 1024, numRanks: 16 };
    const random = seededRandom(3);
    const row = () => Array.from({ length: 640 }, () => 1 + Math.floor(900 * random()));
    const headers = { accept: 'application/octet-stream' };
    const base = follower.address;
    const commitBytes = async () => {
      const body = loadBytes(sizes, Array.from({ length: 92 }, row));
      const plan = await ask(base, 'POST', '/v1/groups/g/plan', body, headers);
      const epoch = Number(plan.headers.get('eplb-epoch'));
      await bringLive(base, plan.headers.get('eplb-digest')!, epoch, 16);
      return ask(base, 'GET', '/v1/groups/g/mapping', undefined, headers);
    };
    assert.equal((await ask(base, 'PUT', '/v1/groups/g', sizes)).status, 201);
    const first = await commitBytes();
    const parts = await etcd.keys('/eplb/g/parts/');
    assert.ok(parts.size >= 2, `a mapping of ${first.bytes.length} bytes in ${parts.size} parts`);
    await leader.close();
    await until('the follower leads', () => follower.cluster()?.role === 'leader');
    const kept = await ask(base, 'GET', '/v1/groups/g/mapping', undefined, headers);
    assert.deepEqual(kept.bytes, first.bytes);
    assert.equal((await ask(base, 'GET', '/v1/groups/g')).json.window.source, 'empty');
    assert.equal((await commitBytes()).headers.get('eplb-epoch'), '2');
    await ask(base, 'DELETE', '/v1/groups/g');
    assert.deepEqual([...(await etcd.keys('/eplb/')).keys()], ['/eplb/.leader']);
  }, 10),
);
