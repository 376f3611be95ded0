/** Groups that get more ranks than they were declared with, or fewer: live, and through restarts. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { ExpertMapping } from 'expert-load-balancer';
import { RankMachine } from 'expert-load-balancer/migration';
import { inTempDir } from '../helpers/cli.ts';
import { ask, assertRefusal, endProcess, loadBytes, serve, startProcess } from '../helpers/service.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const MORE = { numPhysicalExperts: 9, numRanks: 3 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
const OTHER = LOADS.map((row) => [...row].reverse());
type Json = ReturnType<typeof JSON.parse>;

/** A group `g` of a service, and ranks that speak for themselves by the protocol's own machine. */
class Client {
  base: string;
  readonly machines: RankMachine[] = [];
  #step = 0;

  constructor(base: string) {
    this.base = base;
  }

  async get(path = ''): Promise<Json> {
    return (await ask(this.base, 'GET', `/v1/groups/g${path}`)).json;
  }

  post(path: string, body?: unknown, headers?: Record<string, string>) {
    return ask(this.base, 'POST', `/v1/groups/g${path}`, body, headers);
  }

  put(more: object = {}) {
    return ask(this.base, 'PUT', '/v1/groups/g', { ...SIZES, ...more });
  }

  async planned(loads = LOADS): Promise<string> {
    return (await this.post('/plan', { loads })).json.digest;
  }

  async join(numRanks: number): Promise<void> {
    const { digest, epoch } = await this.get();
    while (this.machines.length < numRanks) {
      // A rank that is new holds nothing.
      const holds = this.machines.length < SIZES.numRanks ? { epoch, digest } : null;
      this.machines.push(new RankMachine({ numLayers: 2, incarnation: 1, holds, leadSteps: 1 }));
    }
    await this.rounds(3);
  }

  /** Some signs of life of all ranks, which do what they are told at once. */
  async rounds(numRounds: number): Promise<void> {
    for (let i = 0; i < numRounds; i++) {
      this.#step++;
      for (const [rank, machine] of this.machines.entries()) await this.#sign(rank, machine);
    }
  }

  async #sign(rank: number, machine: RankMachine): Promise<void> {
    const [message] = machine.tick().messages;
    const body = { incarnation: message!.incarnation, ttlMs: 3_600_000, message };
    const answer = await this.post(`/ranks/${rank}/heartbeat`, body);
    assert.equal(answer.status, 200, JSON.stringify(answer.json));
    for (const order of answer.json.messages) {
      for (const action of machine.receive(order).actions) {
        if (action.type === 'prepare') machine.prepared(action.token, action.layers);
        else if (action.type === 'restore') machine.restored(action);
      }
    }
    for (const action of machine.beginStep(this.#step).actions) {
      if (action.type === 'swap') machine.swapped(action.token);
    }
  }

  /** All ranks serve the live epoch, and each of them holds experts. */
  async checkEnd(numRanks: number): Promise<Json> {
    const view = await this.get();
    const { epoch, digest, ranks, underWay } = view;
    assert.deepEqual([ranks.serving, ranks.dead, underWay], [numRanks, 0, null]);
    for (const machine of this.machines) assert.deepEqual(machine.view().holds, { epoch, digest });
    const { physicalToLogical } = await this.get('/mapping');
    const mapping = ExpertMapping.fromPhysicalToLogical(physicalToLogical, SIZES.numLogicalExperts);
    assert.equal(mapping.digest(), digest);
    for (const row of physicalToLogical) {
      assert.equal(row.length, 3 * numRanks);
      for (let rank = 0; rank < numRanks; rank++) {
        assert.ok(
          row.slice(3 * rank, 3 * rank + 3).some((expert: number) => expert >= 0),
          `rank ${rank}`,
        );
      }
    }
    return view;
  }
}

async function withClient<T>(work: (client: Client) => Promise<T>, state?: string): Promise<T> {
  const where = state === undefined ? {} : { state };
  const onFault = (error: unknown) => assert.fail(String(error));
  const { address, close } = await serve.startService({ listen: '127.0.0.1:0', ...where }, { onFault });
  try {
    return await work(new Client(address));
  } finally {
    await close();
  }
}

