/** The dashboard over HTTP: its page's files, what is shown, its streams, tokens, and bounds in bytes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { mergeGroup, mergeGroups } from '../../src/serve/dashboard/browser/merge.ts';
import type { DashboardView, OverviewView } from '../../src/serve/dashboard/view.ts';
import { listen } from '../helpers/events.ts';
import { ask, assertEachSeen, assertRefusal, serve } from '../helpers/service.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
const EVENTS = 'text/event-stream';

const textOf = ({ bytes }: { bytes: Uint8Array }) => new TextDecoder().decode(bytes);

describe('the dashboard', () => {
  let base = '';
  let close = async () => {};
  const put = (name: string, more = {}) => ask(base, 'PUT', `/v1/groups/${name}`, { ...SIZES, ...more });
  const post = (path: string, body?: unknown) => ask(base, 'POST', `/v1/groups/${path}`, body);
  const shown = async (name: string): Promise<DashboardView> =>
    (await ask(base, 'GET', `/v1/groups/${name}/dashboard`)).json;

  before(async () => {
    const limits = { maxWatchers: 3 };
    const running = await serve.startService({ listen: '127.0.0.1:0', limits });
    base = running.address;
    close = running.close;
  });
  after(async () => {
    await close();
    assertEachSeen((path) => path === '/' || /\/(dashboard|rank-loads)/.test(path));
  });

  test('is a page that loads its own parts alone, and may be shown in no other', async () => {
    const page = await ask(base, 'GET', '/');
    assert.equal(page.status, 200);
    assert.match(page.headers.get('content-type')!, /^text\/html/);
    const policy = page.headers.get('content-security-policy')!.split('; ');
    assert.ok(policy.includes("default-src 'none'") && policy.includes("frame-ancestors 'none'"));
    for (const directive of policy) {
      assert.match(directive, /^[a-z-]+ ('none'|'self'|data:)$/, 'no other origin, and nothing inline');
    }
    const markup = textOf(page);
    assert.doesNotMatch(markup, /<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?:/);
    const loaded = [...markup.matchAll(/(?:src|href)="([^"#:]+)"/g)].map(([, path]) => path!);
    assert.deepEqual(loaded.sort(), [
      ...['dashboard/charts.js', 'dashboard/licences.txt', 'dashboard/page.css', 'dashboard/page.js'],
      'dashboard/report.css',
    ]);
    for (const path of loaded) {
      const file = await ask(base, 'GET', `/${path}`);
      assert.equal(file.status, 200);
      assert.equal(file.headers.get('x-content-type-options'), 'nosniff');
      assert.ok(file.bytes.length > 1000, path);
    }
    const origin = await ask(base, 'GET', '/', undefined, { origin: 'http://example.org' });
    assertRefusal(origin, 'EPLB_DENIED', 403, /web pages/);
    assertRefusal(await ask(base, 'POST', '/'), 'EPLB_OPTION', 405, /GET/);
  });

  test('says of a group that does nothing that it does nothing', async () => {
    await put('still');
    const view = await shown('still');
    assert.deepEqual([view.group.epoch, view.group.hasCost, view.rankLoads], [0, false, null]);
    assert.deepEqual([view.now.newest, view.now.windowMean, view.now.lastLoadsAt], [null, null, null]);
    assert.deepEqual([view.plans.last, view.plans.live, view.history.hours.points], [[], [], []]);
    assertRefusal(await ask(base, 'GET', '/v1/groups/still/rank-loads'), 'EPLB_NOT_FOUND', 404, /no loads/);
    await post('still/loads', { step: 1, epoch: 0, loads: LOADS.map((row) => row.map(() => 0)) });
    const empty = await shown('still');
    assert.deepEqual([empty.now.newest!.tokens, empty.rankLoads!.tokens], [0, 0]);
    assert.deepEqual(empty.history.hours.points, [], 'nothing can be said of a step without tokens');
    const { groups } = (await ask(base, 'GET', '/v1/dashboard')).json as OverviewView;
    assert.equal(groups.find(({ group }) => group === 'still')!.balancedness, null);
  });

  test('shows loads, plans and what came of them', async () => {
    await put('busy', { policy: 'adaptive', cost: 'h200:deepseek-v3', windowSize: 4 });
    const heavy = LOADS.map((row) => row.map((load) => load * 5000));
    await post('busy/plan', { planId: 'none yet' });
    await post('busy/loads', { step: 1, epoch: 0, loads: heavy });
    const before = await shown('busy');
    const { newest } = before.now;
    assert.deepEqual([newest!.step, newest!.epoch, newest!.tokens], [1, 0, 62 * 5000]);
    // Slots 0 1 2 | 3 0 1: of layer 0 10 / 2 + 4 and 2 + 10 / 2, of layer 1 3 / 2 + 3 and 40 + 3 / 2.
    const loads = [
      [9, 7],
      [4.5, 41.5],
    ].map((row) => row.map((load) => load * 5000));
    assert.equal(newest!.balancedness, Number(((8 + 23) / (9 + 41.5)).toPrecision(5)));
    assert.ok(newest!.secondsLost! > 0);
    const ranks = (await ask(base, 'GET', '/v1/groups/busy/rank-loads')).json;
    assert.deepEqual([ranks.loads, ranks.means, ranks.step], [loads, [40_000, 115_000], 1]);
    assert.deepEqual(before.rankLoads!.hottest[0], { layer: 1, rank: 1, share: 1.804 });

    const plan = (await post('busy/plan', { loads: heavy })).json;
    assert.equal(plan.status, 'planned');
    await post('busy/loads', { step: 2, epoch: 1, digest: plan.digest, loads: heavy });
    for (let step = 3; step <= 12; step++) await post('busy/loads', { step, epoch: 1, loads: heavy });
    // The newest step is measured once a second has passed.
    await untilSo(async () => (await shown('busy')).now.newest!.epoch === 1);
    const view = await shown('busy');
    const [made, kept] = view.plans.last;
    assert.deepEqual([made!.status, made!.digest, made!.moves], ['planned', plan.digest, plan.moves]);
    assert.deepEqual([kept!.status, kept!.reason], ['kept', 'no samples']);
    assert.equal(made!.bytes, plan.forecast.bytes);
    const [live] = view.plans.live;
    assert.deepEqual([live!.epoch, live!.digest, live!.moves], [1, plan.digest, plan.moves]);
    assert.equal(live!.predicted!.before, newest!.balancedness);
    assert.equal(live!.predicted!.after, Number(plan.balancedness.after.toPrecision(5)));
    assert.equal(live!.realised.before, newest!.balancedness);
    assert.equal(live!.realised.after, live!.predicted!.after, 'the same loads came');
    assert.equal(live!.gain!.unit, 'seconds');
    assert.ok(live!.gain!.predicted! > 0 && live!.gain!.realised > 0 && live!.gain!.steps > 0);
    assert.deepEqual(view.plans.moves, { planned: plan.moves, live: plan.moves });
    assert.equal(view.history.hours.points.at(-1)![1], 1);
    assert.deepEqual(view.plans.counts, [
      { result: 'kept', reason: 'no samples', count: 1 },
      { result: 'planned', reason: '', count: 1 },
    ]);
  });

  test('shows ranks that died as dead, also where the policy cannot plan around them', async () => {
    for (const policy of ['default', 'adaptive']) {
      const name = `died-${policy}`;
      await put(name, { numPhysicalExperts: 9, numRanks: 3, policy });
      await post(`${name}/ranks`, { dead: [1], reason: 'gone' });
      await post(`${name}/loads`, { step: 1, epoch: 0, loads: LOADS });
      const ranks = (await ask(base, 'GET', `/v1/groups/${name}/rank-loads`)).json;
      assert.deepEqual(ranks.deadRanks, [1]);
      assert.ok(ranks.balancedness <= 1);
      assert.equal((await shown(name)).group.ranks.dead, 1);
    }
    const { groups } = (await ask(base, 'GET', '/v1/dashboard')).json as OverviewView;
    assert.equal(groups.find(({ group }) => group === 'died-default')!.deadRanks, 1);
  });

  test('predicts of plans whose answer says nothing of balance, and of plans from the window', async () => {
    await put('ids');
    await post('ids/loads', { step: 1, epoch: 0, loads: LOADS });
    const { digest } = (await post('ids/plan', { planId: 1 })).json;
    await untilSo(async () => (await shown('ids')).plans.last[0]!.predicted !== null);
    const [{ predicted, digest: named }] = (await shown('ids')).plans.last as [
      DashboardView['plans']['last'][number],
    ];
    assert.equal(named, digest);
    assert.ok(predicted!.after > predicted!.before);
    await post('ids/dry-run', { dryRun: true });
    await post('ids/plan', { loads: LOADS });
    assert.deepEqual((await shown('ids')).plans.last[0]!.reason, 'dry run');
  });

  test('tells of changes as events: all of them together are what there is now', async () => {
    await put('told');
    const events = await listen(base, '/v1/groups/told/dashboard/events');
    const first = (await events.next())!;
    assert.equal(first.type, 'state');
    let view: DashboardView = first.data;
    const take = async (fits: (view: DashboardView) => boolean) => {
      let last = first;
      while (!fits(view)) {
        const event = (await events.next())!;
        assert.equal(event.type, 'update');
        view = mergeGroup(view, event.data);
        last = event;
      }
      return last;
    };
    await post('told/loads', { step: 1, epoch: 0, loads: LOADS });
    await take(({ now }) => now.newest?.step === 1);
    const { digest } = (await post('told/plan', { loads: LOADS })).json;
    await post('told/loads', { step: 2, epoch: 1, digest, loads: LOADS });
    await post('told/pause');
    const last = await take(
      ({ now, group, plans }) =>
        now.newest?.step === 2 && group.paused && (plans.live[0]?.realised.steps ?? 0) > 0,
    );
    const now = await shown('told');
    assert.deepEqual({ ...view, at: 0 }, { ...now, at: 0 });
    await events.close();
    // Whoever comes back gets what changed meanwhile, and no more.
    await post('told/resume');
    await put('other');
    const later = await listen(base, '/v1/groups/told/dashboard/events', last.id);
    const missed = (await later.next())!;
    assert.deepEqual([missed.type, Object.keys(missed.data)], ['update', ['at', 'group']]);
    assert.equal(missed.data.group.paused, false);
    await later.close();
  });

  test('lists all groups, and tells of those that come, change and go', async () => {
    await put('listed');
    const events = await listen(base, '/v1/dashboard/events');
    const first = (await events.next())!;
    let view: OverviewView = first.data;
    const row = (name: string) => view.groups.find(({ group }) => group === name);
    const take = async (fits: () => boolean) => {
      while (!fits()) view = mergeGroups(view, (await events.next())!.data);
    };
    assert.ok(row('listed') && first.type === 'state');
    await put('another', { dryRun: true });
    await post('listed/loads', { step: 1, epoch: 0, loads: LOADS });
    await post('listed/pause');
    await take(() => row('another') !== undefined && row('listed')!.paused);
    await take(() => row('listed')!.balancedness !== null);
    assert.deepEqual([row('another')!.dryRun, row('another')!.numRanks], [true, 2]);
    await ask(base, 'DELETE', '/v1/groups/another');
    await take(() => row('another') === undefined);
    const { json } = await ask(base, 'GET', '/v1/dashboard');
    assert.deepEqual({ ...view, at: 0 }, { ...json, at: 0 });
    await events.close();
  });

  test('ends the stream of a group that is removed, and lets only so many watch', async () => {
    await put('gone');
    const streams: Response[] = [];
    // Places of streams that were closed are given back as soon as the service sees it.
    await untilSo(async () => {
      const { status } = await fetch(`${base}/v1/groups/gone/dashboard/events`).then(async (answer) => {
        if (answer.ok) streams.push(answer);
        return answer;
      });
      return status === 429 && streams.length === 3;
    });
    const refused = await ask(base, 'GET', '/v1/dashboard/events', undefined, { accept: EVENTS });
    assertRefusal(refused, 'EPLB_LIMIT', 429, /3 watch already, limits\.maxWatchers/);
    assert.equal((await ask(base, 'GET', '/v1/groups/gone/dashboard')).status, 200);
    await ask(base, 'DELETE', '/v1/groups/gone');
    for (const stream of streams) await stream.text();
    const nobody = await ask(base, 'GET', '/v1/groups/gone/dashboard/events');
    assertRefusal(nobody, 'EPLB_NOT_FOUND', 404, /gone/);
    const events = await listen(base, '/v1/dashboard/events');
    await events.close();
  });

  test('hostile ids of events change nothing', async () => {
    await put('hostile');
    for (const id of ['-', 'x-99999999999999999999', '../..', 'a'.repeat(5000), '1-1']) {
      const events = await listen(base, '/v1/groups/hostile/dashboard/events', id);
      assert.equal((await events.next())!.type, 'state', id.slice(0, 20));
      await events.close();
      // A place is free again once the service has seen that.
      await untilSo(async () => {
        const answer = await fetch(`${base}/v1/groups/hostile/dashboard/events`);
        await answer.body!.cancel();
        return answer.ok;
      });
    }
    const query = await ask(base, 'GET', '/v1/groups/hostile/dashboard?rank=1');
    assertRefusal(query, 'EPLB_OPTION', 422, /no rank/);
  });
});

/** Asks again and again, with no more than a turn between, until it is so. */
async function untilSo(isSo: () => Promise<boolean>): Promise<void> {
  for (let looks = 0; !(await isSo()); looks++) {
    assert.ok(looks < 2000, 'never came');
    await new Promise((done) => setTimeout(done, 10));
  }
}

