import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CoordinatorMachine,
  type HeldEpoch,
  MemoryJournal,
  MemoryTransport,
  MigrationCoordinator,
  type MigrationCoordinatorOptions,
  type MigrationEvent,
  MigrationRank,
  RankMachine,
  type WeightHost,
} from 'expert-load-balancer/migration';
import fc from 'fast-check';
import { hostileValue, nearly, nearlyObject } from '../helpers/hostile.ts';
import { refusal, SEED, until } from '../helpers/library.ts';
import { assertAllCoded, type Call } from '../helpers/surface.ts';

const NUM_RANKS = 3;
const size = { numRanks: NUM_RANKS, numLayers: 4, digest: 'a' };

/** A host whose weights are a digest a layer. */
class Host implements WeightHost {
  readonly slots = ['a', 'a', 'a', 'a'];
  readonly dropped: number[] = [];
  refusal: string | undefined;
  swapError: string | undefined;
  /** Prepares until it is told to stop. */
  hangs = false;

  async prepare(_: unknown, { signal }: { signal: AbortSignal }): Promise<void> {
    if (this.refusal !== undefined) throw new Error(this.refusal);
    if (this.hangs) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  }

  swap({ digest, layers }: { digest: string; layers: readonly number[] }): void {
    if (this.swapError !== undefined) throw new Error(this.swapError);
    for (const layer of layers) this.slots[layer] = digest;
  }

  drop(token: number): void {
    this.dropped.push(token);
  }

  restore({ digest }: HeldEpoch): void {
    this.slots.fill(digest);
  }
}

/** A group in this process, that is up, and whose ranks go through joint steps. */
class Group {
  readonly transport = new MemoryTransport();
  readonly hosts = Array.from({ length: NUM_RANKS }, () => new Host());
  readonly events: MigrationEvent[] = [];
  readonly ranks = this.hosts.map((_, rank) => this.startRank(rank, 1, { epoch: 0, digest: 'a' }));
  #step = 0;
  #stepping: ReturnType<typeof setInterval>;

  constructor() {
    this.#stepping = setInterval(() => {
      this.#step++;
      for (const rank of this.ranks) rank.tryStep(this.#step);
    }, 1);
  }

  startRank(rank: number, incarnation: number, holds: HeldEpoch | null): MigrationRank {
    const link = { transport: this.transport.rank(rank), host: this.hosts[rank]! };
    return new MigrationRank({ numLayers: 4, incarnation, holds, leadSteps: 2, resendMs: 5, ...link });
  }

  async open(more: Partial<MigrationCoordinatorOptions> = {}): Promise<MigrationCoordinator> {
    const onEvent = (event: MigrationEvent) => void this.events.push(event);
    const { transport } = this;
    const journal = new MemoryJournal();
    const options = { ...size, journal, transport, onEvent, resendMs: 5, ...more };
    const coordinator = await MigrationCoordinator.open(options);
    await until(() => coordinator.view().ranks.every(({ state }) => state === 'serving'));
    return coordinator;
  }

  async close(coordinator: MigrationCoordinator): Promise<void> {
    clearInterval(this.#stepping);
    await Promise.all(this.ranks.map((rank) => rank.close()));
    await coordinator.close();
  }
}

