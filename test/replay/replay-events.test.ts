import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  balancedness,
  costModel,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  ExpertMapping,
  layerBalances,
  layerCosts,
  type TopologyChange,
} from 'expert-load-balancer';
import { type RankEvent, type ReplayOptions, replay } from 'expert-load-balancer/replay';
import fc from 'fast-check';
import { refusal, SEED } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

const NUM_EXPERTS = 8;
const SIZES = { numPhysicalExperts: 16, numRanks: 4 };
/** Two layers, the same in all of 60 steps. */
const ROWS = [
  [9, 1, 4, 2, 2, 6, 1, 3],
  [1, 8, 1, 5, 3, 1, 7, 2],
];
const RECORDING = memoryRecording(Array.from({ length: 60 }, () => ROWS));

const replayed = (options: Partial<ReplayOptions> & Pick<ReplayOptions, 'policy'>) =>
  replay(RECORDING, {
    ...SIZES,
    ...(options.policy === 'static' ? {} : { trigger: { interval: 8 } }),
    ...options,
  });

/** Experts that are on these ranks alone, counted plainly. */
function lostWith(slots: readonly (readonly number[])[], dead: readonly number[]) {
  let count = 0;
  let load = 0;
  slots.forEach((row, layer) => {
    for (let expert = 0; expert < NUM_EXPERTS; expert++) {
      const ranks = row.flatMap((held, slot) => (held === expert ? [Math.floor(slot / 4)] : []));
      if (!ranks.every((rank) => dead.includes(rank))) continue;
      count++;
      load += ROWS[layer]![expert]!;
    }
  });
  return { count, share: load / ROWS.flat().reduce((sum, one) => sum + one, 0) };
}

/** A placement with all experts, of any others. */
const placements = fc
  .array(fc.array(fc.nat({ max: NUM_EXPERTS - 1 }), { minLength: 8, maxLength: 8 }), {
    minLength: 2,
    maxLength: 2,
  })
  .chain((more) =>
    fc.tuple(
      ...more.map((extra) =>
        fc.shuffledSubarray([...Array(NUM_EXPERTS).keys(), ...extra], { minLength: 16, maxLength: 16 }),
      ),
    ),
  );