test('the page needs no token; what it shows does, and a token of a group shows that group', async () => {
  const token = 'a-token-of-some-length';
  const { address, close } = await serve.startService({ listen: '127.0.0.1:0', token });
  const with_ = (own: string) => ({ authorization: `Bearer ${own}` });
  const status = async (path: string, own?: string) =>
    (await ask(address, 'GET', path, undefined, own === undefined ? {} : with_(own))).status;
  try {
    for (const name of ['mine', 'yours']) {
      await ask(address, 'PUT', `/v1/groups/${name}`, SIZES, with_(token));
    }
    for (const path of ['/', '/dashboard/page.js', '/dashboard/charts.js', '/dashboard/page.css']) {
      assert.equal(await status(path), 200, path);
      assert.doesNotMatch(textOf(await ask(address, 'GET', path)), /"(mine|yours)"/);
    }
    const mine = (await ask(address, 'GET', '/v1/groups/mine/token', undefined, with_(token))).json.token;
    const own = ['', '/events'].map((path) => `/v1/groups/mine/dashboard${path}`);
    const others = ['/v1/dashboard', '/v1/dashboard/events', '/v1/groups/yours/dashboard'];
    for (const path of [...own, ...others, '/v1/groups/mine/rank-loads']) {
      assertRefusal(await ask(address, 'GET', path), 'EPLB_DENIED', 401, /token/);
    }
    assert.equal(await status(own[0]!, mine), 200);
    for (const path of [...others, '/v1/groups/yours/dashboard/events', '/v1/groups/yours/rank-loads']) {
      assert.equal(await status(path, mine), 401, path);
    }
    const events = await listen(address, own[1]!, undefined, with_(mine));
    assert.equal((await events.next())!.data.group.group, 'mine');
    await events.close();
    const all = await listen(address, '/v1/dashboard/events', undefined, with_(token));
    assert.equal((await all.next())!.data.groups.length, 2);
    // It ends when the service does.
    const ended = all.next();
    await close();
    assert.equal(await ended, undefined);
  } finally {
    await close();
  }
});

