import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  brokenRules,
  ExpertLoadBalancer,
  ExpertMapping,
  type LoadSamples,
  type PlacementRules,
  repair,
  survival,
  type Topology,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { type AdaptiveProblem, adaptiveProblems, makeSamples, steadySamples } from '../helpers/adaptive.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { drawRules } from '../helpers/rules.ts';
import { bestUnderRules, brokenSentences, ruledRankLoads } from '../oracle/rules.ts';

/** Problems with rules, dead ranks, and a level of failures. */
const problems = (maxSlots: number): fc.Arbitrary<AdaptiveProblem> =>
  fc
    .tuple(adaptiveProblems(maxSlots), fc.integer(), fc.constantFrom(undefined, 'rank', 'node'), fc.boolean())
    .map(([problem, seed, survive, hasDead]) => {
      const { locality: _, ...options } = problem.options;
      const given = hasDead ? withDead(problem.topology, seed) : problem.topology;
      const topology = { ...given, rules: drawRules(given, seed) };
      return { ...problem, topology, options: { ...options, ...(survive && { survive }) } };
    });

/** A topology with as many dead ranks as the others leave room for, at most two. */
function withDead(topology: Topology, seed: number): Topology {
  const { numRanks, numLogicalExperts, numPhysicalExperts, slotsPerRank } = topology;
  const random = seededRandom(seed);
  const open = slotsPerRank ?? new Array<number>(numRanks).fill(numPhysicalExperts / numRanks);
  const dead: number[] = [];
  let left = open.reduce((sum, slots) => sum + slots, 0);
  for (let draws = 0; draws < 2; draws++) {
    const rank = Math.floor(random() * numRanks);
    if (dead.includes(rank) || left - open[rank]! < numLogicalExperts) continue;
    dead.push(rank);
    left -= open[rank]!;
  }
  return dead.length === 0 ? topology : { ...topology, deadRanks: dead };
}

function plan({ topology, samples, options, previous }: AdaptiveProblem, isFromLive: boolean) {
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const context = isFromLive ? { topology, previous } : { topology };
  const policy = new AdaptiveEplbPolicy(options);
  return policy.planExperts(samples, numPhysicalExperts, numGroups, numNodes, numRanks, context);
}

function rowsOf(mapping: ExpertMapping): Int32Array[] {
  const { numLayers, numPhysicalExperts, phyToLog } = mapping;
  return Array.from({ length: numLayers }, (_, layer) =>
    phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts),
  );
}

/** The slowest rank's time of each step, in the mean. */
function meanSlowest(row: Int32Array, layer: number, samples: LoadSamples, topology: Topology): number {
  const { numLayers, numExperts, numSamples, data } = samples;
  let sum = 0;
  for (let t = 0; t < numSamples; t++) {
    const first = (t * numLayers + layer) * numExperts;
    const loads = ruledRankLoads(row, data.subarray(first, first + numExperts), topology);
    sum += Math.max(...loads.map((load, rank) => load / (topology.rankSpeed?.[rank] ?? 1)));
  }
  return sum / numSamples;
}