describe('ranks that change in a replay', () => {
  test('a failure loses what was on the dead ranks alone, each loaded from the host once', async () => {
    const property = fc.asyncProperty(
      placements,
      fc.subarray([0, 1, 2, 3], { minLength: 1, maxLength: 2 }),
      fc.boolean(),
      async (rows, dead, plans) => {
        const start = ExpertMapping.fromPhysicalToLogical(rows as number[][]);
        const events: RankEvent[] = [{ kind: 'fail', step: 5, ranks: dead }];
        const policy = plans ? new DefaultEplbPolicy() : 'static';
        const { rankChanges, rankLoads, numSteps } = await replayed({
          policy,
          start,
          events,
          steps: { to: 20 },
        });
        const [change] = rankChanges!;
        const lost = lostWith(rows as number[][], dead);
        assert.deepEqual(
          [change!.lostExperts, change!.hostLoads, change!.moves],
          [lost.count, lost.count, 0],
        );
        assert.ok(Math.abs(change!.lostLoadShare - lost.share) < 1e-6);
        assert.equal(change!.numLiveRanks, 4 - dead.length);
        assert.equal(change!.repairSeconds > 0, lost.count > 0);
        assert.equal(numSteps, 20);
        // From then on the dead have nothing, and the others all that there is.
        for (const [at, layers] of rankLoads.loads.entries()) {
          if (rankLoads.steps[at]! < 5) continue;
          layers.forEach((loads, layer) => {
            for (const rank of dead) assert.equal(loads[rank], 0);
            const all = loads.reduce((sum, load) => sum + load, 0);
            const wanted = ROWS[layer]!.reduce((sum, load) => sum + load, 0);
            assert.ok(Math.abs(all - wanted) < 1e-2, `${all} of ${wanted}`);
            assert.ok(Math.abs(rankLoads.means![at]![layer]! - wanted / (4 - dead.length)) < 1e-2);
          });
        }
      },
    );
    await fc.assert(property, { seed: SEED, numRuns: 30 });
  });

  test('every policy plans for the ranks that live, and is back', async () => {
    const events: RankEvent[] = [
      { kind: 'fail', step: 20, ranks: [2] },
      { kind: 'recover', step: 40, ranks: [2] },
    ];
    for (const policy of [new DefaultEplbPolicy(), new AdaptiveEplbPolicy()]) {
      const { rankChanges, plans, rankLoads } = await replayed({ policy, events, planningSeconds: 0 });
      assert.deepEqual(
        rankChanges!.map(({ step }) => step),
        [20, 40],
      );
      assert.ok(
        rankChanges!.every(({ settled }) => settled.balancedness > 0.85),
        policy.name,
      );
      const first = plans.find(({ startedAfterStep }) => startedAfterStep === 20)!;
      assert.deepEqual(first.reasons[0], { kind: 'ranks', value: 3, limit: 4 });
      // A rank that came back has nothing until a plan gives it something.
      const at = (step: number) => rankLoads.loads[rankLoads.steps.indexOf(step)]!;
      assert.ok([30, 40].every((step) => at(step).every((loads) => loads[2] === 0)));
      assert.ok(at(59).every((loads) => loads[2]! > 0));
    }
  });

  test('plans are those of a live balancer whose topology changes, with all that it remembers', async () => {
    const recording = memoryRecording(
      Array.from({ length: 48 }, (_, step) =>
        ROWS.map((row) => row.map((load, expert) => load + ((expert * 5 + step) % 9) + (step >> 3))),
      ),
    );
    const changes: readonly (TopologyChange & { readonly event: RankEvent })[] = [
      { event: { kind: 'fail', step: 14, ranks: [2] }, deadRanks: [2] },
      { event: { kind: 'slow', step: 22, ranks: [0], speed: 0.5 }, rankSpeed: [0.5, 1, 1, 1] },
      { event: { kind: 'recover', step: 31, ranks: [2] }, deadRanks: [] },
    ];
    const policy = new AdaptiveEplbPolicy();
    const result = await replay(recording, {
      ...{ ...SIZES, policy, windowSize: 4, trigger: { interval: 6 } },
      ...{ planningSeconds: 0, layersPerStep: 2, events: changes.map(({ event }) => event) },
    });
    const sizes = { numLayers: 2, numLogicalExperts: NUM_EXPERTS, ...SIZES };
    const balancer = new ExpertLoadBalancer({ ...sizes, policy, windowSize: 4, threads: 0 });
    const moves: number[] = [];
    let step = 0;
    let lastPlan = 0;
    for await (const { loads } of recording.steps()) {
      const change = changes.find(({ event }) => event.step === step);
      if (change !== undefined) {
        const { event: _, ...topology } = change;
        balancer.changeTopology(topology);
      }
      for (const layer of [0, 1])
        balancer.recordLogicalLoad(layer, loads.subarray(layer * NUM_EXPERTS, (layer + 1) * NUM_EXPERTS));
      balancer.advanceWindow();
      step++;
      if (change === undefined && step - lastPlan < 6) continue;
      lastPlan = step;
      const { mapping, generation } = await balancer.decide();
      moves.push(mapping.movesFrom(balancer.mapping, 4));
      if (!mapping.equals(balancer.mapping)) balancer.commit(mapping, { from: generation });
    }
    await balancer.close();
    assert.deepEqual(
      result.plans.map((one) => one.moves),
      moves,
    );
    assert.ok(moves.filter((count) => count > 0).length > 3);
  });

  test('ranks that join are filled by the next plan, and the first mapping stays without them', async () => {
    const events: RankEvent[] = [{ kind: 'grow', step: 10, numRanks: 2 }];
    const { heatMap, rankLoads, configuration, rankChanges } = await replayed({
      policy: new DefaultEplbPolicy(),
      events,
      planningSeconds: 0,
    });
    assert.deepEqual([configuration.numRanks, configuration.numPhysicalExperts], [4, 16]);
    assert.deepEqual(
      rankChanges!.map(({ numLiveRanks, hostLoads }) => [numLiveRanks, hostLoads]),
      [[6, 0]],
    );
    assert.ok(heatMap.before.every((row) => row.length === 6 && row[4] === 0 && row[5] === 0));
    assert.ok(rankLoads.loads.at(-1)!.every((loads) => loads.every((load) => load > 0)));
  });

  test('a replay without a plan repairs its first mapping, and saves nothing by it', async () => {
    const events: RankEvent[] = [
      { kind: 'fail', step: 8, ranks: [0] },
      { kind: 'slow', step: 16, ranks: [1], speed: 0.5 },
      { kind: 'recover', step: 24, ranks: [0] },
    ];
    const { totals, rankChanges, unbalanced, balance } = await replayed({ policy: 'static', events });
    assert.ok(Math.abs(totals.secondsSaved) < 1e-12);
    assert.deepEqual(unbalanced, balance);
    assert.ok(rankChanges![2]!.moves > 0, 'it is as it was at first');
    assert.equal(rankChanges![1]!.repairSeconds, 0);
  });

  test('events that cannot be are refused before the first step, by name', async () => {
    const refused = (events: unknown, code: 'EPLB_RANGE' | 'EPLB_TOPOLOGY', message: RegExp) =>
      assert.rejects(
        replayed({ policy: 'static', events: events as RankEvent[] }),
        refusal('range', code, message),
      );
    const fail = (ranks: number[], step = 3): RankEvent => ({ kind: 'fail', step, ranks });
    await refused(
      [{ kind: 'die', step: 1, ranks: [0] }],
      'EPLB_RANGE',
      /events\[0\]\.kind: "die" is none of fail, recover/,
    );
    await refused([fail([])], 'EPLB_RANGE', /events\[0\]\.ranks: names no rank/);
    await refused([fail([4])], 'EPLB_TOPOLOGY', /fail before step 3: there are 4 ranks then, and no rank 4/);
    await refused(
      [fail([1]), fail([1], 5)],
      'EPLB_TOPOLOGY',
      /^events\[1\]: fail before step 5: rank 1 is dead then/,
    );
    await refused(
      [{ kind: 'recover', step: 2, ranks: [1] }],
      'EPLB_TOPOLOGY',
      /recover before step 2: rank 1 lives then/,
    );
    await refused(
      [fail([0, 1, 2])],
      'EPLB_TOPOLOGY',
      /fail before step 3: the live ranks have 4 open slots for 8/,
    );
    await refused(
      [{ kind: 'slow', step: 1, ranks: [0], speed: 0 }],
      'EPLB_RANGE',
      /events\[0\]\.speed: 0 is not from/,
    );
    await assert.rejects(
      replayed({ policy: new DefaultEplbPolicy(), rankSpeed: [1, 1, 1, 0.5] }),
      refusal(
        'range',
        'EPLB_TOPOLOGY',
        /rankSpeed: the default policy .*policies that can plan this: locality, adaptive/,
      ),
    );
  });
});

