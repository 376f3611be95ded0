/** A balancer without a service: its events, its metrics, and what its watchdog flags. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  AsyncExpertRebalancer,
  type BalancerObservation,
  CHANNELS,
  type ConditionType,
  costModel,
  type EplbEvents,
  ExpertLoadBalancer,
  type ExpertLoadBalancerOptions,
  ExpertMapping,
  type ObserveOptions,
  observeBalancer,
  openMetrics,
} from 'expert-load-balancer';
import {
  MemoryJournal,
  MemoryTransport,
  MigrationCoordinator,
  MigrationRank,
} from 'expert-load-balancer/migration';
import { withHostile } from '../helpers/hostile-policy.ts';
import { refusal, until } from '../helpers/library.ts';
import { assertOpenMetrics, checkByPromtool, seriesOf } from '../helpers/promtool.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, threads: 0 };
const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
const SKEWED = [0, 1].map(() => [10, 10, 90, 10]);
const INTERVAL = 1000;

type Told = { [K in keyof EplbEvents]: readonly [K, EplbEvents[K]] }[keyof EplbEvents];

/** Runs work, and returns what was told meanwhile. */
async function toldDuring(work: () => Promise<void>): Promise<Told[]> {
  const told: Told[] = [];
  const listeners = Object.entries(CHANNELS).map(([name, channel]) => {
    const listener = (event: unknown) => told.push([name, event] as unknown as Told);
    subscribe(channel, listener);
    return () => unsubscribe(channel, listener);
  });
  try {
    await work();
  } finally {
    for (const end of listeners) end();
  }
  return told;
}

function record(balancer: ExpertLoadBalancer, loads: readonly (readonly number[])[] = LOADS): void {
  for (const [layer, row] of loads.entries()) balancer.recordLogicalLoad(layer, row);
  balancer.advanceWindow();
}

/** Asserts that an event has these fields. */
function assertHas(event: unknown, fields: Readonly<Record<string, unknown>>): void {
  const own = Object.entries(event as object).filter(([name]) => Object.hasOwn(fields, name));
  assert.deepEqual(Object.fromEntries(own), fields);
}

/** A policy that fails while it is told to. */
class Moody extends AbstractEplbPolicy {
  readonly name = 'moody';
  isBroken = false;
  override rebalanceExperts(): ExpertMapping {
    if (this.isBroken) throw new Error('out of order');
    return ExpertMapping.fromPhysicalToLogical([0, 1].map(() => [3, 2, 1, 0, 3, 2]));
  }
}

interface Scene {
  readonly balancer: ExpertLoadBalancer;
  readonly observation: BalancerObservation;
  /** Lets time pass, with loads in it or without; the watchdog looks four times an interval. */
  pass(intervals: number, hasLoads?: boolean): void;
  flagged(): ConditionType[];
}

/** A balancer that is watched in a time of its own. */
async function inScene(
  work: (scene: Scene) => Promise<void> | void,
  options: Partial<ExpertLoadBalancerOptions> = {},
  observe: ObserveOptions = {},
): Promise<void> {
  await using balancer = new ExpertLoadBalancer({ ...SIZES, ...options });
  let nowMs = 5;
  const watchdog = { intervalMs: INTERVAL, clock: () => nowMs };
  const observation = observeBalancer(balancer, { ...observe, watchdog });
  const flagged = () => observation.conditions().flatMap(({ type, status }) => (status ? [] : [type]));
  const pass = (intervals: number, hasLoads = true) => {
    const endMs = nowMs + intervals * INTERVAL;
    while (nowMs < endMs) {
      nowMs = Math.min(nowMs + INTERVAL / 4, endMs);
      if (hasLoads) record(balancer);
      flagged();
    }
  };
  await work({ balancer, observation, pass, flagged });
}

