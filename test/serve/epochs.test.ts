/** Epochs over HTTP: offers, acknowledgements, ranks, leases and events. Every answer is described. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { RankMachine } from 'expert-load-balancer/migration';
import { listen } from '../helpers/events.ts';
import { type Answer, ask, assertEachSeen, assertRefusal, serve } from '../helpers/service.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 9, numRanks: 3 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
const OTHER = LOADS.map((row) => [...row].reverse());

describe('epochs of a group', () => {
  let base = '';
  let close = async () => {};
  const put = (name: string, more = {}) => ask(base, 'PUT', `/v1/groups/${name}`, { ...SIZES, ...more });
  const get = async (path: string) => (await ask(base, 'GET', `/v1/groups/${path}`)).json;
  const post = (path: string, body?: unknown) => ask(base, 'POST', `/v1/groups/${path}`, body);
  const planned = async (name: string, loads = LOADS): Promise<string> =>
    (await post(`${name}/plan`, { loads })).json.digest;
  /** All ranks begin a step at one time. */
  let step = 0;
  /** Ranks that speak for themselves, by the protocol's own machine, one heartbeat after the other. */
  const joined = async (name: string, numRanks = SIZES.numRanks) => {
    const { digest, epoch } = await get(name);
    const machines = Array.from(
      { length: numRanks },
      () => new RankMachine({ numLayers: 2, incarnation: 1, holds: { epoch, digest }, leadSteps: 1 }),
    );
    await rounds(name, machines, 2);
    return machines;
  };
  /** Some signs of life of all ranks, which do what they are told at once. */
  const rounds = async (name: string, machines: readonly RankMachine[], numRounds: number) => {
    for (let i = 0; i < numRounds; i++) {
      step++;
      for (const [rank, machine] of machines.entries()) await sign(name, rank, machine);
    }
  };
  const sign = async (name: string, rank: number, machine: RankMachine): Promise<Answer> => {
    const [message] = machine.tick().messages;
    const { incarnation } = message!;
    const answer = await post(`${name}/ranks/${rank}/heartbeat`, { incarnation, message });
    assert.equal(answer.status, 200, JSON.stringify(answer.json));
    for (const order of answer.json.messages) {
      for (const action of machine.receive(order).actions) {
        if (action.type === 'prepare') machine.prepared(action.token, action.layers);
        else if (action.type === 'restore') machine.restored(action);
      }
    }
    for (const action of machine.beginStep(step).actions) {
      if (action.type === 'swap') machine.swapped(action.token);
    }
    return answer;
  };

  before(async () => {
    const limits = { maxGroups: 30, maxListeners: 3 };
    const onFault = (error: unknown) => assert.fail(String(error));
    const running = await serve.startService({ listen: '127.0.0.1:0', limits }, { onFault });
    base = running.address;
    close = running.close;
  });
  after(async () => {
    await close();
    assertEachSeen((path) => /\/(epochs|(?<!dashboard\/)events|ranks)/.test(path));
  });

  test('an engine that speaks for its ranks offers, acknowledges and activates', async () => {
    await put('spoken');
    const digest = await planned('spoken');
    const offered = await post('spoken/epochs', { digest });
    assert.equal(offered.status, 201);
    const { epoch, state, layers, ranks, waitingFor } = offered.json;
    assert.deepEqual(
      [epoch, state, layers, ranks, waitingFor],
      [1, 'preparing', [0, 1], [0, 1, 2], [0, 1, 2]],
    );
    assert.equal((await post('spoken/epochs', { digest })).status, 200);
    const early = await post('spoken/epochs/1/activate');
    assertRefusal(early, 'EPLB_CONFLICT', 409, /not prepared all layers: 0,1,2/);
    for (const rank of [0, 1]) assert.equal((await post('spoken/epochs/1/ack', { rank })).status, 200);
    const half = (await post('spoken/epochs/1/ack', { rank: 2, layers: [1], digest })).json;
    assert.deepEqual([half.state, half.preparedLayers, half.waitingFor], ['preparing', [1], [2]]);
    const all = (await post('spoken/epochs/1/ack', { rank: 2, layers: [0] })).json;
    assert.deepEqual([all.state, all.waitingFor], ['prepared', []]);
    const mapping = await get('spoken/epochs/1/mapping');
    assert.equal(mapping.digest, digest);
    assert.equal((await get('spoken')).epoch, 0, 'nothing is live before the activation');
    await post('spoken/loads', { step: 6, epoch: 0, loads: LOADS });
    const active = (await post('spoken/epochs/1/activate')).json;
    assert.deepEqual([active.state, active.firstStep], ['active', 7]);
    const view = await get('spoken');
    assert.deepEqual([view.epoch, view.digest, view.underWay], [1, digest, null]);
    assert.deepEqual((await get('spoken/mapping')).physicalToLogical, mapping.physicalToLogical);
    // Asked again, all is as it was.
    assert.equal((await post('spoken/epochs/1/activate')).json.state, 'active');
    assert.equal((await get('spoken/epochs/1')).state, 'active');
    assert.equal((await get('spoken/epochs/0')).state, 'active');
    const { ended, underWay } = await get('spoken/epochs');
    assert.deepEqual([ended.length, ended[0].state, underWay], [1, 'active', null]);
  });

  test('refuses what does not fit how things stand, and changes nothing', async () => {
    await put('fits');
    const digest = await planned('fits');
    const none = await post('fits/epochs', { digest: 'a'.repeat(64) });
    assertRefusal(none, 'EPLB_NOT_FOUND', 404, /no plan with the digest/);
    assertRefusal(await post('fits/epochs', { digest: 'x' }), 'EPLB_RANGE', 422, /digest/);
    assertRefusal(await post('fits/epochs', {}), 'EPLB_KIND', 422, /digest is missing/);
    const from = await post('fits/epochs', { digest, fromEpoch: 3 });
    assertRefusal(from, 'EPLB_STALE', 409, /fromEpoch 3 is not 0/);
    const { digest: live } = await get('fits');
    assertRefusal(await post('fits/epochs', { digest: live }), 'EPLB_CONFLICT', 409, /is live/);
    assertRefusal(await post('fits/epochs/1/ack', { rank: 0 }), 'EPLB_NOT_FOUND', 404, /no attempt/);
    assertRefusal(await ask(base, 'GET', '/v1/groups/fits/epochs/1'), 'EPLB_NOT_FOUND', 404, /not known/);
    assertRefusal(await ask(base, 'GET', '/v1/groups/fits/epochs/x'), 'EPLB_NOT_WHOLE', 422, /'x'/);
    await post('fits/epochs', { digest, operationId: 'first' });
    const view = await get('fits/epochs/1');
    const competing = await post('fits/epochs', { digest: await planned('fits', OTHER) });
    assertRefusal(competing, 'EPLB_CONFLICT', 409, /competing/);
    const renamed = await post('fits/epochs', { digest: 'b'.repeat(64), operationId: 'first' });
    assertRefusal(renamed, 'EPLB_CONFLICT', 409, /another digest/);
    const bad: [string, object, string, number, RegExp][] = [
      ['ack', {}, 'EPLB_KIND', 422, /rank is missing/],
      ['ack', { rank: 3 }, 'EPLB_RANGE', 422, /rank/],
      ['ack', { rank: 0, layers: [2] }, 'EPLB_LAYER', 422, /layers/],
      ['ack', { rank: 0, layers: ['0'] }, 'EPLB_KIND', 422, /layers/],
      ['ack', { rank: 0, state: 'armed' }, 'EPLB_KIND', 422, /lastStep is missing/],
      ['ack', { rank: 0, digest: 'c'.repeat(64) }, 'EPLB_STALE', 409, /digest: is not \w+, that of epoch/],
      ['ack', { rank: 0, token: 1 }, 'EPLB_STALE', 409, /token 1/],
      ['ack', { rank: 0, incarnation: 5 }, 'EPLB_STALE', 409, /incarnation 0, not 5/],
      ['refuse', { rank: 0 }, 'EPLB_KIND', 422, /reason is missing/],
      ['abort', { why: '' }, 'EPLB_OPTION', 422, /why/],
    ];
    for (const [action, body, code, status, message] of bad) {
      assertRefusal(await post(`fits/epochs/1/${action}`, body), code, status, message);
    }
    assertRefusal(await post('fits/epochs/2/ack', { rank: 0 }), 'EPLB_NOT_FOUND', 404, /epoch 2/);
    assertRefusal(await post('fits/epochs/0/ack', { rank: 0 }), 'EPLB_STALE', 409, /epoch 0 is past/);
    const { secondsUnderWay: _, ...left } = await get('fits/epochs/1');
    const { secondsUnderWay: _also, ...was } = view;
    assert.deepEqual(left, was);
    // A rank of another group has no say here.
    await put('other');
    assertRefusal(await post('other/epochs/1/ack', { rank: 0, digest }), 'EPLB_NOT_FOUND', 404, /no attempt/);
    const refused = (await post('fits/epochs/1/refuse', { rank: 1, layers: [1], reason: 'no room' })).json;
    assert.deepEqual([refused.state, refused.reason.cause, refused.reason.rank], ['aborted', 'refused', 1]);
    assertRefusal(await post('fits/epochs/1/activate'), 'EPLB_STALE', 409, /was aborted/);
    assert.equal((await get('fits')).epoch, 0);
    // It is offered again, by another name, and ended by its host.
    assert.equal((await post('fits/epochs', { digest, operationId: 'first' })).json.state, 'aborted');
    assert.equal((await post('fits/epochs', { digest })).status, 201);
    assert.equal((await post('fits/epochs/1/abort', { reason: 'enough' })).json.reason.text, 'enough');
    assert.equal((await post('fits/epochs/1/abort')).json.state, 'aborted');
  });

  test('ranks that speak for themselves go live together, and loads of both epochs are read', async () => {
    await put('ranks');
    const machines = await joined('ranks');
    assert.equal((await get('ranks')).ranks.serving, 3);
    const digest = await planned('ranks');
    const before = (await get('ranks/mapping')).physicalToLogical;
    await post('ranks/epochs', { digest, activation: 'whenPrepared' });
    const deaf = await post('ranks/epochs/1/ack', { rank: 0 });
    assertRefusal(deaf, 'EPLB_KIND', 422, /incarnation is missing: rank 0 speaks for itself/);
    const own = await post('ranks/loads', { epoch: 1, digest });
    assertRefusal(own, 'EPLB_STALE', 409, /go up by POST epochs alone/);
    await rounds('ranks', machines, 6);
    for (const machine of machines) assert.deepEqual(machine.view().holds, { epoch: 1, digest });
    const { epoch, ranks, underWay } = await get('ranks');
    assert.deepEqual([epoch, ranks.serving, underWay], [1, 3, null]);
    const after = (await get('ranks/mapping')).physicalToLogical;
    const late = await post('ranks/loads', { step: 90, epoch: 0, physical: before });
    assert.equal(late.json.status, 'recorded');
    const now = await post('ranks/loads', { step: 91, epoch: 1, physical: after });
    assert.equal(now.json.status, 'recorded');
    const old = await post('ranks/ranks/0/heartbeat', { incarnation: 1, message: { type: 'sing' } });
    assertRefusal(old, 'EPLB_RANGE', 422, /sing/);
  });

  test('a rank that dies is made up for by an epoch of its own, and filled when it is back', async () => {
    await put('dies', { migration: { resendMs: 20 } });
    await post('dies/loads', { step: 1, epoch: 0, loads: LOADS });
    const [first, second, third] = (await joined('dies')) as [RankMachine, RankMachine, RankMachine];
    const digest = await planned('dies');
    await post('dies/epochs', { digest });
    const dead = (await post('dies/ranks', { dead: [2], reason: 'its host is gone' })).json;
    assert.deepEqual([dead.ranks[2].lease, dead.ranks[2].state], ['dead', 'fenced']);
    assert.match(dead.ranks[2].reason, /its host is gone/);
    const { ended, underWay } = await get('dies/epochs');
    assert.deepEqual([ended[0].state, ended[0].reason.cause], ['aborted', 'rankLost']);
    assert.match(underWay.operationId, /^repair-/);
    assertRefusal(await post('dies/epochs', { digest }), 'EPLB_STALE', 409, /experts on rank 2/);
    await rounds('dies', [first, second], 6);
    const { epoch, ranks } = await get('dies');
    assert.deepEqual([epoch, ranks.dead, ranks.serving], [1, 1, 2]);
    const repaired: number[][] = (await get('dies/mapping')).physicalToLogical;
    for (const row of repaired) {
      assert.deepEqual([...new Set(row.slice(0, 6))].sort(), [0, 1, 2, 3]);
      assert.deepEqual(row.slice(6), [-1, -1, -1]);
    }
    // A rank that is dead has no part in a step.
    const part = async (rank: number, at: number) => {
      const physical = [
        [1, 2, 3],
        [4, 5, 6],
      ];
      return (await post('dies/loads', { step: at, epoch: 1, rank, physical })).json.status;
    };
    assert.deepEqual([await part(0, 2), await part(1, 2)], ['part', 'recorded']);
    // The policy cannot plan closed slots: what it is asked for keeps to the ranks that live.
    const around = (await post('dies/plan', { loads: OTHER })).json;
    assert.deepEqual([around.status, around.physicalToLogical[0].slice(6)], ['kept', [-1, -1, -1]]);
    // Its old process is not believed; a new one is filled.
    step++;
    await sign('dies', 2, third);
    assert.equal((await get('dies')).ranks.dead, 1);
    const again = new RankMachine({ numLayers: 2, incarnation: 2, holds: null, leadSteps: 1 });
    await sign('dies', 2, again);
    assert.equal((await get('dies')).ranks.dead, 0);
    // Until it serves, plans put nothing there: that would be lost when they go live.
    const early = (await post('dies/plan', { loads: OTHER.map((row) => row.map((load) => 2 * load)) })).json;
    for (const row of early.physicalToLogical) assert.deepEqual(row.slice(6), [-1, -1, -1]);
    // It is back, and has nothing to count yet.
    assert.deepEqual([await part(0, 3), await part(1, 3)], ['part', 'recorded']);
    await rounds('dies', [first, second, again], 12);
    const full = await get('dies');
    assert.deepEqual([full.epoch, full.ranks.serving, full.ranks.dead], [2, 3, 0]);
    const filled: number[][] = (await get('dies/mapping')).physicalToLogical;
    assert.ok(filled.flatMap((row) => row.slice(6)).some((expert) => expert >= 0));
    assert.equal(again.view().holds?.digest, full.digest);
  });

  test('a lease that runs out is suspected, then dead; without a promise it is suspected only', async () => {
    await put('leases');
    const events = await listen(base, '/v1/groups/leases/events');
    await joined('leases');
    await post('leases/ranks/0/heartbeat', { incarnation: 1, ttlMs: 10, stopsWithLease: false });
    await post('leases/ranks/1/heartbeat', { incarnation: 1, ttlMs: 10 });
    await events.until(({ type, data }) => type === 'rank' && data.rank === 1 && data.what === 'suspected');
    await events.until(({ type, data }) => type === 'rank' && data.rank === 1 && data.what === 'dead');
    await events.until(({ type, data }) => type === 'repair' && data.status === 'offered');
    const { ranks } = await get('leases/ranks');
    assert.deepEqual(
      ranks.map(({ lease }: { lease: string }) => lease),
      ['suspected', 'dead', 'alive'],
    );
    const older = await post('leases/ranks/2/heartbeat', { incarnation: 9 });
    assert.equal(older.status, 200);
    const stale = await post('leases/ranks/2/heartbeat', { incarnation: 8 });
    assertRefusal(stale, 'EPLB_STALE', 409, /a newer process, 9/);
    await events.close();
  });

  test('says so when the ranks that live have too few slots', async () => {
    await put('few');
    const events = await listen(base, '/v1/groups/few/events');
    await joined('few');
    await post('few/ranks', { dead: [1, 2] });
    const { data } = await events.until(({ type }) => type === 'repair');
    assert.equal(data.status, 'impossible');
    assert.match(data.message, /3 open slots for 4 experts/);
    const plan = (await post('few/plan', { loads: LOADS })).json;
    assert.deepEqual([plan.status, plan.reason], ['kept', 'too few slots']);
    assert.equal((await get('few')).underWay, null);
    await events.close();
  });

  test('ranks that slow down get less to do', async () => {
    await put('slow', { policy: 'adaptive' });
    await post('slow/loads', {
      step: 1,
      epoch: 0,
      loads: LOADS.map((row) => row.map((load) => load * 1000)),
    });
    const machines = await joined('slow');
    const slow = (await post('slow/ranks', { slow: [{ rank: 0, speed: 0.25 }] })).json;
    assert.equal(slow.ranks[0].speed, 0.25);
    await rounds('slow', machines, 7);
    assert.equal((await get('slow')).epoch, 1);
    assert.equal((await get('slow')).underWay, null);
    const both = await post('slow/ranks', { dead: [0], alive: [0] });
    assertRefusal(both, 'EPLB_RANGE', 422, /rank 0 is dead and alive/);
    assertRefusal(await post('slow/ranks', { dead: [3] }), 'EPLB_RANGE', 422, /dead\[0\]/);
    for (const speed of [0, 1e-4, 1001]) {
      const refused = await post('slow/ranks', { slow: [{ rank: 0, speed }] });
      assertRefusal(refused, 'EPLB_RANGE', 422, /speed: .* is not from 0\.001 to 1000/);
    }
    assert.equal((await get('slow/ranks')).ranks[0].speed, 0.25);
  });

  test('nothing is offered while paused or in a dry run, and repairs wait', async () => {
    await put('modes');
    const digest = await planned('modes');
    await joined('modes');
    await post('modes/pause');
    assertRefusal(await post('modes/epochs', { digest }), 'EPLB_CONFLICT', 409, /paused/);
    await post('modes/ranks', { dead: [0] });
    assert.equal((await get('modes')).underWay, null);
    await post('modes/resume');
    assert.equal((await get('modes')).underWay.epoch, 1);
    await put('dry', { dryRun: true });
    const shown = (await post('dry/plan', { loads: LOADS })).json.dryRun.digest;
    assertRefusal(await post('dry/epochs', { digest: shown }), 'EPLB_CONFLICT', 409, /dry run/);
  });

  test('tells what happens as events, and goes on where a stream ended', async () => {
    await put('events');
    const all = await listen(base, '/v1/groups/events/events');
    const state = (await all.next())!;
    assert.deepEqual([state.type, state.data.epoch, state.data.underWay], ['state', 0, null]);
    const own = await listen(base, '/v1/groups/events/events?rank=1');
    await joined('events');
    const digest = await planned('events');
    await post('events/epochs', { digest });
    const begun = await all.until(({ type }) => type === 'epoch');
    assert.deepEqual([begun.data.what, begun.data.epoch, begun.data.digest], ['begun', 1, digest]);
    const order = await own.until(({ type, data }) => type === 'message' && data.type === 'prepare');
    assert.deepEqual([order.data.layers, order.data.digest], [[0, 1], digest]);
    await own.close();
    await post('events/epochs/1/abort');
    // What came meanwhile comes now: for this rank, in order, once.
    const later = await listen(base, '/v1/groups/events/events?rank=1', order.id);
    const missed = [await later.next(), await later.next()];
    assert.deepEqual(
      missed.map((event) => [event!.type, event!.data.type ?? event!.data.what]),
      [
        ['epoch', 'ended'],
        ['message', 'abort'],
      ],
    );
    const lost = await listen(base, '/v1/groups/events/events', 'nonsense-1');
    assert.equal((await lost.next())!.type, 'state');
    const many = await ask(base, 'GET', '/v1/groups/events/events');
    assertRefusal(many, 'EPLB_LIMIT', 429, /3 streams are open/);
    for (const stream of [all, later, lost]) await stream.close();
    const wrong = await ask(base, 'GET', '/v1/groups/events/events?rank=7');
    assertRefusal(wrong, 'EPLB_RANGE', 422, /rank/);
    assertRefusal(await ask(base, 'GET', '/v1/groups/none/events'), 'EPLB_NOT_FOUND', 404, /none/);
  });
});