for (const policy of ['default', 'adaptive']) {
  test(`new ranks join a group that is live, and are filled by an epoch: ${policy}`, async () => {
    await withClient(async (client) => {
      assert.equal((await client.put({ policy })).status, 201);
      await client.join(2);
      await client.post('/loads', { step: 1, epoch: 0, loads: LOADS });
      const before = await client.get();
      const plan = (await client.post('/plan', { loads: LOADS })).json;
      const more = { policy, ...MORE };
      const grown = await client.put(more);
      assert.equal(grown.status, 200, JSON.stringify(grown.json));
      const { numRanks, numPhysicalExperts, epoch, digest, ranks, window } = grown.json;
      assert.deepEqual([numRanks, numPhysicalExperts], [3, 9]);
      // What is live stays what it is called; the window stays, and the new rank is awaited.
      assert.deepEqual([epoch, digest, window.steps], [0, before.digest, 1]);
      assert.deepEqual([ranks.serving, ranks.dead], [2, 1]);
      assert.equal((await client.put(more)).status, 200, 'again');
      assert.deepEqual((await client.get('/mapping')).physicalToLogical[0].length, 6);

      // Loads of the two that serve are whole steps, in the slots that they have.
      const physical = LOADS.map(() => [1, 2, 3, 4, 5, 6]);
      assert.equal((await client.post('/loads', { step: 2, epoch: 0, physical })).json.status, 'recorded');
      const part = LOADS.map(() => [1, 2, 3]);
      for (const [rank, status] of ['part', 'recorded'].entries()) {
        const report = { step: 3, epoch: 0, rank, physical: part };
        assert.equal((await client.post('/loads', report)).json.status, status);
      }
      // What they hold, in a table of two ranks, is what a plan may start from.
      const { physicalToLogical: previous } = await client.get('/mapping');
      const around = (await client.post('/plan', { loads: OTHER, previous })).json;
      for (const row of around.physicalToLogical) {
        assert.deepEqual([...new Set(row.slice(0, 6))].sort(), [0, 1, 2, 3]);
        assert.ok(row.slice(6).every((expert: number) => expert === -1));
      }
      const bytes = await client.post('/plan', loadBytes(SIZES, OTHER, previous));
      assert.equal(bytes.json.digest, around.digest, JSON.stringify(bytes.json));
      // A plan of before still is one: it has nothing for the new rank.
      if (plan.status === 'planned') {
        const offered = await client.post('/epochs', { digest: plan.digest });
        assert.equal(offered.status, 201, JSON.stringify(offered.json));
        const busy = await client.put({ policy, numPhysicalExperts: 12, numRanks: 4 });
        assertRefusal(busy, 'EPLB_CONFLICT', 409, /an attempt at epoch 1 is under way: abort it/);
        await client.post('/epochs/1/abort');
      }
      await client.join(3);
      await client.rounds(6);
      const end = await client.checkEnd(3);
      assert.equal(end.epoch, 1);
      assert.equal((await client.post('/loads', { step: 4, epoch: 0, physical })).json.status, 'recorded');
      const { json } = await client.post('/plan', { loads: OTHER, transfer: true });
      assert.equal(json.status, 'planned');
      assert.ok(json.physicalToLogical[0].slice(6).every((expert: number) => expert >= 0));
    });
  });
}

test('an engine that speaks for its ranks has more of them', async () => {
  await withClient(async (client) => {
    await client.put({ policy: 'adaptive' });
    await client.post('/epochs', { digest: await client.planned() });
    for (const rank of [0, 1]) await client.post('/epochs/1/ack', { rank });
    assert.equal((await client.post('/epochs/1/activate')).json.state, 'active');
    await client.put({ policy: 'adaptive', ...MORE });
    assert.equal((await client.get()).ranks.dead, 1);
    const { ranks } = (await client.post('/ranks', { alive: [2] })).json;
    assert.equal(ranks[2].lease, 'none');
    const { underWay } = await client.get();
    assert.equal(underWay?.epoch, 2, 'it is filled');
    for (const rank of [0, 1, 2]) await client.post('/epochs/2/ack', { rank });
    assert.equal((await client.post('/epochs/2/activate')).json.state, 'active');
    await client.checkEnd(3);
  });
});

test('where no rank takes part, the new ones are there at once', async () => {
  await withClient(async (client) => {
    await client.put();
    const { digest } = (await client.put(MORE)).json;
    const plan = (await client.post('/plan', { loads: LOADS })).json;
    assert.deepEqual(
      [plan.status, plan.previousDigest, plan.physicalToLogical[0].length],
      ['planned', digest, 9],
    );
    assert.ok(plan.physicalToLogical.flat().every((expert: number) => expert >= 0));
    const went = await client.post('/loads', { step: 1, epoch: 1, digest: plan.digest, loads: LOADS });
    assert.deepEqual([went.status, went.json.digest], [200, plan.digest]);
    assert.equal((await client.get()).window.steps, 1);
  });
});