test('a balancer tells of loads, plans, commits, refusals and changes of its ranks', async () => {
  const policy = new AdaptiveEplbPolicy({ price: 0, confidence: 0 });
  await using balancer = new ExpertLoadBalancer({
    ...SIZES,
    ...{ numPhysicalExperts: 8, numRanks: 4 },
    policy,
    name: 'decode',
  });
  const told = await toldDuring(async () => {
    await balancer.rebalance();
    record(balancer, SKEWED);
    const { mapping: stale } = await balancer.decide();
    await balancer.rebalance();
    assert.throws(() => balancer.commit(stale), refusal('other', 'EPLB_STALE', /./));
    balancer.changeTopology({ deadRanks: [1] });
    balancer.rebalanceSync();
  });
  assert.deepEqual(
    told.map(([name]) => name),
    ['plan', 'load', 'plan', 'plan', 'commit', 'refusal', 'topology', 'plan'],
  );
  const [none, load, planned, , commit, refused, topology] = told.map(([, event]) => event);
  const head = { group: 'decode', epoch: 0 };
  assertHas(none, { ...head, status: 'kept', reason: 'no samples', moves: 0 });
  assert.deepEqual(load, { ...head, numSteps: 1 });
  assertHas(planned, { ...head, status: 'planned' });
  const { seconds, moves } = planned as EplbEvents['plan'];
  assert.ok(seconds > 0 && moves > 0);
  assertHas(commit, { group: 'decode', epoch: 1, moves });
  assertHas(refused, { group: 'decode', epoch: 1, code: 'EPLB_STALE' });
  assert.deepEqual(topology, { ...head, epoch: 2, numRanks: 4, deadRanks: [1], hostLoads: 0 });
});

test('a rebalancer tells once of each look, and of weights that move', async () => {
  await using balancer = new ExpertLoadBalancer({ ...SIZES, policy: new Moody() });
  const policy = new Moody();
  await using broken = new ExpertLoadBalancer({ ...SIZES, policy, name: 'broken' });
  policy.isBroken = true;
  const told = await toldDuring(async () => {
    record(balancer);
    record(broken);
    const failing = new AsyncExpertRebalancer({
      balancer,
      apply: () => Promise.reject(new Error('no link')),
    });
    assert.equal((await failing.rebalanceAsync()).status, 'aborted');
    const moving = new AsyncExpertRebalancer({ balancer, apply: async () => {} });
    assert.equal((await moving.rebalanceAsync()).status, 'activated');
    assert.equal((await moving.rebalanceAsync()).status, 'skipped');
    const shadow = new AsyncExpertRebalancer({ balancer: broken, shadow: true });
    await assert.rejects(shadow.rebalanceAsync(), refusal('other', 'EPLB_POLICY', /out of order/));
    policy.isBroken = false;
    assert.equal((await shadow.rebalanceAsync()).status, 'shadowed');
    assert.equal((await shadow.rebalanceAsync()).status, 'skipped');
  });
  const short = told.map(([name, event]) => {
    const { status = '', reason = '' } = event as { status?: string; reason?: string };
    return `${event.group} ${name} ${status} ${reason}`.trimEnd();
  });
  assert.deepEqual(short, [
    'balancer load',
    'broken load',
    'balancer plan planned',
    'balancer migration begun',
    'balancer migration aborted failed',
    'balancer plan planned',
    'balancer migration begun',
    'balancer commit',
    'balancer migration active',
    'balancer plan kept unchanged',
    'broken plan failed EPLB_POLICY',
    'broken plan planned',
    'broken plan kept unchanged',
  ]);
});

test('nothing is made of an event that nobody hears', async (t) => {
  const digest = t.mock.method(ExpertMapping.prototype, 'digest');
  await using balancer = new ExpertLoadBalancer({ ...SIZES });
  record(balancer);
  await balancer.rebalance();
  assert.equal(balancer.generation, 1);
  assert.equal(digest.mock.callCount(), 0);
  const told = await toldDuring(async () =>
    balancer.commit(ExpertMapping.fromPhysicalToLogical([0, 1].map(() => [3, 2, 1, 0, 3, 2]))),
  );
  assert.deepEqual([told.length, digest.mock.callCount()], [1, 1]);
});