test('layers go live on all ranks at one step, and the same offer is the same operation', async () => {
  const group = new Group();
  const coordinator = await group.open();
  const target = { operationId: 'op', digest: 'b', layers: [1, 3], fromEpoch: 0 };
  const outcome = await coordinator.migrate(target);
  assert.equal(outcome.status, 'active');
  assert.deepEqual(await coordinator.migrate(target), outcome);
  for (const { slots } of group.hosts) assert.deepEqual(slots, ['a', 'b', 'a', 'b']);
  const { epoch, layers, digest } = coordinator.view();
  assert.deepEqual(
    { epoch, digest, layers },
    { epoch: 1, digest: 'b', layers: ['idle', 'active', 'idle', 'active'] },
  );
  const types = group.events
    .map(({ type }) => type)
    .filter((type) => type !== 'admitted' && type !== 'confirmed');
  assert.deepEqual(types, ['begun', 'prepared', 'decided', 'ended']);
  for (const [more, reason] of [
    [{ operationId: 'op', digest: 'c', layers: [1] }, 'renamed'],
    [{ operationId: 'other', digest: 'b', layers: [1] }, 'unchanged'],
    [{ operationId: 'other', digest: 'c', layers: [1], fromEpoch: 0 }, 'stale'],
  ] as const) {
    const answer = await coordinator.migrate(more);
    assert.equal(answer.status === 'refused' && answer.reason, reason);
  }
  await group.close(coordinator);
});

test('a rank that refuses keeps the old epoch everywhere, and buffers are dropped', async () => {
  const group = new Group();
  const coordinator = await group.open();
  group.hosts[1]!.refusal = 'no memory';
  const outcome = await coordinator.migrate({ operationId: 'op', digest: 'b', layers: [0, 2] });
  assert.ok(outcome.status === 'aborted' && outcome.reason.cause === 'refused');
  assert.deepEqual(outcome.reason, { cause: 'refused', rank: 1, layers: [0, 2], text: 'no memory' });
  await until(() => group.hosts.every(({ dropped }) => dropped.length === 1));
  for (const { slots } of group.hosts) assert.deepEqual(slots, ['a', 'a', 'a', 'a']);
  assert.equal(coordinator.view().epoch, 0);
  await group.close(coordinator);
});

test('another target is refused meanwhile, and a signal aborts what is not decided', async () => {
  const group = new Group();
  const coordinator = await group.open();
  group.hosts[2]!.hangs = true;
  const controller = new AbortController();
  const migrated = coordinator.migrate({ operationId: 'op', digest: 'b', layers: [0] }, controller);
  const other = await coordinator.offer({ operationId: 'other', digest: 'c', layers: [0] });
  assert.ok(other.status === 'refused' && other.reason === 'competing');
  controller.abort();
  const outcome = await migrated;
  assert.ok(outcome.status === 'aborted' && outcome.reason.cause === 'requested');
  group.hosts[2]!.hangs = false;
  const { status } = await coordinator.migrate({ operationId: 'third', digest: 'c', layers: [0] });
  assert.equal(status, 'active');
  await group.close(coordinator);
});

test('an operation waits for its request, over a restart of the coordinator too', async () => {
  const group = new Group();
  const journal = new MemoryJournal();
  let coordinator = await group.open({ journal });
  const target = { operationId: 'op', digest: 'b', layers: [2], activation: 'onRequest' } as const;
  await coordinator.offer(target);
  await until(() => coordinator.view().operation?.phase === 'prepared');
  assert.equal(coordinator.view().layers[2], 'prepared');
  await coordinator.close();
  coordinator = await group.open({ journal });
  const migrated = coordinator.migrate(target);
  assert.deepEqual(await coordinator.activate('op'), { status: 'accepted' });
  assert.equal((await migrated).status, 'active');
  assert.equal((await coordinator.activate('op')).status, 'ended');
  assert.equal((await coordinator.abort('none', 'why')).status, 'unknown');
  await group.close(coordinator);
});

test('a rank whose activation fails is out until it holds the epoch, and says so', async () => {
  const group = new Group();
  const coordinator = await group.open();
  group.hosts[0]!.swapError = 'a copy failed';
  const outcome = await coordinator.migrate({ operationId: 'op', digest: 'b', layers: [1] });
  assert.ok(outcome.status === 'fenced');
  assert.deepEqual(outcome.ranks, [{ rank: 0, state: 'stopped', text: 'not activated: a copy failed' }]);
  await until(() => coordinator.view().ranks[0]!.state === 'serving');
  assert.deepEqual(group.hosts[0]!.slots, ['b', 'b', 'b', 'b'], 'restored as a whole');
  assert.deepEqual(group.ranks[0]!.view().broken, []);
  await group.close(coordinator);
});