describe('ranks that differ', () => {
  const speeds = fc.array(fc.constantFrom(0.5, 0.8, 1, 2), { minLength: 4, maxLength: 4 });
  const deads = fc.subarray([0, 1, 2, 3], { maxLength: 2 });

  test('a load counts as load / speed, in balances and in time, and dead ranks do not count', () => {
    const cost = costModel({ slotSeconds: { floor: 2, perToken: 1 }, fixedSeconds: 1 });
    const property = fc.property(placements, speeds, deads, (rows, rankSpeed, deadRanks) => {
      // Dead ranks hold nothing; where that leaves an expert without a slot it is not a mapping.
      const slots = (rows as number[][]).map((row) =>
        row.map((expert, slot) => (deadRanks.includes(Math.floor(slot / 4)) ? -1 : expert)),
      );
      fc.pre(slots.every((row) => new Set(row.filter((expert) => expert >= 0)).size === NUM_EXPERTS));
      const mapping = ExpertMapping.fromPhysicalToLogical(slots);
      const live = [0, 1, 2, 3].filter((rank) => !deadRanks.includes(rank));
      const ranks = { rankSpeed, deadRanks };
      const balances = layerBalances(ROWS, mapping, 4, ranks);
      const costs = layerCosts(ROWS, mapping, 4, cost, ranks);
      slots.forEach((row, layer) => {
        const count = (expert: number) => row.filter((held) => held === expert).length;
        const tokens = (rank: number) =>
          row
            .slice(4 * rank, 4 * rank + 4)
            .map((expert) => (expert < 0 ? 0 : ROWS[layer]![expert]! / count(expert)));
        const loads = live.map((rank) => tokens(rank).reduce((sum, one) => sum + one, 0));
        const times = loads.map((load, i) => load / rankSpeed[live[i]!]!);
        const allSpeeds = live.reduce((sum, rank) => sum + rankSpeed[rank]!, 0);
        const mean = loads.reduce((sum, load) => sum + load, 0) / allSpeeds;
        const near = (a: number, b: number) =>
          assert.ok(Math.abs(a - b) < 1e-9 * Math.max(1, b), `${a} for ${b}`);
        near(balances[layer]!.maxRankLoad, Math.max(...times));
        near(balances[layer]!.minRankLoad, Math.min(...times));
        near(balances[layer]!.meanRankLoad, mean);
        assert.ok(balancedness(balances[layer]!) <= 1 + 1e-9);
        const rankSpeeds = live.map((rank) => rankSpeed[rank]!);
        near(costs[layer]!.seconds, cost.layerSeconds(live.map(tokens), { rankSpeeds }));
        assert.ok(costs[layer]!.secondsAtBalance <= costs[layer]!.seconds);
        assert.ok(live.includes(costs[layer]!.slowest.rank));
      });
    });
    fc.assert(property, { seed: SEED, numRuns: 150 });
  });

  test('a replay scores each step as these balances', async () => {
    const property = fc.asyncProperty(placements, speeds, async (rows, rankSpeed) => {
      const start = ExpertMapping.fromPhysicalToLogical(rows as number[][]);
      const { layers, heatMap } = await replayed({ policy: 'static', start, rankSpeed, steps: { to: 2 } });
      const balances = layerBalances(ROWS, start, 4, { rankSpeed });
      layers.forEach((layer, i) => {
        assert.ok(Math.abs(layer.balancednessMeanOfRatios - balancedness(balances[i]!)) < 1e-9);
        const highest = balances[i]!.maxRankLoad / balances[i]!.meanRankLoad;
        assert.ok(Math.abs(Math.max(...heatMap.before[i]!) - highest) < 1e-9);
      });
    });
    await fc.assert(property, { seed: SEED, numRuns: 20 });
  });

  test('uneven nodes and slots that ranks do not divide are replayed', async () => {
    const { configuration, totals } = await replay(RECORDING, {
      numPhysicalExperts: 11,
      numRanks: 5,
      numNodes: 2,
      nodeOfRank: [0, 0, 0, 1, 1],
      policy: new AdaptiveEplbPolicy(),
      trigger: { interval: 8 },
    });
    assert.deepEqual(configuration.slotsPerRank, [3, 2, 2, 2, 2]);
    assert.deepEqual(configuration.nodeOfRank, [0, 0, 0, 1, 1]);
    assert.ok(totals.numPlans > 0);
  });
});