test('metrics are there from the first call on, by the rules, with ranks where asked for', async () => {
  const cost = costModel('h200:deepseek-v3');
  const policy = new AdaptiveEplbPolicy({ price: 0, confidence: 0, cost });
  await inScene(
    async ({ balancer, observation, pass }) => {
      assert.equal(observeBalancer(balancer), observation, 'watched once');
      pass(1);
      balancer.changeTopology({ rankSpeed: [1, 1] });
      const rebalancer = new AsyncExpertRebalancer({ balancer, loadThreshold: 1, apply: async () => {} });
      assert.equal((await rebalancer.rebalanceAsync()).status, 'activated');
      pass(1);
      const text = openMetrics(balancer);
      assertOpenMetrics(text);
      const series = seriesOf(text);
      const of = (name: string, labels = '') => series.get(`eplb_${name}{group="decode"${labels}}`);
      assert.equal(of('epoch'), 2);
      assert.equal(of('steps_total'), 8);
      assert.equal(of('topology_changes_total'), 1);
      assert.equal(of('plans_total', ',result="planned",reason=""'), 1);
      assert.equal(of('migrations_total', ',result="active"'), 1);
      assert.equal(of('migration_seconds_count'), 1);
      assert.equal(of('planning_seconds_count'), 1);
      assert.equal(of('ranks', ',state="live"'), 2);
      assert.ok(of('moves_total', ',stage="live"')! > 0);
      assert.equal(
        of('move_bytes_total', ',stage="live"'),
        of('moves_total', ',stage="live"')! * cost.bytesPerExpert,
      );
      assert.ok(of('step_imbalance_seconds')! >= 0);
      assert.ok(series.size <= 60 + 25, String(series.size));
      const older = observation.openMetrics({ format: 'prometheus', ranks: true });
      checkByPromtool(older);
      const withRanks = seriesOf(older);
      const ratios = [0, 1].map(
        (rank) => withRanks.get(`eplb_rank_load_ratio{group="decode",rank="${rank}"}`)!,
      );
      assert.ok(Math.abs(ratios[0]! + ratios[1]! - 2) < 1e-9, String(ratios));
      assert.equal(withRanks.size, series.size + 2);
      observation.close();
      record(balancer);
      assert.equal(seriesOf(openMetrics(balancer)).get('eplb_steps_total{group="decode"}'), 0);
    },
    { policy, name: 'decode' },
    { cost },
  );
  assert.throws(
    () => observeBalancer({} as never),
    refusal('type', 'EPLB_KIND', /not an ExpertLoadBalancer/),
  );
  await inScene(({ balancer, observation }) => {
    observation.close();
    const wrong = [
      [{ watchdog: { intervalMs: 0 } }, 'range', 'EPLB_RANGE', /intervalMs/],
      [{ watchdog: { patience: -1 } }, 'range', 'EPLB_RANGE', /patience/],
      [{ watchdog: { clock: 3 } }, 'type', 'EPLB_KIND', /clock/],
      [{ watchdog: { interval: 1 } }, 'type', 'EPLB_OPTION', /intervalMs/],
      [{ watchDog: {} }, 'type', 'EPLB_OPTION', /watchdog/],
    ] as const;
    for (const [options, kind, code, message] of wrong) {
      const refused = refusal(kind, code, message);
      assert.throws(() => observeBalancer(balancer, options as never), refused);
    }
    const asked = { format: 'json' } as never;
    assert.throws(() => openMetrics(balancer, asked), refusal('range', 'EPLB_RANGE', /openmetrics/));
  });
});

