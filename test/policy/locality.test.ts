import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  CoactivationRecorder,
  DefaultEplbPolicy,
  EplbRangeError,
  EplbTypeError,
  ExpertLoadBalancer,
  ExpertMapping,
  LocalityAwarePolicy,
  survival,
  type Topology,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { parse } from 'npyjs';
import { seededRandom } from '../helpers/arbitraries.ts';
import {
  highestLoad,
  type LocalityProblem,
  localityProblemArbitrary,
  meanNodesPerToken,
  nodeSets,
  usualPlacement,
} from '../helpers/locality.ts';

const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_240_607);

function planOf(problem: LocalityProblem, previous?: ExpertMapping): ExpertMapping {
  const { weight, coactivation, numReplicas, numGroups, numNodes, numRanks, tolerance } = problem;
  const policy = new LocalityAwarePolicy({ tolerance, ...(previous && { price: 0.02 }) });
  const pairs = coactivation && {
    data: coactivation,
    numLayers: 1,
    numExperts: problem.numLogicalExperts,
  };
  return policy.rebalanceExperts([[...weight]], numReplicas, numGroups, numNodes, numRanks, {
    ...(pairs && { coactivation: pairs }),
    ...(previous && { previous }),
  });
}

function assertWithin(problem: LocalityProblem, phyToLog: readonly number[]): void {
  const most = highestLoad(problem, phyToLog);
  const usual = highestLoad(problem, usualPlacement(problem));
  assert.ok(most * (1 - problem.tolerance) <= usual * (1 + 1e-12), `${most}, not ${usual}`);
}

test('every placement is whole, and as balanced as promised, whatever it is planned from', () => {
  const property = (problem: LocalityProblem, seed: number): void => {
    const experts = problem.weight.map((_, expert) => expert);
    const first = planOf(problem);
    // Loads that have moved on, and the plan for the loads before them.
    const random = seededRandom(seed);
    const weight = problem.weight.map((load) => Math.min(load * (0.5 + random()), 3e38));
    const later = { ...problem, weight };
    for (const [plan, loads] of [
      [first, problem],
      [planOf(later, first), later],
    ] as const) {
      const slots = [...plan.phyToLog];
      assert.deepEqual(
        [...new Set(slots)].sort((a, b) => a - b),
        experts,
      );
      assertWithin(loads, slots);
    }
  };
  fc.assert(fc.property(localityProblemArbitrary(40), fc.integer(), property), { numRuns: 400, seed: SEED });
  fc.assert(fc.property(localityProblemArbitrary(128), fc.integer(), property), { numRuns: 20, seed: SEED });
});

test('64 nodes are searched, on more nothing is known of links', () => {
  const numMoved = (numNodes: number) => {
    const n = 2 * numNodes;
    const data = Float32Array.from({ length: n * n }, (_, i) =>
      (i % n) % 7 === Math.floor(i / n) % 7 ? 9 : 0,
    );
    const weight = Array.from({ length: n }, (_, i) => 100 + ((13 * i) % 7));
    const problem = { weight, coactivation: data, numLogicalExperts: n, numReplicas: n, numGroups: 1 };
    const sizes = { ...problem, numNodes, numRanks: numNodes, tolerance: 0.05 };
    const usual = ExpertMapping.fromPhysicalToLogical([usualPlacement(sizes)], n);
    return planOf(sizes).movesFrom(usual, numNodes);
  };
  assert.ok(numMoved(64) > 0);
  assert.equal(numMoved(65), 0);
});

test('a placement that is good stays, and one that is not is bettered in a few moves', () => {
  const { weight, coactivation } = recorded;
  const policy = new LocalityAwarePolicy();
  const plan = (previous: ExpertMapping) =>
    policy.rebalanceExperts(weight, 80, 1, 4, 16, { coactivation, previous });
  const first = policy.rebalanceExperts(weight, 80, 1, 4, 16, { coactivation });
  const again = plan(first);
  assert.ok(again.movesFrom(first, 16) <= 0.1 * first.phyToLog.length, `${again.movesFrom(first, 16)}`);
  const { phyToLog, numPhysicalExperts } = first;
  // Two experts on nodes where nothing else is that they are picked with.
  const rows = LAYERS.map((_, i) => [
    ...phyToLog.subarray(i * numPhysicalExperts, (i + 1) * numPhysicalExperts),
  ]);
  for (const row of rows) [row[0], row[79]] = [row[79]!, row[0]!];
  const worse = ExpertMapping.fromPhysicalToLogical(rows, 64);
  const better = plan(worse);
  assert.ok(nodesPerToken(better, 4) < nodesPerToken(worse, 4));
  assert.ok(better.movesFrom(worse, 16) <= 0.15 * phyToLog.length, `${better.movesFrom(worse, 16)}`);
});

