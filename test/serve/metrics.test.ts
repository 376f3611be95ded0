/** Metrics and events: of a service, and of a balancer without one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { AdaptiveEplbPolicy, AsyncExpertRebalancer, ExpertLoadBalancer } from 'expert-load-balancer';
import { ask, serve } from '../helpers/service.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
const OPEN_METRICS = { accept: 'application/openmetrics-text; version=1.0.0' };
const PROMTOOL = '/usr/bin/promtool';

const textOf = ({ bytes }: { bytes: Uint8Array }) => new TextDecoder().decode(bytes);

/** Series by name and labels. */
function seriesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

/** The rules of OpenMetrics that a scraper relies on. */
function assertOpenMetrics(text: string): void {
  assert.ok(text.endsWith('# EOF\n'));
  const types = new Map<string, string>();
  for (const line of text.split('\n').slice(0, -2)) {
    const [mark, what, name = '', type = ''] = line.split(' ');
    if (mark === '#') {
      assert.ok(what === 'HELP' || what === 'TYPE', line);
      if (what === 'TYPE') types.set(name, type);
      continue;
    }
    const series = /^[a-z_]+/.exec(line)![0];
    const [family, kind] = [...types].at(-1)!;
    const ends =
      kind === 'counter' ? ['_total'] : kind === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    assert.ok(
      ends.some((end) => series === family + end),
      `${series} in ${family}`,
    );
    assert.ok(series.startsWith('eplb_'));
    assert.doesNotMatch(family, /_(total|count|sum|bucket|milliseconds|ms)$/);
  }
}

function checkByPromtool(text: string): void {
  if (!existsSync(PROMTOOL)) {
    assert.equal(process.env.NEED_PROMTOOL, undefined, 'promtool has to be here');
    return;
  }
  const { status, stdout, stderr } = spawnSync(PROMTOOL, ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
  });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
}

test('a service shows what its groups do, by the rules, in at most 60 series each', async () => {
  const { address, close } = await serve.startService({ listen: '127.0.0.1:0' });
  const post = (path: string, body?: unknown) => ask(address, 'POST', `/v1/groups/${path}`, body);
  try {
    const empty = await ask(address, 'GET', '/metrics');
    checkByPromtool(textOf(empty));
    const declared = { ...SIZES, policy: 'adaptive', cost: 'h200:deepseek-v3' };
    await ask(address, 'PUT', '/v1/groups/g', declared);
    await ask(address, 'PUT', '/v1/groups/"odd', SIZES);
    const heavy = LOADS.map((row) => row.map((load) => load * 5000));
    await post('g/plan', { planId: 'none yet' });
    for (let step = 1; step <= 4; step++) await post('g/loads', { step, epoch: 0, loads: heavy });
    const plan = (await post('g/plan', { loads: heavy })).json;
    assert.equal(plan.status, 'planned');
    await post('g/loads', { step: 5, epoch: 1, digest: plan.digest, loads: heavy });
    for (let step = 6; step <= 9; step++) await post('g/loads', { step, epoch: 1, loads: heavy });
    await post('g/plan', { loads: heavy });
    await post('g/pause');
    await post('g/plan', { loads: LOADS });
    const answer = await ask(address, 'GET', '/metrics');
    assert.match(answer.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/);
    const series = seriesOf(textOf(answer));
    checkByPromtool(textOf(answer));
    const open = await ask(address, 'GET', '/metrics', undefined, OPEN_METRICS);
    assert.match(open.headers.get('content-type')!, /^application\/openmetrics-text/);
    assertOpenMetrics(textOf(open));
    assert.deepEqual([...seriesOf(textOf(open)).keys()].sort(), [...series.keys()].sort());
    const own = [...series.keys()].filter((key) => key.includes('group="g"') && !key.includes('_bucket'));
    assert.ok(own.length > 20 && own.length <= 60, String(own.length));
    const of = (name: string, labels = '') => series.get(`eplb_${name}{group="g"${labels}}`);
    assert.equal(of('epoch'), 1);
    assert.equal(of('paused'), 1);
    assert.equal(of('steps_total'), 9);
    assert.equal(of('window_steps'), 9);
    assert.equal(of('plans_total', ',result="planned",reason=""'), 1);
    assert.equal(of('plans_total', ',result="kept",reason="no samples"'), 1);
    assert.equal(of('plans_total', ',result="kept",reason="paused"'), 1);
    assert.equal(of('moves_total', ',stage="planned"'), plan.moves);
    assert.equal(of('moves_total', ',stage="live"'), plan.moves);
    assert.equal(of('planned_move_bytes_total'), plan.forecast.bytes);
    assert.equal(of('active_experts'), 4);
    assert.ok(of('predicted_gain')! > 0 && Number.isFinite(of('realised_gain')));
    assert.ok(of('imbalance_seconds')! >= 0);
    assert.ok(of('window_balancedness_ratio')! > 0 && of('window_balancedness_ratio')! <= 1);
    assert.ok([0, 1].includes(of('worst_layer')!) && [0, 1].includes(of('worst_rank')!));
    assert.ok(of('plan_age_seconds')! >= 0 && of('load_age_seconds')! >= 0);
    assert.equal(of('planning_seconds_count'), 4);
    await ask(address, 'DELETE', '/v1/groups/g');
    const left = [...seriesOf(textOf(await ask(address, 'GET', '/metrics'))).keys()];
    assert.deepEqual(
      left.filter((key) => key.includes('group="g"')),
      [],
    );
  } finally {
    await close();
  }
});