test('loads that stop are flagged within two intervals, told once, and cleared by the next', async () => {
  await inScene(async ({ balancer, pass, flagged }) => {
    const told = await toldDuring(async () => {
      pass(10);
      assert.deepEqual(flagged(), []);
      pass(2, false);
      assert.deepEqual(flagged(), ['LoadsArrive']);
      assert.match(openMetrics(balancer), /eplb_condition\{group="balancer",condition="LoadsArrive"\} 0/);
      pass(9, false);
      pass(1);
      assert.deepEqual(flagged(), []);
    });
    const conditions = told.flatMap(([name, event]) => (name === 'condition' ? [event] : []));
    assert.deepEqual(
      conditions.map(({ type, status }) => [type, status]),
      [
        ['LoadsArrive', false],
        ['LoadsArrive', true],
      ],
    );
    assert.match(conditions[0]!.reason, /no loads for 1\.5 s/);
  });
});

test('plans that fail are flagged, and cleared by one that does not', async () => {
  const policy = new Moody();
  await inScene(
    async ({ balancer, pass, flagged }) => {
      pass(3);
      policy.isBroken = true;
      await assert.rejects(balancer.plan());
      pass(2);
      assert.deepEqual(flagged(), ['PlansSucceed']);
      policy.isBroken = false;
      await balancer.plan();
      assert.deepEqual(flagged(), []);
    },
    { policy },
  );
});

test('a rebalancer that hangs in a plan is flagged, though it says nothing any more', async () => {
  await withHostile('gate', async ({ url, begun, open }) => {
    await inScene(
      async ({ balancer, pass, flagged }) => {
        record(balancer);
        const rebalancer = new AsyncExpertRebalancer({ balancer, loadThreshold: 1 });
        const planned = rebalancer.rebalanceAsync();
        await begun();
        pass(2);
        assert.deepEqual(flagged(), ['PlansSucceed']);
        open();
        await planned;
        assert.deepEqual(flagged(), []);
      },
      { policy: url, threads: 1 },
    );
  });
});

test('a loop that runs and looks no more is flagged', async () => {
  await inScene(async ({ balancer, pass, flagged }) => {
    // Its timer never fires in this time.
    const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 1e9 });
    rebalancer.start();
    pass(100);
    assert.deepEqual(flagged(), [], 'it is to look every million seconds');
    await rebalancer.stop();
    const quick = new AsyncExpertRebalancer({ balancer, rebalanceInterval: INTERVAL });
    quick.start();
    pass(2);
    assert.deepEqual(flagged(), ['PlansSucceed']);
    await quick.rebalanceAsync();
    assert.deepEqual(flagged(), []);
    pass(2);
    await quick.stop();
    assert.deepEqual(flagged(), [], 'it was stopped');
  });
});

test('weights that do not arrive are flagged until they do', async () => {
  await inScene(
    async ({ balancer, pass, flagged }) => {
      record(balancer);
      let arrive = () => {};
      const apply = () =>
        new Promise<void>((resolve) => {
          arrive = resolve;
        });
      const rebalancer = new AsyncExpertRebalancer({ balancer, apply });
      const outcome = rebalancer.rebalanceAsync();
      await until(() => arrive.name === 'resolve' || arrive.length > 0);
      pass(2);
      assert.deepEqual(flagged(), ['MigrationProceeds']);
      arrive();
      assert.equal((await outcome).status, 'activated');
      assert.deepEqual(flagged(), []);
    },
    { policy: new Moody() },
  );
});