test('ranks that are not alike: slow ones, uneven nodes, closed slots, and copies on a second node', () => {
  const { weight, coactivation } = recorded;
  const sizes: Topology = {
    numLayers: LAYERS.length,
    numLogicalExperts: 64,
    numPhysicalExperts: 96,
    numRanks: 12,
    numNodes: 3,
    numGroups: 1,
  };
  const plan = (topology: Topology, survive?: string) =>
    new LocalityAwarePolicy(survive === undefined ? {} : { survive }).rebalanceExperts(weight, 96, 1, 3, 12, {
      coactivation,
      topology,
    });
  const evenly = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
  for (const topology of [
    { ...sizes, rankSpeed: [1, 1, 0.5, 1, 1, 1, 1, 1, 1, 0.8, 1, 1] },
    { ...sizes, nodeOfRank: [0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2] },
    { ...sizes, slotsPerRank: [8, 8, 6, 8, 8, 8, 5, 8, 8, 8, 8, 8] },
    { ...sizes, deadRanks: [3], slotsPerRank: [8, 8, 8, 0, 8, 8, 8, 8, 8, 8, 8, 8] },
  ] satisfies Topology[]) {
    const mapping = plan(topology);
    for (let layer = 0; layer < LAYERS.length; layer++) {
      const row = [...mapping.phyToLog.subarray(96 * layer, 96 * (layer + 1))];
      assert.equal(new Set(row.filter((expert) => expert >= 0)).size, 64);
      if ('deadRanks' in topology) assert.ok(row.slice(24, 32).every((expert) => expert === -1));
    }
    const nodeOf = (slot: number) => ('nodeOfRank' in topology ? topology.nodeOfRank : evenly)[slot >> 3]!;
    const nodes = nodesPerToken(mapping, 3, nodeOf);
    assert.ok(nodes < 2, `${JSON.stringify(topology)}: ${nodes}`);
  }
  const { layers } = survival(plan(sizes, 'node'), { level: 'node', topology: sizes });
  assert.ok(layers.every(({ surviving, mostSurviving }) => surviving === mostSurviving));
});

const routes = readRoutes('../../recordings/deepseek-v2-lite.law.routes.npy');
const LAYERS = [0, 9, 17, 25];
const half = Math.floor(routes.numTokens / 2);

function readRoutes(path: string) {
  const file = readFileSync(new URL(path, import.meta.url));
  const { data, shape } = parse(new Uint8Array(file).buffer);
  const [numTokens, numLayers, topK] = shape as [number, number, number];
  return { data: data as Uint8Array, numTokens, numLayers, topK, numExperts: 64 };
}

/** The recording's loads and pairs of its first half, for a few of its layers. */
function firstHalf() {
  const { data, numLayers, topK, numExperts } = routes;
  const recorder = new CoactivationRecorder({ numLayers, numExperts });
  recorder.record(data.subarray(0, half * numLayers * topK), half, topK);
  const all = recorder.matrix();
  const size = numExperts ** 2;
  const pairs = LAYERS.flatMap((layer) => [...all.data.subarray(layer * size, (layer + 1) * size)]);
  const weight = LAYERS.map((layer) => {
    const loads = new Array<number>(numExperts).fill(0);
    for (const experts of tokensOf(layer, 0, half)) for (const expert of experts) loads[expert]!++;
    return loads;
  });
  return { weight, coactivation: { data: Float32Array.from(pairs), numLayers: LAYERS.length, numExperts } };
}

function* tokensOf(layer: number, from: number, to: number): Iterable<Uint8Array> {
  const { data, numLayers, topK } = routes;
  for (let token = from; token < to; token++) {
    const start = (token * numLayers + layer) * topK;
    yield data.subarray(start, start + topK);
  }
}

/** Over the second half of the recording. */
function nodesPerToken(mapping: ExpertMapping, numNodes: number, nodeOf?: (slot: number) => number): number {
  const { phyToLog, numPhysicalExperts } = mapping;
  const perLayer = LAYERS.map((layer, i) => {
    const row = [...phyToLog.subarray(i * numPhysicalExperts, (i + 1) * numPhysicalExperts)];
    return meanNodesPerToken(tokensOf(layer, half, routes.numTokens), row, 64, numNodes, nodeOf);
  });
  return perLayer.reduce((sum, nodes) => sum + nodes, 0) / perLayer.length;
}

const recorded = firstHalf();

