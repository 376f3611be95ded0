/** Metrics and events: of a service, and of a balancer without one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertOpenMetrics, checkByPromtool, seriesOf } from '../helpers/promtool.ts';
import { ask, serve } from '../helpers/service.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
const OPEN_METRICS = { accept: 'application/openmetrics-text; version=1.0.0' };

const textOf = ({ bytes }: { bytes: Uint8Array }) => new TextDecoder().decode(bytes);

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
    assert.equal(of('move_bytes_total', ',stage="planned"'), plan.forecast.bytes);
    assert.equal(of('active_experts'), 4);
    assert.ok(of('predicted_gain')! > 0 && Number.isFinite(of('realised_gain')));
    assert.ok(of('step_imbalance_seconds')! >= 0);
    assert.ok(of('balancedness_ratio_of_sums')! > 0 && of('balancedness_ratio_of_sums')! <= 1);
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
    near(series.get('eplb_balancedness_ratio_of_sums{group="g"}'));
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

test('what a dead rank holds is lost until a repair: no ratio is above 1, it is not the worst', async () => {
  const running = await serve.startService({ listen: '127.0.0.1:0' });
  try {
    const { address } = running;
    const sizes = { numLayers: 1, numLogicalExperts: 4, numRanks: 4, cost: 'h200:deepseek-v3', dryRun: true };
    // Whether the policy can plan for it, and has room, or not: nobody offers a repair, what is live stays.
    for (const [policy, numPhysicalExperts] of [
      ['adaptive', 4],
      ['adaptive', 8],
      ['default', 4],
      ['default', 8],
    ]) {
      const group = `${policy}-${numPhysicalExperts}`;
      const path = `/v1/groups/${group}`;
      await ask(address, 'PUT', path, { ...sizes, policy, numPhysicalExperts });
      const physicalToLogical = [[0, 1, 2, 3].flatMap((e) => (numPhysicalExperts === 4 ? [e] : [e, e]))];
      await ask(address, 'POST', `${path}/loads`, { epoch: 1, physicalToLogical });
      await ask(address, 'POST', `${path}/loads`, { step: 1, epoch: 1, loads: [[20, 30, 900, 10]] });
      await ask(address, 'POST', `${path}/ranks`, { dead: [2], reason: 'its host is gone' });
      const read = async () => {
        const series = seriesOf(textOf(await ask(address, 'GET', '/metrics?ranks=true')));
        return (name: string, more = '') => series.get(`eplb_${name}{group="${group}"${more}}`);
      };
      const of = await read();
      const balancedness = of('balancedness_ratio_of_sums');
      assert.ok(Math.abs(balancedness! - 20 / 30) < 1e-6, `${group}: ${balancedness}`);
      assert.equal(of('worst_rank'), 1);
      const ratios = [0, 1, 2, 3].map((rank) => of('rank_load_ratio', `,rank="${rank}"`));
      assert.deepEqual(ratios, [1, 1.5, 0, 0.5]);
      assert.deepEqual([of('ranks', ',state="live"'), of('ranks', ',state="dead"')], [3, 1]);
      const { json } = await ask(address, 'GET', `${path}/dashboard`);
      assert.equal(json.now.windowMean.balancedness, 0.66667);
      assert.equal(json.now.windowMean.worstRank, 1);
      // With none left there is nothing to tell.
      await ask(address, 'POST', `${path}/ranks`, { dead: [0, 1, 3] });
      await ask(address, 'POST', `${path}/loads`, { step: 2, epoch: 1, loads: [[20, 30, 900, 10]] });
      const none = await read();
      assert.equal(none('balancedness_ratio_of_sums'), undefined);
      assert.equal(none('ranks', ',state="dead"'), 4);
      const last = await ask(address, 'GET', `${path}/dashboard`);
      assert.equal(last.status, 200);
      assert.equal(last.json.now.windowMean, null);
      const loads = await ask(address, 'GET', `${path}/rank-loads`);
      assert.deepEqual(loads.json.deadRanks, [0, 1, 2, 3]);
      assert.deepEqual(loads.json.means, [0]);
    }
  } finally {
    await running.close();
  }
});