test("a coordinator's migration that waits for a rank is flagged; ranks are counted by state", async () => {
  let coordinator: MigrationCoordinator | undefined;
  await inScene(
    async ({ balancer, observation, pass, flagged }) => {
      const transport = new MemoryTransport();
      let isPrepared = () => {};
      const prepare = () =>
        new Promise<void>((resolve) => {
          isPrepared = resolve;
        });
      const host = { prepare, swap() {}, drop() {}, restore() {} };
      const holds = { epoch: 0, digest: 'a' };
      const options = { ...{ numLayers: 2, incarnation: 1, holds, leadSteps: 2, resendMs: 5 }, host };
      const rank = new MigrationRank({ ...options, transport: transport.rank(0) });
      let step = 0;
      const stepping = setInterval(() => rank.tryStep(step++), 1);
      coordinator = await MigrationCoordinator.open({
        ...{ numRanks: 1, numLayers: 2, digest: 'a', resendMs: 5 },
        ...{ journal: new MemoryJournal(), transport, onEvent: (event) => observation.onMigration(event) },
      });
      const state = (name: string) =>
        seriesOf(openMetrics(balancer)).get(`eplb_ranks{group="balancer",state="${name}"}`);
      await until(() => coordinator!.view().ranks[0]!.state === 'serving');
      assert.deepEqual(['serving', 'unconfirmed', 'fenced', 'dead'].map(state), [1, 0, 0, 0]);
      const told = await toldDuring(async () => {
        const migrated = coordinator!.migrate({ operationId: 'plan 7', digest: 'b', layers: [1] });
        await until(() => coordinator!.view().operation?.phase === 'preparing');
        pass(2);
        assert.deepEqual(flagged(), ['MigrationProceeds']);
        assert.match(observation.conditions()[2]!.reason, /plan 7 is preparing, and waits for ranks 0/);
        isPrepared();
        assert.equal((await migrated).status, 'active');
        assert.deepEqual(flagged(), []);
      });
      const statuses = told.flatMap(([name, event]) => (name === 'migration' ? [event.status] : []));
      assert.deepEqual(statuses, ['begun', 'active']);
      clearInterval(stepping);
      await rank.close();
      await coordinator.close();
    },
    {},
    { migration: () => coordinator?.view() },
  );
});

test('a plan that gains less than half of its promise is flagged, until one does better', async () => {
  const policy = new AdaptiveEplbPolicy({ price: 0, confidence: 0 });
  const other = [0, 1].map(() => [90, 10, 10, 10]);
  await inScene(
    async ({ balancer, observation, pass, flagged }) => {
      const passWith = (loads: number[][], intervals: number) => {
        for (let i = 0; i < 4 * intervals; i++) {
          record(balancer, loads);
          pass(0.25, false);
        }
      };
      passWith(SKEWED, 3);
      await balancer.rebalance();
      passWith(other, 4);
      assert.deepEqual(flagged(), ['GainMeetsForecast'], JSON.stringify(observation.conditions()));
      await balancer.rebalance(other);
      passWith(other, 4);
      assert.deepEqual(flagged(), []);
    },
    { policy, windowSize: 8 },
  );
});

test('ranks at other epochs for long are flagged; a swap is not, nor a silent rank', async () => {
  await inScene(({ observation, pass, flagged }) => {
    const serve = (...epochs: number[]) => {
      for (const [rank, epoch] of epochs.entries()) observation.rankServes(rank, epoch);
    };
    const passServing = (intervals: number, ...epochs: number[]) => {
      for (let i = 0; i < 4 * intervals; i++) {
        serve(...epochs);
        pass(0.25);
      }
    };
    passServing(3, 0, 0, 0);
    passServing(1, 1, 0, 1);
    passServing(3, 1, 1, 1);
    assert.deepEqual(flagged(), []);
    passServing(2, 2, 2, 1);
    assert.deepEqual(flagged(), ['RanksAgree']);
    assert.match(observation.conditions().at(-1)!.reason, /ranks 2 are not at epoch 2/);
    passServing(4, 2, 2);
    assert.deepEqual(flagged(), [], 'nobody knows what a silent rank serves');
    passServing(1, 2, 2, 2);
    assert.deepEqual(flagged(), []);
  });
});

test('a watchdog looks by itself, and a closed balancer is watched no more', async () => {
  const balancer = new ExpertLoadBalancer(SIZES);
  let nowMs = 0;
  const observation = observeBalancer(balancer, { watchdog: { intervalMs: 20, clock: () => nowMs } });
  const told = await toldDuring(async () => {
    let isTold = false;
    const listener = () => {
      isTold = true;
    };
    subscribe(CHANNELS.condition, listener);
    nowMs = 1000;
    await until(() => isTold);
    unsubscribe(CHANNELS.condition, listener);
    await balancer.close();
  });
  assert.deepEqual(
    told.map(([name]) => name),
    ['condition'],
  );
  assert.deepEqual(observation.conditions(), []);
});