test('a balancer without a service has metrics and events too', async () => {
  const policy = new AdaptiveEplbPolicy({ price: 0, confidence: 0 });
  const balancer = new ExpertLoadBalancer({ ...SIZES, policy, threads: 0 });
  const rebalancer = new AsyncExpertRebalancer({
    balancer,
    rebalanceInterval: 1000,
    loadThreshold: 1,
    autoCommit: true,
  });
  const events: unknown[] = [];
  const listener = (event: unknown) => events.push(event);
  for (const name of Object.values(serve.CHANNELS)) subscribe(name, listener);
  try {
    const observation = serve.observeBalancer(balancer, { group: 'decode', rebalancer });
    assert.equal(serve.observeBalancer(balancer), observation, 'watched once');
    for (const [layer, row] of LOADS.entries()) balancer.recordLogicalLoad(layer, row);
    balancer.advanceWindow();
    assert.equal((await rebalancer.rebalanceAsync()).status, 'committed');
    assert.equal((await rebalancer.rebalanceAsync()).status, 'skipped');
    const text = await serve.openMetrics(balancer);
    assertOpenMetrics(text);
    const series = seriesOf(text);
    assert.equal(series.get('eplb_epoch{group="decode"}'), 1);
    assert.equal(series.get('eplb_steps_total{group="decode"}'), 1);
    assert.equal(series.get('eplb_plans_total{group="decode",result="planned",reason=""}'), 1);
    checkByPromtool(await observation.openMetrics('prometheus'));
    const [load, commit, plan, kept] = events as Record<string, unknown>[];
    assert.deepEqual(load, { group: 'decode', numSteps: 1 });
    assert.equal(commit!.digest, balancer.mapping.digest());
    assert.deepEqual([plan!.status, kept!.status, events.length], ['planned', 'kept', 4]);
    observation.close();
    balancer.advanceWindow();
    assert.equal(events.length, 4);
    assert.throws(() => serve.observeBalancer({} as ExpertLoadBalancer), /not an ExpertLoadBalancer/);
  } finally {
    for (const name of Object.values(serve.CHANNELS)) unsubscribe(name, listener);
    await balancer.close();
  }
});

test('ranks that are slow or dead count as they are: in metrics, and beside a plan', async () => {
  const running = await serve.startService({ listen: '127.0.0.1:0' });
  try {
    const ranks = { numRanks: 3, rankSpeed: [0.5, 1, 1], deadRanks: [2] };
    const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 9, policy: 'adaptive' };
    await ask(running.address, 'PUT', '/v1/groups/g', { ...sizes, ...ranks });
    // At first rank 0 has 0, 1 and 2, rank 1 has 3, 0 and 1: loads 8 and 15, times 16 and 15.
    const loads = [[6, 6, 2, 9]];
    await ask(running.address, 'POST', '/v1/groups/g/loads', { step: 1, epoch: 0, loads });
    const series = seriesOf(textOf(await ask(running.address, 'GET', '/metrics')));
    const balancedness = 23 / 1.5 / 16;
    const near = (value: number | undefined) =>
      assert.ok(Math.abs(value! - balancedness) < 1e-6, `${value} is not ${balancedness}`);
    near(series.get('eplb_window_balancedness_ratio{group="g"}'));
    assert.equal(series.get('eplb_worst_rank{group="g"}'), 0);
    const { json } = await ask(running.address, 'POST', '/v1/groups/g/plan', { loads: [[600, 0, 600, 0]] });
    assert.equal((json as { status: string }).status, 'planned');
    const { before } = (json as { balancedness: { before: number } }).balancedness;
    // Rank 0 has 300 and 600 of 1,200, and takes twice as long for them.
    assert.ok(Math.abs(before - 1200 / 1.5 / 1800) < 1e-6, `${before}`);
  } finally {
    await running.close();
  }
});