test('what a browser has of the page is not sent again, as long as it is the same', async () => {
  const running = await serve.startService({ listen: '127.0.0.1:0' });
  try {
    const tags = new Set<string>();
    const files = ['charts.js', 'page.js', 'report.css', 'page.css', 'licences.txt'];
    for (const path of ['/', ...files.map((name) => `/dashboard/${name}`)]) {
      const first = await ask(running.address, 'GET', path);
      const tag = first.headers.get('etag')!;
      assert.match(tag, /^"[\w-]{20,}"$/);
      tags.add(tag);
      // Asked for each time, so that a page is never of another version than its service.
      assert.equal(first.headers.get('cache-control'), 'no-cache');
      for (const known of [tag, `W/${tag}`, `"other", ${tag}`, '*']) {
        const again = await ask(running.address, 'GET', path, undefined, { 'if-none-match': known });
        assert.deepEqual([again.status, again.bytes.length], [304, 0], known);
        assert.equal(again.headers.get('etag'), tag);
        assert.equal(again.headers.get('cache-control'), 'no-cache');
        assert.equal(again.headers.get('content-type'), null);
      }
      for (const other of ['"other"', tag.slice(1, -1), `"x${tag.slice(1)}`]) {
        const whole = await ask(running.address, 'GET', path, undefined, { 'if-none-match': other });
        assert.deepEqual([whole.status, whole.bytes], [200, first.bytes], other);
      }
    }
    assert.equal(tags.size, 6);
    // What is of groups is kept nowhere.
    const groups = await ask(running.address, 'GET', '/v1/groups', undefined, { 'if-none-match': '*' });
    assert.deepEqual([groups.status, groups.headers.get('cache-control')], [200, 'no-store']);
  } finally {
    await running.close();
  }
});