for (const { slots, nodes, ranks, usual, most } of [
  { slots: 64, nodes: 4, ranks: 8, usual: 3.3, most: 2.5 },
  { slots: 80, nodes: 4, ranks: 16, usual: 3.0, most: 2.1 },
  { slots: 64, nodes: 8, ranks: 16, usual: 4.5, most: 3.5 },
  { slots: 80, nodes: 8, ranks: 16, usual: 4.0, most: 2.9 },
]) {
  test(`a recording: ${slots} slots on ${nodes} nodes: at most ${most} nodes a token, not ${usual}`, () => {
    const { weight, coactivation } = recorded;
    const before = new DefaultEplbPolicy().rebalanceExperts(weight, slots, 1, nodes, ranks);
    const mapping = new LocalityAwarePolicy().rebalanceExperts(weight, slots, 1, nodes, ranks, {
      coactivation,
    });
    assert.ok(nodesPerToken(before, nodes) > usual, String(nodesPerToken(before, nodes)));
    assert.ok(nodesPerToken(mapping, nodes) <= most, String(nodesPerToken(mapping, nodes)));
  });
}

test('any number of threads gives the same mapping', async () => {
  const { weight, coactivation } = recorded;
  const sizes = { numLayers: LAYERS.length, numLogicalExperts: 64, numPhysicalExperts: 80, numRanks: 16 };
  const plans: ExpertMapping[] = [];
  for (const threads of [0, 1, 2]) {
    const policy = new LocalityAwarePolicy();
    await using balancer = new ExpertLoadBalancer({ ...sizes, numNodes: 4, policy, threads });
    plans.push(await balancer.plan(weight, { coactivation }));
  }
  assert.ok(nodesPerToken(plans[0]!, 4) <= 2.1);
  assert.ok(plans.every((mapping) => mapping.equals(plans[0]!)));
});

test('without a matrix, the experts of a group stay together where loads allow', () => {
  // Six groups do not divide over four nodes: the default policy gives them up.
  const weight = [Array.from({ length: 24 }, (_, i) => 100 + ((7 * i) % 24))];
  const together = (policy: DefaultEplbPolicy | LocalityAwarePolicy): number => {
    const { phyToLog } = policy.rebalanceExperts(weight, 24, 6, 4, 8);
    const groups = nodeSets([...phyToLog], 24, 4).map(
      ([node], expert) => `${node} ${Math.floor(expert / 4)}`,
    );
    return groups.length - new Set(groups).size;
  };
  assert.equal(together(new LocalityAwarePolicy()), 16);
  assert.ok(together(new DefaultEplbPolicy()) < 10);
});

test('with nothing that tells which experts belong together, it plans as the default policy', () => {
  const { weight } = recorded;
  const args = [weight, 80, 1, 4, 16] as const;
  const usual = new DefaultEplbPolicy().rebalanceExperts(...args);
  const zeros = { ...recorded.coactivation, data: new Float32Array(LAYERS.length * 64 ** 2) };
  assert.ok(new LocalityAwarePolicy().rebalanceExperts(...args).equals(usual));
  assert.ok(new LocalityAwarePolicy().rebalanceExperts(...args, { coactivation: zeros }).equals(usual));
});

test('options and context are checked', () => {
  const make = (options: object) => () => Reflect.construct(LocalityAwarePolicy, [options]);
  for (const linkPrice of [1e6 + 1, 1e39, 1e300]) {
    assert.throws(make({ linkPrice }), { code: 'EPLB_RANGE', message: /^linkPrice: .* from 0 to 1000000/ });
    assert.throws(() => new AdaptiveEplbPolicy({ linkPrice }), { code: 'EPLB_RANGE' });
  }
  assert.throws(make({ tolerance: 1 }), { code: 'EPLB_RANGE', message: /^tolerance: 1 is not/ });
  assert.throws(make({ tolerance: -0.1 }), { code: 'EPLB_RANGE', message: /^tolerance: -0.1/ });
  assert.throws(make({ tolerance: NaN }), EplbRangeError);
  assert.throws(make({ tolerance: '5%' }), EplbTypeError);
  assert.throws(make({ maxEvaluations: 0 }), { code: 'EPLB_RANGE', message: /^maxEvaluations: 0/ });
  assert.throws(make({ maxEvaluations: 1.5 }), { code: 'EPLB_NOT_WHOLE' });
  const short = { ...recorded.coactivation, data: new Float32Array(3) };
  const plan = () =>
    new LocalityAwarePolicy().rebalanceExperts(recorded.weight, 64, 1, 4, 8, { coactivation: short });
  assert.throws(plan, { code: 'EPLB_SHAPE', message: /^coactivation/ });
});