test('a rank that is lost aborts the operation, or is left out of it, as configured', async () => {
  for (const onLostRank of ['abort', 'exclude'] as const) {
    const group = new Group();
    const coordinator = await group.open({ onLostRank });
    group.hosts[1]!.hangs = true;
    const migrated = coordinator.migrate({ operationId: 'op', digest: 'b', layers: [0] });
    await until(() => coordinator.view().operation?.waitingFor.length === 1);
    await group.ranks[1]!.close();
    await coordinator.lost(1, 'process ended');
    const outcome = await migrated;
    assert.equal(outcome.status, onLostRank === 'abort' ? 'aborted' : 'fenced');
    // The next process has nothing, and is told what to hold.
    group.hosts[1]!.hangs = false;
    group.ranks[1] = group.startRank(1, 2, null);
    await until(() => coordinator.view().ranks[1]!.state === 'serving');
    assert.deepEqual(group.ranks[1]!.view().holds?.epoch, onLostRank === 'abort' ? 0 : 1);
    await group.close(coordinator);
  }
});

test('a step that waits for a decision is answered when it comes', async () => {
  const transport = new MemoryTransport();
  const host = new Host();
  const holds = { epoch: 0, digest: 'a' };
  const link = { transport: transport.rank(0), host };
  const rank = new MigrationRank({ numLayers: 4, incarnation: 0, holds, leadSteps: 1, ...link });
  const say = (message: object) => transport.send(0, { incarnation: 0, ...message } as never);
  say({ type: 'admit', token: 1, firstStep: 0, ...holds });
  await until(() => rank.view().status === 'serving');
  assert.equal((await rank.beginStep(0)).status, 'serve');
  say({ type: 'prepare', token: 2, layers: [0], epoch: 1, digest: 'b' });
  await until(() => rank.view().operation?.state === 'prepared');
  say({ type: 'arm', token: 2 });
  await until(() => rank.view().operation?.state === 'armed');
  assert.equal((await rank.beginStep(1)).status, 'serve');
  assert.equal(rank.tryStep(2).status, 'wait');
  const answer = rank.beginStep(2);
  say({ type: 'activate', token: 2, epoch: 1, firstStep: 2 });
  assert.deepEqual(await answer, { status: 'serve', epoch: 1, digest: 'b' });
  assert.deepEqual(host.slots, ['b', 'a', 'a', 'a']);
  await assert.rejects(rank.beginStep(2), refusal('range', 'EPLB_RANGE', /^step: 2 is not from 3 /));
  await rank.close();
});

const whole = fc.nat(6);
const layers = fc.subarray([0, 1, 2, 3]);
const held = nearlyObject({ epoch: whole, digest: fc.constantFrom('a', 'b') }, ['epoch', 'digest']);
const message = nearlyObject(
  {
    type: fc.constantFrom(
      ...['hello', 'prepared', 'refused', 'armed', 'confirmed'],
      ...['prepare', 'arm', 'activate', 'abort', 'restore', 'admit', 'fence'],
    ),
    ...{ incarnation: fc.nat(2), token: whole, epoch: whole, firstStep: whole, lastStep: whole },
    ...{ layers, broken: layers, reason: fc.constant('why'), digest: fc.constantFrom('a', 'b') },
    holds: fc.oneof(held, fc.constant(null)),
  },
  ['type', 'incarnation', 'token', 'layers', 'broken', 'reason', 'digest', 'holds', 'epoch'],
);
const target = nearlyObject({
  ...{ operationId: fc.constantFrom('o', 'p'), digest: fc.constantFrom('a', 'b'), layers },
  ...{ fromEpoch: whole, activation: fc.constantFrom('whenPrepared', 'onRequest') },
});
const coordinator = new CoordinatorMachine(size);
const rank = new RankMachine({ numLayers: 4, incarnation: 1, holds: { epoch: 0, digest: 'a' } });
const time = nearly(fc.nat(1000));