test('ranks that are dead and empty may go, and others not', async () => {
  await withClient(async (client) => {
    const group = { policy: 'adaptive', ...MORE };
    await client.put(group);
    await client.join(3);
    const fewer = { policy: 'adaptive' };
    assertRefusal(
      await client.put(fewer),
      'EPLB_CONFLICT',
      409,
      /numRanks: 2, but rank 2 lives: report it dead/,
    );
    await client.post('/ranks', { dead: [2] });
    await client.machines.pop();
    assertRefusal(await client.put(fewer), 'EPLB_CONFLICT', 409, /an attempt at epoch 1 is under way/);
    await client.rounds(6);
    const gone = await client.put(fewer);
    assert.equal(gone.status, 200, JSON.stringify(gone.json));
    assert.deepEqual([gone.json.numRanks, gone.json.ranks.serving, gone.json.ranks.dead], [2, 2, 0]);
    const digest = await client.planned();
    await client.post('/epochs', { digest, activation: 'whenPrepared' });
    await client.rounds(6);
    await client.checkEnd(2);
    // Loads of an epoch whose ranks are gone cannot be read any more.
    const late = { step: 9, epoch: 0, physical: LOADS.map(() => Array(9).fill(1)) };
    assertRefusal(await client.post('/loads', late), 'EPLB_STALE', 409, /epoch 0 is no longer known/);
  });
});

test('what stays of a group is what it was declared with', async () => {
  await withClient(async (client) => {
    const nodes = { ...SIZES, numPhysicalExperts: 8, numRanks: 4, numNodes: 2, policy: 'adaptive' };
    await client.put(nodes);
    const other: [object, string, number, RegExp][] = [
      [
        { numRanks: 8, numNodes: 4 },
        'EPLB_CONFLICT',
        409,
        /numPhysicalExperts: a rank has 2 slots, not 1: give 16 with numRanks 8/,
      ],
      [
        { numRanks: 8, numPhysicalExperts: 16 },
        'EPLB_CONFLICT',
        409,
        /nodeOfRank: rank 2 is on node 1, not 0/,
      ],
      [{ numRanks: 6, numPhysicalExperts: 12, windowSize: 3 }, 'EPLB_CONFLICT', 409, /other content/],
      [
        { numRanks: 6, numPhysicalExperts: 12, numNodes: 3, slotsPerRank: [2, 1, 2, 2, 2, 2] },
        'EPLB_CONFLICT',
        409,
        /slotsPerRank: rank 1 has 2 open slots, not 1/,
      ],
      [
        { numRanks: 2 ** 14, numPhysicalExperts: 2 ** 15, numNodes: 2 ** 13 },
        'EPLB_TOPOLOGY',
        422,
        /at most 16384/,
      ],
    ];
    for (const [more, code, status, message] of other) {
      assertRefusal(await client.put({ ...nodes, ...more }), code, status, message);
    }
    const grown = await client.put({
      ...nodes,
      numRanks: 6,
      numPhysicalExperts: 12,
      numNodes: 3,
      rankSpeed: [1, 1, 1, 1, 0.5, 1],
    });
    assert.equal(grown.status, 200, JSON.stringify(grown.json));
    assert.equal((await client.get('/ranks')).ranks[4].speed, 0.5);
  });
});

test('a restart, and a kill, between the new ranks and their first epoch', async () => {
  await inTempDir(async (dir) => {
    const state = join(dir, 'state');
    const group = { policy: 'adaptive' };
    const start = () => startProcess(['--listen', '127.0.0.1:0', '--state', state]);
    let service = await start();
    const client = new Client(service.address);
    const again = async (signal: NodeJS.Signals) => {
      await endProcess(service, signal);
      service = await start();
      client.base = service.address;
    };
    try {
      await client.put(group);
      await client.join(2);
      await client.post('/loads', { step: 1, epoch: 0, loads: LOADS });
      await client.post('/epochs', { digest: await client.planned(), activation: 'whenPrepared' });
      await client.rounds(6);
      const { digest, window } = await client.get();
      await client.put({ ...group, ...MORE });
      await again('SIGKILL');
      const kept = await client.get();
      assert.deepEqual([kept.numRanks, kept.epoch, kept.digest], [3, 1, digest]);
      // It was written down with the new ranks.
      assert.deepEqual([kept.window.steps, kept.window.source], [window.steps, 'refilled']);
      assert.equal((await client.get('/mapping')).physicalToLogical[0].length, 6);
      const physical = LOADS.map(() => [1, 2, 3, 4, 5, 6]);
      for (const epoch of [0, 1]) {
        const { json } = await client.post('/loads', { step: 5 + epoch, epoch, physical });
        assert.equal(json.status, 'recorded', JSON.stringify(json));
      }
      await again('SIGTERM');
      await client.join(3);
      await again('SIGKILL');
      await client.rounds(8);
      const end = await client.checkEnd(3);
      assert.equal(end.epoch, 2);
      await again('SIGKILL');
      await client.rounds(2);
      assert.equal((await client.checkEnd(3)).digest, end.digest);
    } finally {
      await endProcess(service, 'SIGKILL');
    }
  });
});