test("a group's token is good for the group alone", async () => {
  const token = 'a-token-of-some-length';
  const { address, close } = await serve.startService({ listen: '127.0.0.1:0', token });
  try {
    const as = (own: string) => (method: string, path: string, body?: unknown) =>
      ask(address, method, path, body, { authorization: `Bearer ${own}` });
    const host = as(token);
    for (const name of ['mine', 'yours']) await host('PUT', `/v1/groups/${name}`, SIZES);
    const own = (await host('GET', '/v1/groups/mine/token')).json.token;
    const rank = as(own);
    assert.equal((await rank('GET', '/v1/groups/mine')).status, 200);
    assert.equal((await rank('POST', '/v1/groups/mine/ranks/0/heartbeat', { incarnation: 1 })).status, 200);
    for (const [method, path] of [
      ['GET', '/v1/groups/yours'],
      ['POST', '/v1/groups/yours/ranks/0/heartbeat'],
      ['POST', '/v1/groups/yours/epochs/1/ack'],
      ['GET', '/v1/groups'],
      ['GET', '/metrics'],
    ] as const) {
      const body = method === 'POST' ? { incarnation: 1 } : undefined;
      assertRefusal(await rank(method, path, body), 'EPLB_DENIED', 401, /token/);
    }
    for (const [method, path] of [
      ['PUT', '/v1/groups/mine'],
      ['DELETE', '/v1/groups/mine'],
      ['GET', '/v1/groups/mine/token'],
    ] as const) {
      const body = method === 'PUT' ? SIZES : undefined;
      assertRefusal(await rank(method, path, body), 'EPLB_DENIED', 403, /not enough/);
    }
  } finally {
    await close();
  }
});
