/** The watchdog by itself: a pure function of what it sees and of when it looks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Tally } from '../../src/watch/tally.ts';
import { type ConditionType, LOOKS_PER_INTERVAL, type Signs, Watchdog } from '../../src/watch/watchdog.ts';
import { SEED } from '../helpers/library.ts';

const INTERVAL = 1000;
const PATIENCE = 1.5;

/** A group in a time of its own, and a watchdog that looks at it four times an interval. */
class Scene {
  nowMs = 0;
  readonly tally = new Tally(() => this.nowMs);
  signs: Partial<Signs> = {};
  flagged: readonly ConditionType[] = [];
  readonly ever = new Set<ConditionType>();
  readonly #watchdog = new Watchdog({ intervalMs: INTERVAL, patience: PATIENCE, clock: () => this.nowMs }, 0);
  #nextLookMs = 0;

  /** Goes on to a time, with all looks until then. */
  goTo(toMs: number): void {
    for (; this.#nextLookMs <= toMs; this.#nextLookMs += INTERVAL / LOOKS_PER_INTERVAL) {
      this.nowMs = this.#nextLookMs;
      this.look();
    }
    this.nowMs = toMs;
  }

  look(): void {
    const { lastLoadMs, planFailures, numPlans, migrationFailures } = this.tally;
    const conditions = this.#watchdog.look(
      {
        ...{ lastLoadMs, planFailures, numPlans, migrationFailures },
        ...{ isPlanning: false, loopIntervalMs: undefined, migrationPhase: undefined, shortfall: undefined },
        ...{ rankEpochs: new Map(), unconfirmedRanks: [], conflicts: undefined },
        ...this.signs,
      },
      this.nowMs,
    );
    this.flagged = conditions.flatMap(({ type, status }) => (status ? [] : [type]));
    for (const type of this.flagged) this.ever.add(type);
  }

  plan(status: 'planned' | 'kept' | 'failed', reason = 'a reason'): void {
    this.tally.planned({ status, reason, seconds: 0.001, moves: 0, bytes: 0 });
  }
}

/** What a healthy group does, and how long after the last of its kind, in intervals. */
const HEALTHY = {
  load: [0, 1.4],
  plan: [0, 1],
  failure: [3, 9],
  migration: [2, 6],
  swap: [2, 6],
  conflict: [3, 9],
} as const;
type Act = keyof typeof HEALTHY;

/** Times of what happens in 12 intervals. */
const healthyDay = fc
  .record(
    Object.fromEntries(
      Object.entries(HEALTHY).map(([act, [min, max]]) => [
        act,
        fc.array(fc.double({ min, max, noNaN: true }), { minLength: 60, maxLength: 60 }),
      ]),
    ) as Record<Act, fc.Arbitrary<number[]>>,
  )
  .map((gaps) =>
    Object.entries(gaps)
      .flatMap(([act, own]) => {
        let at = 0;
        return own.map((gap) => {
          at += Math.max(gap, 0.2) * INTERVAL;
          return { act: act as Act, at };
        });
      })
      .filter(({ at }) => at < 12 * INTERVAL)
      .sort((a, b) => a.at - b.at),
  );

/** Lets it happen. What takes time takes less than an interval. */
function happen(scene: Scene, act: Act, numMigrations: number): void {
  const later = scene.nowMs + 0.9 * INTERVAL;
  if (act === 'load') scene.tally.recorded();
  if (act === 'plan') scene.plan('kept');
  if (act === 'failure') scene.plan('failed');
  if (act === 'conflict') {
    scene.signs = { ...scene.signs, conflicts: { reason: '', firstMs: scene.nowMs, lastMs: scene.nowMs } };
  }
  if (act === 'migration') {
    scene.tally.migrated({ status: 'begun' });
    scene.signs = { ...scene.signs, migrationPhase: `migration ${numMigrations} prepares` };
  }
  if (act === 'swap')
    scene.signs = {
      ...scene.signs,
      rankEpochs: new Map([
        [0, 1],
        [1, 0],
      ]),
    };
  if (act === 'migration' || act === 'swap') pending.push({ atMs: later, act });
}

let pending: { atMs: number; act: Act }[] = [];

function endPending(scene: Scene, untilMs: number): void {
  for (const { atMs, act } of pending.filter((one) => one.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)) {
    scene.goTo(Math.max(atMs, scene.nowMs));
    if (act === 'migration') {
      scene.tally.migrated({ status: 'active' });
      scene.signs = { ...scene.signs, migrationPhase: undefined };
    } else
      scene.signs = {
        ...scene.signs,
        rankEpochs: new Map([
          [0, 1],
          [1, 1],
        ]),
      };
  }
  pending = pending.filter((one) => one.atMs > untilMs);
}

function live(day: readonly { act: Act; at: number }[]): Scene {
  const scene = new Scene();
  pending = [];
  let numMigrations = 0;
  for (const { act, at } of day) {
    endPending(scene, at);
    scene.goTo(at);
    happen(scene, act, numMigrations++);
  }
  return scene;
}

test('a system that is well is never flagged, however its times fall', () => {
  fc.assert(
    fc.property(healthyDay, (day) => {
      assert.deepEqual([...live(day).ever], []);
    }),
    { numRuns: 60, seed: SEED },
  );
});

