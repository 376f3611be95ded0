/** The service over HTTP: groups, loads, plans, modes and limits. Every answer is one that is described. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DefaultEplbPolicy, ExpertLoadBalancer, ExpertMapping, survival } from 'expert-load-balancer';
import { ask, assertEachSeen, assertRefusal, loadBytes, openApi, serve } from '../helpers/service.ts';

/** What the watchdog has not flagged. */
const WATCHED = ['LoadsArrive', 'PlansSucceed', 'MigrationProceeds', 'GainMeetsForecast', 'RanksAgree'];
const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
const FIRST = [
  [0, 1, 2, 3, 0, 1],
  [0, 1, 2, 3, 0, 1],
];
const BYTES = { accept: 'application/octet-stream' };

describe('the service', () => {
  let base = '';
  let close = async () => {};
  const put = (name: string, more = {}) => ask(base, 'PUT', `/v1/groups/${name}`, { ...SIZES, ...more });
  const get = async (name: string) => (await ask(base, 'GET', `/v1/groups/${name}`)).json;
  const post = (path: string, body?: unknown, headers?: Record<string, string>) =>
    ask(base, 'POST', `/v1/groups/${path}`, body, headers);

  before(async () => {
    const limits = { maxBodyBytes: 20_000, maxGroups: 30, maxMemoryBytes: 10_000_000 };
    const running = await serve.startService({ listen: '127.0.0.1:0', limits });
    base = running.address;
    close = running.close;
  });
  after(async () => {
    await close();
    // epochs.test.ts and dashboard.test.ts see the others.
    assertEachSeen(
      (path) => path !== '/' && !/\/(epochs|events|ranks|token|dashboard|rank-loads)/.test(path),
    );
  });

  test('declares, lists and removes groups', async () => {
    assert.equal((await put('one')).status, 201);
    assert.equal((await put('one', { numNodes: 1 })).status, 200);
    assertRefusal(await put('one', { windowSize: 3 }), 'EPLB_CONFLICT', 409, /declared with other content/);
    const { conditions, epoch, digest, window, ...rest } = await get('one');
    assert.deepEqual([epoch, window.source, rest.numNodes, rest.policy], [0, 'empty', 1, 'default']);
    assert.equal(digest, ExpertMapping.fromPhysicalToLogical(FIRST, 4).digest());
    assert.deepEqual(
      conditions.filter((one: { status: boolean }) => one.status).map((one: { type: string }) => one.type),
      ['Ready', 'Offering', ...WATCHED],
    );
    const { groups } = (await ask(base, 'GET', '/v1/groups')).json;
    assert.deepEqual(groups, [{ group: 'one', epoch: 0, digest, paused: false, dryRun: false }]);
    assert.equal((await ask(base, 'DELETE', '/v1/groups/one')).status, 204);
    assertRefusal(await ask(base, 'DELETE', '/v1/groups/one'), 'EPLB_NOT_FOUND', 404, /no group 'one'/);
    assertRefusal(await ask(base, 'GET', '/v1/groups/one'), 'EPLB_NOT_FOUND', 404, /PUT/);
  });

  test('refuses groups that cannot be', async () => {
    const bad: [object, string, RegExp][] = [
      [{ numRanks: 4 }, 'EPLB_TOPOLOGY', /numPhysicalExperts: 6 is not a multiple of numRanks 4/],
      [{ numLayers: '2' }, 'EPLB_KIND', /group.numLayers: "2" is not a whole number/],
      [{ numLayers: 2.5 }, 'EPLB_NOT_WHOLE', /2.5/],
      [{ numLayer: 2 }, 'EPLB_OPTION', /did you mean numLayers/],
      [{ policy: 'best' }, 'EPLB_RANGE', /none of default, locality, adaptive/],
      [{ budgets: { maxMoves: 1 } }, 'EPLB_OPTION', /'adaptive' has/],
      [{ cost: 'h999:none' }, 'EPLB_RANGE', /h999/],
      [{ slotsPerRank: [3, 2] }, 'EPLB_TOPOLOGY', /slotsPerRank/],
      [{ topology: { ranks: 3 } }, 'EPLB_OPTION', /group\.numRanks: 2, but group\.topology has 3/],
      [{ topology: { rank: 2 } }, 'EPLB_OPTION', /group\.topology: .*did you mean ranks/],
      [{ topology: { ranks: 2, rankSpeed: { 1: 0.5 } } }, 'EPLB_TOPOLOGY', /policies that can .*adaptive/],
      [{ topology: 'devices.yaml' }, 'EPLB_KIND', /group\.topology: "devices\.yaml" is not an object/],
      [{ numRanks: undefined }, 'EPLB_KIND', /group: numRanks is missing/],
      [{ survive: 'rank' }, 'EPLB_OPTION', /'adaptive' can/],
      [{ survive: 'rack', policy: 'adaptive' }, 'EPLB_RANGE', /group\.survive: "rack" is not a level/],
    ];
    for (const [more, code, message] of bad) assertRefusal(await put('bad', more), code, 422, message);
    assertRefusal(await put('.hidden'), 'EPLB_RANGE', 422, /does not match/);
    assertRefusal(await put('bad', { windowSize: 10_000_000 }), 'EPLB_LIMIT', 429, /maxMemoryBytes/);
    // For its last plans: the window and all tables would do with half of it.
    const large = { numLayers: 100, numLogicalExperts: 128, numPhysicalExperts: 128, windowSize: 1 };
    assertRefusal(await put('bad', large), 'EPLB_LIMIT', 429, /maxMemoryBytes/);
    assertRefusal(await ask(base, 'GET', '/v1/groups/bad'), 'EPLB_NOT_FOUND', 404, /bad/);
  });

  test('plans for what a topology says of the devices', async () => {
    const topology = {
      ...{ ranks: 4, nodes: ['0-1', '2-3'], slotsPerRank: 2, rankSpeed: { 1: 0.5 }, deadRanks: 3 },
      ...{ failureDomains: { rack: ['0', '1-3'] }, linkClasses: { node: 'intraNode', other: 'interNode' } },
    };
    const { numLayers, numLogicalExperts } = SIZES;
    const group = { numLayers, numLogicalExperts, policy: 'adaptive', survive: 'rack', topology };
    const declare = (more = {}) => ask(base, 'PUT', '/v1/groups/devices', { ...group, ...more });
    assert.equal((await declare()).status, 201);
    assert.equal((await declare({ numRanks: 4, numNodes: 2 })).status, 200, 'the same in other words');
    const shown = await get('devices');
    assert.deepEqual([shown.numRanks, shown.numNodes, shown.numPhysicalExperts], [4, 2, 8]);
    assert.deepEqual([shown.topology, shown.survive], [topology, 'rack']);
    const { json } = await post('devices/plan', { loads: LOADS });
    for (const row of json.physicalToLogical) assert.deepEqual(row.slice(6), [-1, -1], 'rank 3 is dead');
    const mapping = ExpertMapping.fromPhysicalToLogical(json.physicalToLogical);
    const racks = { numRanks: 4, failureDomains: { rack: [0, 1, 1, 1] }, deadRanks: [3] };
    const sizes = { ...SIZES, ...racks, numPhysicalExperts: 8, numNodes: 1, numGroups: 1 };
    const { overall } = survival(mapping, { level: 'rack', topology: sizes, loads: LOADS });
    assert.deepEqual([overall.surviving, overall.mostSurviving], [4, 4]);
  });

  test('plans what the library plans, in JSON and in bytes, the same bytes for all', async () => {
    await put('plans');
    const balancer = new ExpertLoadBalancer({ ...SIZES, policy: new DefaultEplbPolicy(), threads: 0 });
    const wanted = await balancer.plan(LOADS);
    await balancer.close();
    const answers = await Promise.all([1, 2, 3, 4].map(() => post('plans/plan', { loads: LOADS })));
    for (const { bytes } of answers) assert.deepEqual(bytes, answers[0]!.bytes);
    const { json } = answers[0]!;
    assert.deepEqual([json.status, json.epoch, json.digest], ['planned', 0, wanted.digest()]);
    assert.deepEqual(json.physicalToLogical, wanted.toJSON().phyToLog);
    assert.equal(json.moves, wanted.movesFrom(ExpertMapping.fromPhysicalToLogical(FIRST, 4), 2));
    assert.ok(json.balancedness.after > json.balancedness.before);
    const { numPlanned } = (await get('plans')).counters;
    assert.equal(numPlanned, 1, 'four ranks asked for one plan');

    const binary = await post('plans/plan', loadBytes(SIZES, LOADS, FIRST), BYTES);
    assert.deepEqual(binary.bytes, wanted.toBytes());
    assert.equal(binary.headers.get('eplb-digest'), wanted.digest());
    assert.equal(binary.headers.get('eplb-status'), 'planned');

    const again = await post('plans/plan', { loads: LOADS, previous: json.physicalToLogical });
    assert.deepEqual([again.json.status, again.json.reason], ['kept', 'unchanged']);
    assert.equal(again.json.digest, json.digest);

    const moved = await post('plans/plan', { loads: LOADS, transfer: true });
    assert.deepEqual(moved.json.transfer.digests, { from: json.previousDigest, to: json.digest });
    const transferred = moved.json.transfer.layers.flatMap(({ rounds }: { rounds: object[][] }) =>
      rounds.flat(),
    );
    assert.ok(transferred.length > 0 && transferred.length <= json.moves);
  });

  test('refuses questions that no plan answers, and changes nothing', async () => {
    await put('asked');
    const before = await get('asked');
    const bad: [unknown, string, number, RegExp][] = [
      [{ loads: [[1, 2, 3, 4]] }, 'EPLB_SHAPE', 422, /has 1 layers, not 2/],
      [{ loads: [...LOADS.slice(1), [1, 2, 3, -4]] }, 'EPLB_LOAD', 422, /layer 1, index 3: -4/],
      [
        {
          loads: [
            [1, 2, 3, '4'],
            [1, 2, 3, 4],
          ],
        },
        'EPLB_KIND',
        422,
        /layer 0, index 3/,
      ],
      [{ loads: LOADS, previous: [[0, 1, 2, 3, 0, 1]] }, 'EPLB_SHAPE', 422, /plan.previous/],
      [{ loads: LOADS, previous: [[0, 1, 2, 2, 0, 1], FIRST[1]] }, 'EPLB_MAPPING', 422, /expert 3/],
      [{ loads: LOADS, generation: 1 }, 'EPLB_STALE', 409, /1 is not 0, the live one/],
      [{}, 'EPLB_OPTION', 422, /planId/],
      [{ load: LOADS }, 'EPLB_OPTION', 422, /did you mean loads/],
      ['{"loads": [[', 'EPLB_FORMAT', 422, /not JSON/],
      ['[]', 'EPLB_KIND', 422, /not an object/],
      [new Uint8Array(30), 'EPLB_FORMAT', 422, /does not begin with 'EPLB'/],
      [loadBytes(SIZES, LOADS, FIRST, 9), 'EPLB_FORMAT', 422, /kind 9/],
      [loadBytes({ ...SIZES, numLayers: 3 }, LOADS), 'EPLB_SHAPE', 422, /3 x 6 x 4/],
      [loadBytes(SIZES, LOADS).subarray(0, 40), 'EPLB_SHAPE', 422, /40 bytes, not 52/],
      ['x'.repeat(20_001), 'EPLB_TOO_LARGE', 413, /20000 bytes/],
    ];
    for (const [body, code, status, message] of bad) {
      assertRefusal(await post('asked/plan', body), code, status, message);
    }
    assertRefusal(await post('asked/plan', { planId: '' }), 'EPLB_RANGE', 422, /planId: is empty/);
    assertRefusal(await post('none/plan', { loads: LOADS }), 'EPLB_NOT_FOUND', 404, /none/);
    const wrongType = await post('asked/plan', '{}', { 'content-type': 'text/plain' });
    assertRefusal(wrongType, 'EPLB_FORMAT', 415, /text\/plain is not application\/json/);
    assertRefusal(await post('asked/plan?step=1', { loads: LOADS }), 'EPLB_OPTION', 422, /no step/);
    assertRefusal(await ask(base, 'PATCH', '/v1/groups/asked'), 'EPLB_OPTION', 405, /PUT, GET, DELETE/);
    assertRefusal(await ask(base, 'GET', '/v2/groups'), 'EPLB_NOT_FOUND', 404, /openapi/);
    const { secondsSincePlan: _, ...left } = await get('asked');
    const { secondsSincePlan: _also, ...was } = before;
    assert.deepEqual(left, was);
  });

  test('records loads of experts and slots, whole and in parts', async () => {
    await put('loads');
    assert.equal((await post('loads/loads', { step: 1, epoch: 0, loads: LOADS })).json.status, 'recorded');
    const half = [
      [1, 2, 3],
      [4, 5, 6],
    ];
    const part = (rank: number, more = {}) =>
      post('loads/loads', { step: 2, epoch: 0, rank, physical: half, ...more });
    assert.equal((await part(0)).json.status, 'part');
    assert.equal((await part(0)).json.status, 'again');
    assertRefusal(await part(1, { epoch: 1 }), 'EPLB_STALE', 409, /epoch 1 is not 0/);
    const wrongKind = await post('loads/loads', { step: 2, epoch: 0, rank: 1, loads: LOADS });
    assertRefusal(wrongKind, 'EPLB_CONFLICT', 409, /as physical loads/);
    assertRefusal(await part(2), 'EPLB_RANGE', 422, /rank 2 is not from 0 to 1/);
    assert.equal((await get('loads')).window.steps, 1);
    assert.equal((await part(1)).json.status, 'recorded');
    assertRefusal(await part(1), 'EPLB_STALE', 409, /step 2 is not after 2/);
    const bytes = loadBytes(SIZES, LOADS);
    assert.equal((await post('loads/loads?step=3&epoch=0', bytes)).json.status, 'recorded');
    const { window, counters } = await get('loads');
    assert.deepEqual([window.steps, window.lastStep, counters.numSteps], [3, 3, 3]);
    // The mean of the three steps is what a plan without loads is made from.
    const mean = LOADS.map((row, layer) => {
      const [a, b, c] = half[layer]!;
      const slots = [a!, b!, c!, a!, b!, c!];
      const experts = [0, 1, 2, 3].map((expert) =>
        FIRST[layer]!.reduce((sum, own, slot) => sum + (own === expert ? slots[slot]! : 0), 0),
      );
      return row.map((load, expert) => (2 * load + experts[expert]!) / 3);
    });
    const byId = (await post('loads/plan', { planId: 'step 3' })).json;
    const byLoads = (await post('loads/plan', { loads: mean })).json;
    assert.equal(byId.digest, byLoads.digest);
    const bad: [object, string, RegExp][] = [
      [{ epoch: 0, loads: LOADS }, 'EPLB_KIND', /step is missing/],
      [{ step: 9, physical: FIRST }, 'EPLB_KIND', /epoch is missing/],
      [{ step: 9, epoch: 0 }, 'EPLB_KIND', /loads is missing/],
      [{ step: 9, epoch: 0, loads: LOADS, physical: FIRST }, 'EPLB_OPTION', /not both/],
      [{ step: -1, epoch: 0, loads: LOADS }, 'EPLB_RANGE', /-1/],
      [
        {
          step: 9,
          epoch: 0,
          loads: [
            [1e30, 0, 0, 0],
            [0, 0, 0, 0],
          ],
        },
        'EPLB_LOAD',
        /2 \*\* 53/,
      ],
      [{ step: 9, epoch: 0, physical: half }, 'EPLB_SHAPE', /2 x 3, not 2 x 6/],
    ];
    for (const [body, code, message] of bad)
      assertRefusal(await post('loads/loads', body), code, 422, message);
    assert.equal((await get('loads')).window.steps, 3);
  });

  test('raises the epoch when the engine says what went live', async () => {
    await put('live');
    const { digest, physicalToLogical } = (await post('live/plan', { loads: LOADS })).json;
    const report = (body: object) => post('live/loads', body);
    assertRefusal(await report({ epoch: 0, digest }), 'EPLB_CONFLICT', 409, /say epoch 1/);
    assertRefusal(await report({ epoch: 2, digest }), 'EPLB_STALE', 409, /physicalToLogical/);
    assertRefusal(await report({ epoch: 1, digest: '0'.repeat(64) }), 'EPLB_STALE', 409, /digest of a plan/);
    // Nothing of a report is taken whose loads are bad.
    const bad = await report({ epoch: 1, digest, step: 1, loads: [[1, 2, 3, -1], LOADS[1]] });
    assertRefusal(bad, 'EPLB_LOAD', 422, /index 3/);
    assert.equal((await get('live')).epoch, 0);
    const taken = (await report({ epoch: 1, digest, step: 1, loads: LOADS })).json;
    assert.deepEqual(taken, { status: 'recorded', epoch: 1, digest });
    const again = (await report({ epoch: 1, digest })).json;
    assert.deepEqual([again.status, again.epoch], ['noted', 1]);
    const kept = (await post('live/plan', { loads: LOADS })).json;
    assert.deepEqual([kept.status, kept.epoch, kept.digest], ['kept', 1, digest]);
    const mapping = await ask(base, 'GET', '/v1/groups/live/mapping');
    assert.deepEqual([mapping.json.epoch, mapping.json.physicalToLogical], [1, physicalToLogical]);
    const bytes = await ask(base, 'GET', '/v1/groups/live/mapping', undefined, BYTES);
    assert.equal(ExpertMapping.fromBytes(bytes.bytes).digest(), digest);
    // The engine went its own way: its mapping is live, whatever was planned.
    const own = (await report({ epoch: 5, physicalToLogical: FIRST })).json;
    assert.equal(own.epoch, 5);
    // Loads of slots that were measured before are read through the mapping of then.
    const late = (await report({ epoch: 1, step: 2, physical: physicalToLogical })).json;
    assert.deepEqual([late.status, late.epoch], ['recorded', 5]);
    const ancient = await report({ epoch: 3, step: 3, physical: physicalToLogical });
    assertRefusal(ancient, 'EPLB_STALE', 409, /epoch 3 is no longer known/);
    const { counters, gains } = await get('live');
    assert.ok(counters.numMoves > 0 && gains.length === 2);
  });

  test('lets the first answer for a planId stand', async () => {
    await put('ids');
    const empty = (await post('ids/plan', { planId: 1 })).json;
    assert.deepEqual([empty.status, empty.reason], ['kept', 'no samples']);
    await post('ids/loads', { step: 1, epoch: 0, loads: LOADS });
    assert.equal((await post('ids/plan', { planId: 1 })).json.reason, 'no samples');
    const answers = await Promise.all([1, 2, 3].map(() => post('ids/plan', { planId: 'b' })));
    await post('ids/loads', { step: 2, epoch: 0, loads: LOADS.map((row) => [...row].reverse()) });
    answers.push(await post('ids/plan', { planId: 'b' }));
    for (const { bytes } of answers) assert.deepEqual(bytes, answers[0]!.bytes);
    assert.notEqual((await post('ids/plan', { planId: 'c' })).json.digest, answers[0]!.json.digest);
  });

  test('pauses, resumes, and only shows plans in a dry run', async () => {
    await put('modes');
    assert.equal((await post('modes/pause')).json.paused, true);
    const paused = (await post('modes/plan', { loads: LOADS })).json;
    assert.deepEqual([paused.status, paused.reason, paused.moves], ['kept', 'paused', 0]);
    assert.deepEqual(paused.physicalToLogical, FIRST);
    for (const [body, code, message] of [
      [{ reason: 'a' }, 'EPLB_OPTION', /pause: there is no option "reason"; there are none/],
      [[], 'EPLB_KIND', /pause: .* is not an object/],
    ] as const) {
      assertRefusal(await post('modes/pause', body), code, 422, message);
    }
    assert.equal((await post('modes/resume', {})).json.paused, false);
    const offered = (await post('modes/plan', { loads: LOADS })).json;
    assert.equal(offered.status, 'planned');
    const dry = (await post('modes/dry-run', { dryRun: true })).json;
    assert.equal(dry.dryRun, true);
    const shown = (await post('modes/plan', { loads: LOADS })).json;
    assert.deepEqual([shown.status, shown.reason], ['kept', 'dry run']);
    assert.deepEqual(shown.physicalToLogical, FIRST);
    assert.equal(shown.dryRun.digest, offered.digest);
    assertRefusal(await post('modes/dry-run', { dryRun: 1 }), 'EPLB_KIND', 422, /dryRun/);
    assert.equal((await put('shown', { dryRun: true })).json.dryRun, true);
  });

  test('plans from steps and within budgets where the policy does', async () => {
    await put('steps', { policy: 'adaptive', budgets: { maxMoves: 1 }, cost: 'h200:deepseek-v3' });
    const many = LOADS.map((row) => row.map((load) => load * 10_000));
    const { json } = await post('steps/plan', {
      samples: Array.from({ length: 8 }, () => many),
      transfer: true,
    });
    assert.ok(json.moves <= 1);
    if (json.status === 'planned') assert.equal(json.forecast.moves, json.moves);
    const ragged = await post('steps/plan', { samples: [many, [[1, 2, 3, 4]]] });
    assertRefusal(ragged, 'EPLB_SHAPE', 422, /samples\[1\]/);
  });

  test('ends a body that has no length, and is too large', async () => {
    await put('long');
    const part = new Uint8Array(8000);
    let numParts = 0;
    const body = new ReadableStream({
      pull: (to) => (numParts++ < 5 ? to.enqueue(part) : to.close()),
    });
    const headers = { 'content-type': 'application/octet-stream' };
    const init = { method: 'POST', headers, body, duplex: 'half' };
    const answer = await fetch(`${base}/v1/groups/long/plan`, init as RequestInit);
    assert.deepEqual(
      [answer.status, ((await answer.json()) as { code: string }).code],
      [413, 'EPLB_TOO_LARGE'],
    );
  });

  test('keeps to its limits', async () => {
    let refused = await put('many-0');
    for (let i = 1; refused.status === 201; i++) refused = await put(`many-${i}`);
    assertRefusal(refused, 'EPLB_LIMIT', 429, /maxGroups/);
    const page = await ask(base, 'GET', '/v1/groups', undefined, { origin: 'http://example.org' });
    assertRefusal(page, 'EPLB_DENIED', 403, /web pages/);
    assert.equal((await ask(base, 'GET', '/healthz')).json.status, 'ok');
    assert.equal((await ask(base, 'GET', '/metrics')).status, 200);
    assert.deepEqual((await ask(base, 'GET', '/openapi.json')).json, openApi);
  });
});

test('lets nobody in without the token, and not too many at once', async () => {
  const token = 'a-token-of-some-length';
  const { address, close } = await serve.startService({
    ...{ listen: '127.0.0.1:0', token },
    limits: { maxRequestsPerSecond: 3 },
  });
  try {
    const listed = (authorization: string) => ask(address, 'GET', '/v1/groups', undefined, { authorization });
    const bare = await ask(address, 'GET', '/v1/groups');
    assertRefusal(bare, 'EPLB_DENIED', 401, /token/);
    assert.equal(bare.headers.get('www-authenticate'), 'Bearer');
    assertRefusal(await listed(`Bearer ${token}x`), 'EPLB_DENIED', 401, /token/);
    assertRefusal(await listed(`Basic ${token}`), 'EPLB_DENIED', 401, /token/);
    assert.equal((await ask(address, 'GET', '/healthz')).status, 200);
    const statuses = await Promise.all(
      Array.from({ length: 20 }, async () => (await listed(`Bearer ${token}`)).status),
    );
    assert.ok(statuses.includes(200) && statuses.includes(429), String(statuses));
  } finally {
    await close();
  }
});