test('what is told is bounded: of 92 layers on 512 ranks, and of 100 groups', async () => {
  const limits = { maxGroups: 101, maxMemoryBytes: 2 ** 30, maxRequestsPerSecond: 100_000 };
  const { address, close } = await serve.startService({ listen: '127.0.0.1:0', limits });
  try {
    const sizes = { numLayers: 92, numLogicalExperts: 512, numPhysicalExperts: 1024, numRanks: 512 };
    const topology = { windowSize: 1, numNodes: 64 };
    await ask(address, 'PUT', '/v1/groups/large', { ...sizes, ...topology });
    const loads = (seed: number) =>
      Array.from({ length: 92 }, (_, layer) =>
        Array.from({ length: 512 }, (_, expert) => (layer * 131 + expert * 17 + seed) % 1000),
      );
    const report = (step: number) =>
      ask(address, 'POST', '/v1/groups/large/loads', { step, epoch: 0, loads: loads(step) });
    await report(1);
    const events = await listen(address, '/v1/groups/large/dashboard/events');
    const first = (await events.next())!;
    const { rows, columns, layersPerRow, ranksPerColumn } = first.data.rankLoads;
    assert.deepEqual([rows, columns, layersPerRow, ranksPerColumn], [92, 128, 1, 4]);
    const ranks = (await ask(address, 'GET', '/v1/groups/large/rank-loads')).json;
    assert.deepEqual([ranks.loads.length, ranks.loads[91].length], [92, 512]);
    await report(2);
    const update = await events.until(({ data }) => data.rankLoads !== undefined);
    // A history that is full adds 80,000 bytes to the first: see dashboard-parts.test.ts.
    assert.ok(first.length < 25_000 && update.length < 25_000, `${first.length} ${update.length}`);
    await events.close();

    const small = { numLayers: 1, numLogicalExperts: 2, numPhysicalExperts: 2, numRanks: 1, windowSize: 1 };
    const names = Array.from({ length: 100 }, (_, i) => `group-${i}`);
    await Promise.all(names.map((name) => ask(address, 'PUT', `/v1/groups/${name}`, small)));
    const all = await listen(address, '/v1/dashboard/events');
    const state = (await all.next())!;
    assert.equal(state.data.groups.length, 101);
    const body = { step: 1, epoch: 0, loads: [[1, 2]] };
    await Promise.all(names.map((name) => ask(address, 'POST', `/v1/groups/${name}/loads`, body)));
    let told = 0;
    while (told < 100) {
      const { type, data, length } = (await all.next())!;
      told += data.groups.length;
      assert.ok(type === 'update' && length < 40_000, `${length}`);
    }
    assert.ok(state.length < 40_000, `${state.length}`);
    await all.close();
  } finally {
    await close();
  }
});

test('connections on which nothing was asked do not hold up the end of the service', {
  timeout: 30_000,
}, async () => {
  // Requests under way could take an hour.
  const limits = { drainTimeoutMs: 3_600_000 };
  const { address, close } = await serve.startService({ listen: '127.0.0.1:0', limits });
  const port = Number(new URL(address).port);
  const ended = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      return { closed: once(socket.resume(), 'close') };
    }),
  );
  assert.equal((await ask(address, 'GET', '/healthz')).status, 200);
  await Promise.all([close(), ...ended.map(({ closed }) => closed)]);
});