/** Ways to fail: what is so from some moment on, and what ends it. */
const FAULTS: readonly {
  readonly type: ConditionType;
  readonly begin: (scene: Scene) => void;
  readonly end: (scene: Scene) => void;
}[] = [
  { type: 'LoadsArrive', begin: () => {}, end: (scene) => scene.tally.recorded() },
  { type: 'PlansSucceed', begin: (scene) => scene.plan('failed'), end: (scene) => scene.plan('planned') },
  {
    type: 'PlansSucceed',
    begin(scene) {
      scene.signs = { isPlanning: true };
    },
    end(scene) {
      scene.plan('kept');
      scene.signs = { isPlanning: false };
    },
  },
  {
    type: 'PlansSucceed',
    begin(scene) {
      scene.signs = { loopIntervalMs: INTERVAL / 2 };
    },
    end: (scene) => scene.plan('kept'),
  },
  {
    type: 'MigrationProceeds',
    begin(scene) {
      scene.signs = { migrationPhase: 'a is preparing' };
    },
    end(scene) {
      scene.signs = { migrationPhase: 'a is activating' };
    },
  },
  {
    type: 'MigrationProceeds',
    begin: (scene) => scene.tally.migrated({ status: 'aborted', reason: 'timedOut' }),
    end: (scene) => scene.tally.migrated({ status: 'active' }),
  },
  {
    type: 'GainMeetsForecast',
    begin(scene) {
      const gain = { number: 3, unit: 'share', realisedGain: 0.1, predictedGain: 0.5 } as const;
      scene.signs = { shortfall: { ...gain, numSteps: 20, isFinal: false } };
    },
    end(scene) {
      scene.signs = {};
    },
  },
  {
    type: 'RanksAgree',
    begin(scene) {
      scene.signs = {
        rankEpochs: new Map([
          [0, 2],
          [1, 1],
          [2, 2],
        ]),
      };
    },
    end(scene) {
      scene.signs = {
        rankEpochs: new Map([
          [0, 2],
          [1, 2],
          [2, 2],
        ]),
      };
    },
  },
  {
    type: 'RanksAgree',
    begin(scene) {
      scene.signs = { unconfirmedRanks: [1] };
    },
    end(scene) {
      scene.signs = { unconfirmedRanks: [] };
    },
  },
];

test('each fault is flagged within two intervals, alone, and cleared by the look after it has gone', () => {
  for (const [i, { type, begin, end }] of FAULTS.entries()) {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 30, noNaN: true }), (after) => {
        const scene = new Scene();
        const startMs = after * INTERVAL;
        const loads = (untilMs: number) => {
          while (scene.nowMs < untilMs) {
            if (type !== 'LoadsArrive' || scene.nowMs < startMs) scene.tally.recorded();
            scene.goTo(Math.min(scene.nowMs + INTERVAL / 3, untilMs));
          }
        };
        loads(startMs);
        assert.deepEqual([...scene.ever], [], `fault ${i} before`);
        if (type === 'LoadsArrive') scene.tally.recorded();
        begin(scene);
        loads(startMs + PATIENCE * INTERVAL - 1);
        assert.deepEqual([...scene.ever], [], `fault ${i} early`);
        loads(startMs + 2 * INTERVAL);
        assert.deepEqual(scene.flagged, [type], `fault ${i}`);
        loads(startMs + 5 * INTERVAL);
        assert.deepEqual(scene.flagged, [type], `fault ${i} stands`);
        end(scene);
        scene.look();
        assert.deepEqual(scene.flagged, [], `fault ${i} has gone`);
      }),
      { numRuns: 20, seed: SEED },
    );
  }
});

test('a group that never gets loads is flagged from its start on', () => {
  const scene = new Scene();
  scene.goTo(PATIENCE * INTERVAL - 1);
  assert.deepEqual(scene.flagged, []);
  scene.goTo(2 * INTERVAL);
  assert.deepEqual(scene.flagged, ['LoadsArrive']);
});

test('conflicts are flagged where they go on, and not for a moment of them', () => {
  const scene = new Scene();
  const conflict = (firstMs: number, lastMs: number) => {
    scene.tally.recorded();
    scene.signs = { conflicts: { reason: 'ranks 1 and 2 differ', firstMs, lastMs } };
    scene.look();
  };
  scene.nowMs = 10;
  conflict(0, 10);
  assert.deepEqual(scene.flagged, []);
  scene.nowMs = 700;
  conflict(0, 700);
  assert.deepEqual(scene.flagged, ['RanksAgree']);
  scene.nowMs = 700 + PATIENCE * INTERVAL;
  conflict(0, 700);
  assert.deepEqual(scene.flagged, []);
});

test('a failure that nobody has followed up for long is none; ends by the host never were', () => {
  const scene = new Scene();
  scene.plan('failed', 'EPLB_CANCELLED');
  scene.goTo(3 * INTERVAL);
  scene.tally.recorded();
  scene.look();
  assert.deepEqual(scene.flagged, []);
  scene.plan('failed', 'EPLB_POLICY');
  for (let i = 0; i < 19; i++) {
    scene.goTo(scene.nowMs + INTERVAL);
    scene.tally.recorded();
  }
  scene.look();
  assert.deepEqual(scene.flagged, ['PlansSucceed']);
  scene.goTo(scene.nowMs + INTERVAL);
  scene.tally.recorded();
  scene.goTo(scene.nowMs + INTERVAL);
  scene.look();
  assert.deepEqual(scene.flagged, []);
});

test('of labels only so many have series: the rest is counted as other', () => {
  const tally = new Tally(() => 0);
  for (let i = 0; i < 100; i++) {
    const status = i % 2 === 0 ? 'kept' : 'failed';
    tally.planned({ status, reason: `reason ${i}`, seconds: 0, moves: 0, bytes: 0 });
  }
  const entries = [...tally.plans.entries()];
  assert.ok(entries.length <= 15, String(entries.length));
  assert.equal(
    entries.reduce((sum, { count }) => sum + count, 0),
    100,
  );
  assert.ok(entries.some(({ labels, count }) => labels.join() === 'kept,other' && count > 40));
});