test('machines refuse what they cannot take with a code, and are what they were', async () => {
  const coordinatorCalls: Call[] = [
    [
      'receive',
      [nearly(fc.nat(2)), message, time],
      (...args: never[]) => coordinator.receive(...(args as unknown as [0, 0, 0])),
    ],
    ['offer', [target, time], (...args: never[]) => coordinator.offer(...(args as unknown as [never, 0]))],
    ['tick', [time], (nowMs: number) => coordinator.tick(nowMs)],
    [
      'abort',
      [nearly(fc.constant('o')), nearly(fc.constant('why')), time],
      (...args: never[]) => coordinator.abort(...(args as unknown as ['', '', 0])),
    ],
    [
      'activate',
      [nearly(fc.constant('o')), time],
      (...args: never[]) => coordinator.activate(...(args as unknown as ['', 0])),
    ],
    [
      'lost',
      [nearly(fc.nat(2)), nearly(fc.constant('why')), time],
      (...args: never[]) => coordinator.lost(...(args as unknown as [0, '', 0])),
    ],
    [
      'new CoordinatorMachine',
      [
        nearlyObject({ ...{ numRanks: whole, numLayers: whole, digest: fc.constant('a') }, resendMs: whole }),
        nearly(fc.array(hostileValue)),
      ],
      (options: never, records: never) => void new CoordinatorMachine(options, records),
    ],
  ];
  const rankCalls: Call[] = [
    ['receive', [message], (given: unknown) => rank.receive(given)],
    ['beginStep', [nearly(fc.integer({ min: 0, max: 2 ** 40 }))], (step: number) => rank.beginStep(step)],
    [
      'prepared',
      [nearly(whole), nearly(layers)],
      (...args: never[]) => rank.prepared(...(args as unknown as [0, []])),
    ],
    [
      'refused',
      [nearly(whole), nearly(layers), nearly(fc.constant('why'))],
      (...args: never[]) => rank.refused(...(args as unknown as [0, [], ''])),
    ],
    ['swapped', [nearly(whole)], (token: number) => rank.swapped(token)],
    [
      'failed',
      [nearly(whole), nearly(layers), nearly(fc.constant('why'))],
      (...args: never[]) => rank.failed(...(args as unknown as [0, [], ''])),
    ],
    ['restored', [held], (given: never) => rank.restored(given)],
    [
      'fence',
      [nearly(fc.constant('why')), nearly(layers)],
      (...args: never[]) => rank.fence(...(args as unknown as ['', []])),
    ],
  ];
  await assertAllCoded(coordinatorCalls, 1500, () => coordinator.view());
  await assertAllCoded(rankCalls, 1500, () => rank.view());
});

test('hostile records are refused with a code', () => {
  const first = new CoordinatorMachine(size).tick(0).records[0]!;
  const anyRecord = nearlyObject({
    type: fc.constantFrom(
      'begun',
      'requested',
      'decided',
      'ended',
      'fenced',
      'admitted',
      'confirmed',
      'checkpoint',
    ),
    ...{ token: whole, rank: fc.nat(2), incarnation: whole, reason: fc.constant('why'), firstStep: whole },
    ...{ target, ranks: fc.subarray([0, 1, 2]), outcome: hostileValue },
  });
  const run = (record: unknown) => {
    try {
      new CoordinatorMachine(size, [first, record]);
    } catch (error) {
      assert.match(
        String((error as { code?: string }).code),
        /^EPLB_(KIND|RANGE|NOT_WHOLE|LAYER|FORMAT|SHAPE)$/,
        String(error),
      );
    }
  };
  fc.assert(fc.property(anyRecord, run), { numRuns: 1000, seed: SEED });
});