describe("plans under the user's own rules", () => {
  test('every layer of every plan keeps them, and fills the open slots of live ranks', () => {
    let numRuled = 0;
    const property = (maxSlots: number, numRuns: number) =>
      fc.assert(
        fc.property(problems(maxSlots), fc.boolean(), (problem, isFromLive) => {
          const { topology } = problem;
          const { numPhysicalExperts, numRanks, numLogicalExperts, slotsPerRank, deadRanks = [] } = topology;
          const { mapping } = plan(problem, isFromLive);
          const stride = numPhysicalExperts / numRanks;
          for (const [layer, row] of rowsOf(mapping).entries()) {
            assert.deepEqual(brokenSentences(row, layer, topology), []);
            assert.equal(new Set(row.filter((expert) => expert >= 0)).size, numLogicalExperts);
            row.forEach((expert, slot) => {
              const rank = Math.floor(slot / stride);
              const open = deadRanks.includes(rank) ? 0 : (slotsPerRank?.[rank] ?? stride);
              assert.equal(expert >= 0, slot % stride < open);
            });
          }
          numRuled += topology.rules!.pinned!.length + topology.rules!.neverReplicated!.length;
        }),
        { seed: SEED, numRuns },
      );
    property(24, 150);
    property(48, 30);
    assert.ok(numRuled > 200, `${numRuled} rules`);
  });

  test('where few experts may have copies, none is twice on a rank that others can fill', () => {
    const problem = fc.record({
      numLogicalExperts: fc.integer({ min: 10, max: 32 }),
      slots: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 3, maxLength: 8 }),
      numReplicable: fc.integer({ min: 1, max: 5 }),
      seed: fc.integer(),
      isFromLive: fc.boolean(),
    });
    const property = fc.property(problem, ({ numLogicalExperts, slots, numReplicable, seed, isFromLive }) => {
      const numRanks = slots.length;
      const slotsPerRank = slots.map((more) => Math.floor(numLogicalExperts / numRanks) + more);
      const numOpen = slotsPerRank.reduce((sum, open) => sum + open, 0);
      const singles = Array.from({ length: numLogicalExperts - numReplicable }, (_, i) => numReplicable + i);
      // Copies that are left for the others, and how many of them ranks have room for without doubles.
      const numCopies = numOpen - singles.length;
      const numApart = slotsPerRank.reduce((sum, open) => sum + Math.min(open, numReplicable), 0);
      fc.pre(numOpen >= numLogicalExperts && numCopies <= numApart);
      const sizes = {
        numLayers: 1,
        numLogicalExperts,
        numPhysicalExperts: numRanks * Math.max(...slotsPerRank),
      };
      const ranks = { numRanks, numNodes: 1, numGroups: 1, slotsPerRank };
      const topology = { ...sizes, ...ranks, rules: { neverReplicated: [{ experts: singles }] } };
      const samples = makeSamples(topology, 2, seed);
      const { mapping } = plan({ topology, samples, previous: mappingOf(sizes), options: {} }, isFromLive);
      const [row] = rowsOf(mapping);
      const stride = row!.length / numRanks;
      for (let rank = 0; rank < numRanks; rank++) {
        const held = row!.subarray(rank * stride, rank * stride + slotsPerRank[rank]!);
        assert.equal(new Set(held).size, held.length, `rank ${rank}: ${held}`);
      }
    });
    fc.assert(property, { seed: SEED, numRuns: 100 });
  });

  test('a good live placement that keeps them stays; one that breaks them changes at any price', () => {
    fc.assert(
      fc.property(problems(24), (problem) => {
        const free = { ...problem, options: {} };
        const { mapping } = plan(free, false);
        const dear = { ...problem, previous: mapping, options: { price: 1e6, maxMoves: 0 } };
        assert.equal(plan(dear, true).mapping, mapping);
        const other = { ...dear, previous: problem.previous };
        const broken = brokenRules(problem.previous, problem.topology);
        const planned = plan(other, true);
        if (broken.length > 0) assert.equal(planned.status, 'planned');
        assert.deepEqual(brokenRules(planned.mapping, problem.topology), []);
      }),
      { seed: SEED, numRuns: 40 },
    );
  });

  test('tiny problems: the best placement under the rules is found, or missed by little', () => {
    let worst = 1;
    let sum = 0;
    let count = 0;
    const tiny = fc.record({
      numRanks: fc.constantFrom(2, 3),
      seed: fc.integer(),
      numLogicalExperts: fc.integer({ min: 3, max: 5 }),
      hasSpeeds: fc.boolean(),
    });
    fc.assert(
      fc.property(tiny, ({ numRanks, seed, numLogicalExperts, hasSpeeds }) => {
        const random = seededRandom(seed);
        const stride = numRanks === 2 ? 3 : 2;
        const sizes = { numLayers: 1, numLogicalExperts, numPhysicalExperts: numRanks * stride, numRanks };
        const rankSpeed = Array.from({ length: numRanks }, () => (hasSpeeds ? 0.5 + random() : 1));
        const given = { ...sizes, numNodes: 1, numGroups: 1, rankSpeed };
        const topology = { ...given, rules: drawRules(given, seed) };
        const samples = steadySamples(makeSamples(topology, 1, seed), 2);
        const { mapping } = plan(
          { topology, samples, previous: mappingOf(sizes), options: { price: 0, effort: 'thorough' } },
          false,
        );
        const reached = meanSlowest(mapping.phyToLog, 0, samples, topology);
        const best = bestUnderRules(topology, (row) => meanSlowest(row, 0, samples, topology));
        assert.ok(best < Number.POSITIVE_INFINITY);
        worst = Math.max(worst, reached / best);
        sum += reached / best;
        count++;
      }),
      { seed: SEED, numRuns: 60 },
    );
    // The search lowers a norm of the rank times, of which the slowest is the most.
    assert.ok(worst <= 1.1, `${worst}`);
    assert.ok(sum / count <= 1.003, `${sum / count}`);
  });

  test('tiny problems: as many experts survive any failure as can under the rules', () => {
    const tiny = fc.tuple(fc.constantFrom(2, 3), fc.integer(), fc.integer({ min: 2, max: 5 }));
    fc.assert(
      fc.property(tiny, ([numRanks, seed, numLogicalExperts]) => {
        const stride = numRanks === 2 ? 3 : 2;
        const sizes = { numLayers: 1, numLogicalExperts, numPhysicalExperts: numRanks * stride, numRanks };
        const given = { ...sizes, numNodes: 1, numGroups: 1 };
        const topology = { ...given, rules: drawRules(given, seed) };
        const samples = makeSamples(topology, 1, seed);
        const lost = (row: Int32Array) => {
          const onRank = (rank: number) => new Set(row.subarray(rank * stride, (rank + 1) * stride));
          const ranks = Array.from({ length: numRanks }, (_, rank) => onRank(rank));
          return samples.data.reduce((sum, load, expert) => {
            return ranks.filter((own) => own.has(expert)).length > 1 ? sum : sum + load;
          }, 0);
        };
        const problem = { topology, samples, previous: mappingOf(sizes), options: { survive: 'rank' } };
        const { mapping } = plan(problem, false);
        assert.equal(lost(mapping.phyToLog), bestUnderRules(topology, lost));
        const { overall } = survival(mapping, { level: 'rank', topology, loads: samples });
        assert.equal(overall.surviving, overall.mostSurviving);
        assert.equal(overall.share, overall.mostShare);
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  test('a rank with a shared expert gets less of the others, and experts move only when it pays', () => {
    const topology = {
      numLayers: 1,
      numLogicalExperts: 16,
      numPhysicalExperts: 24,
      numRanks: 4,
      numNodes: 1,
      numGroups: 1,
    };
    const rules = { sharedExpert: { load: 0.25, ranks: [3], slots: 2 } };
    const samples = steadySamples(makeSamples(topology, 1, 5), 4);
    const problem = { topology, samples, previous: mappingOf(topology), options: {} };
    const { mapping } = plan({ ...problem, topology: { ...topology, rules } }, false);
    const loads = ruledRankLoads(mapping.phyToLog, samples.data.subarray(0, 16), { numRanks: 4, rules });
    const total = loads.reduce((sum, load) => sum + load, 0);
    assert.deepEqual(mapping.phyToLog.slice(22).join(), '-1,-1');
    assert.ok(Math.max(...loads) <= 1.02 * (total / 4), loads.join());
    const blind = ruledRankLoads(plan(problem, false).mapping.phyToLog, samples.data.subarray(0, 16), {
      numRanks: 4,
      rules,
    });
    assert.ok(Math.max(...blind) > 1.5 * (total / 4), blind.join());
  });
});

/** Ranks of a mapping that hold an expert of a layer. */
function ranksWith(mapping: ExpertMapping, layer: number, expert: number, numRanks: number): number[] {
  const stride = mapping.numPhysicalExperts / numRanks;
  return [...new Set(mapping.getPhysicalExperts(layer, expert).map((slot) => Math.floor(slot / stride)))];
}

describe('faults of ranks under rules', () => {
  test('a repair keeps what it can by the loads that have to be, and says what it breaks', () => {
    fc.assert(
      fc.property(problems(32), fc.integer(), fc.constantFrom(0, 6), (problem, seed, maxMoves) => {
        const { deadRanks: _, ...alive } = problem.topology;
        const { numRanks, numLayers, numNodes, numLogicalExperts } = alive;
        // Pins to ranks that were dead may be too many where these live.
        fc.pre(hasRoom(alive));
        const { mapping } = plan({ ...problem, topology: alive, options: {} }, false);
        const { deadRanks } = withDead(alive, seed);
        const { rules, slotsPerRank, rankSpeed } = alive;
        const options = { numRanks, numNodes, rules: rules!, maxMoves, ...(deadRanks && { deadRanks }) };
        const ranks = { ...(slotsPerRank && { slotsPerRank }), ...(rankSpeed && { rankSpeed }) };
        const given = { ...options, ...ranks };
        const repaired = repair(mapping, given);
        const dead = { ...alive, ...(deadRanks && { deadRanks }) };
        for (const [layer, row] of rowsOf(repaired.mapping).entries()) {
          const isBroken = brokenSentences(row, layer, dead).length > 0;
          assert.equal(
            repaired.brokenRules.some((one) => one.layer === layer),
            isBroken,
          );
        }
        // Only experts without a live copy are loaded, each once.
        let orphans = 0;
        for (let layer = 0; layer < numLayers; layer++) {
          for (let expert = 0; expert < numLogicalExperts; expert++) {
            const live = ranksWith(mapping, layer, expert, numRanks).filter(
              (rank) => !deadRanks?.includes(rank),
            );
            if (live.length === 0) orphans++;
          }
        }
        assert.equal(repaired.hostLoads.length, orphans);
        assert.ok(repaired.moves <= maxMoves);
        // Where pins and all other experts have room, nothing is broken but what has lost all its ranks.
        const isRoomy = hasRoom(dead);
        if (isRoomy && maxMoves === 0) {
          for (const { rule } of repaired.brokenRules) assert.equal(rule, 'elsewhere');
        }
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  test('a repair breaks a pin only where an expert has no other slot, and says which', () => {
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 0, 2, 0, 3]]);
    const rules = { pinned: [{ experts: [0], ranks: [0, 1, 2] }] };
    const repaired = repair(mapping, { numRanks: 3, deadRanks: [2], rules });
    assert.deepEqual([...repaired.mapping.phyToLog], [3, 1, 0, 2, -1, -1]);
    assert.deepEqual(repaired.brokenRules, [{ layer: 0, expert: 0, rank: 0, rule: 'missing' }]);
  });

  test('a live balancer keeps its pins when a rank dies, and plans for all when it is back', async () => {
    const rules = {
      pinned: [
        { experts: [0], ranks: [0, 2] },
        { experts: [1], ranks: [2], only: true },
      ],
      neverReplicated: [{ experts: [5] }],
    };
    const sizes = { numLayers: 2, numLogicalExperts: 8, numPhysicalExperts: 16, numRanks: 4, numNodes: 1 };
    const policy = new AdaptiveEplbPolicy();
    const balancer = new ExpertLoadBalancer({ ...sizes, rules, policy, threads: 1 });
    const step = () => {
      for (let layer = 0; layer < 2; layer++) balancer.recordLogicalLoad(layer, [9, 8, 7, 6, 5, 4, 3, 2]);
      balancer.advanceWindow();
    };
    step();
    balancer.commit(await balancer.plan());
    assert.deepEqual(brokenRules(balancer.mapping, balancer.topology), []);
    const changed = balancer.changeTopology({ deadRanks: [2] });
    assert.deepEqual(changed.brokenRules, []);
    assert.deepEqual(ranksWith(balancer.mapping, 0, 0, 4).includes(0), true);
    const back = balancer.changeTopology({ deadRanks: [] });
    assert.deepEqual(
      back.brokenRules
        .filter(({ layer }) => layer === 0)
        .map(({ expert, rank, rule }) => [expert, rank, rule]),
      [
        [0, 2, 'missing'],
        [1, 2, 'missing'],
        ...ranksWith(balancer.mapping, 0, 1, 4).map((rank) => [1, rank, 'elsewhere']),
      ],
    );
    const decision = await balancer.decide();
    assert.equal(decision.status, 'planned');
    balancer.commit(decision.mapping);
    assert.deepEqual(brokenRules(balancer.mapping, balancer.topology), []);
    await balancer.close();
  });

  test('new rules are planned for at once, also before any load is recorded', async () => {
    const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 3, numNodes: 1 };
    const balancer = new ExpertLoadBalancer({ ...sizes, policy: new AdaptiveEplbPolicy(), threads: 0 });
    assert.equal((await balancer.decide()).status, 'kept');
    const { brokenRules: broken } = balancer.changeTopology({
      rules: { pinned: [{ experts: [3], ranks: [0] }] },
    });
    assert.deepEqual(broken, [{ layer: 0, expert: 3, rank: 0, rule: 'missing' }]);
    const { status, mapping } = await balancer.decide();
    assert.equal(status, 'planned');
    assert.deepEqual(ranksWith(mapping, 0, 3, 3).includes(0), true);
    await balancer.close();
  });

  test("a policy of one's own sees the rules, and what breaks them is refused", async () => {
    class Fixed extends AbstractEplbPolicy {
      readonly name = 'fixed';
      seen: PlacementRules | undefined;
      override rebalanceExperts(...[, , , , , context]: Parameters<AbstractEplbPolicy['rebalanceExperts']>) {
        this.seen = context?.topology?.rules;
        return ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0]]);
      }
    }
    const sizes = { numLayers: 1, numLogicalExperts: 3, numPhysicalExperts: 4, numRanks: 2, numNodes: 1 };
    const policy = new Fixed();
    const rules = { neverReplicated: [{ experts: [0] }] };
    const balancer = new ExpertLoadBalancer({ ...sizes, rules, policy });
    const refused = /its mapping: layer 0: expert 0 may have no further copy, and rank 1 has one too many/;
    await assert.rejects(balancer.rebalance([[1, 2, 3]]), refusal('other', 'EPLB_POLICY', refused));
    assert.deepEqual(policy.seen, rules);
    await balancer.close();
  });
});

/** Whether the live ranks have room for all pins that do not rest, and one copy of each other expert. */
function hasRoom(topology: Topology): boolean {
  try {
    void new ExpertLoadBalancer({ ...topology, policy: new AdaptiveEplbPolicy(), threads: 0 }).close();
    return true;
  } catch {
    return false;
  }
}
/** Any placement of these sizes. */
function mappingOf({
  numPhysicalExperts,
  numLogicalExperts,
}: Pick<Topology, 'numPhysicalExperts' | 'numLogicalExperts'>) {
  const row = Array.from({ length: numPhysicalExperts }, (_, slot) => slot % numLogicalExperts);
  return ExpertMapping.fromPhysicalToLogical([row]);
}
