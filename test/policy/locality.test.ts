import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  CoactivationRecorder,
  DefaultEplbPolicy,
  EplbRangeError,
  EplbTypeError,
  ExpertLoadBalancer,
  type ExpertMapping,
  LocalityAwarePolicy,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { parse } from 'npyjs';
import { assertSameNumbers, loadKernels } from '../helpers/kernels.ts';
import {
  highestLoads,
  localityProblemArbitrary,
  meanNodesPerToken,
  nodeSets,
  togetherness,
  usualPlacement,
} from '../helpers/locality.ts';
import type { Placement } from '../oracle/default-policy.ts';
import { placeLocality } from '../oracle/locality.ts';
import type { LocalityProblem } from '../oracle/locality-connections.ts';

const { kernels, arena } = loadKernels();
const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_240_607);

function runKernel(problem: LocalityProblem): Placement & { evaluations: number } {
  const { numLogicalExperts: experts, numReplicas: slots, numGroups, numNodes, numRanks } = problem;
  arena.reset();
  const phyToLog = arena.output(Int32Array, slots);
  const replicaRank = arena.output(Int32Array, slots);
  const matrix = problem.coactivation && arena.input(Float32Array.from(problem.coactivation));
  const scratchBytes = kernels.placeLocalityScratchBytes(experts, slots, numGroups, numNodes, numRanks);
  const evaluations = kernels.placeLocality(
    arena.input(Float32Array.from(problem.weight)).ptr,
    matrix?.ptr ?? 0,
    experts,
    slots,
    numGroups,
    numNodes,
    numRanks,
    problem.tolerance,
    problem.maxEvaluations,
    0,
    phyToLog.ptr,
    replicaRank.ptr,
    arena.scratch(scratchBytes),
  );
  arena.check();
  return { phyToLog: [...phyToLog.view], replicaRank: [...replicaRank.view], evaluations };
}

function checkAgainstOracle(problem: LocalityProblem): void {
  const actual = runKernel(problem);
  const expected = placeLocality(problem);
  assertSameNumbers(actual.phyToLog, expected.phyToLog, 'phyToLog');
  assertSameNumbers(actual.replicaRank, expected.replicaRank, 'replicaRank');
  assert.equal(actual.evaluations, expected.evaluations);
}

test('the kernel equals the oracle', () => {
  const small = localityProblemArbitrary(24, 5000);
  fc.assert(fc.property(small, checkAgainstOracle), { numRuns: 1000, seed: SEED });
  const middling = localityProblemArbitrary(64, 5000);
  fc.assert(fc.property(middling, checkAgainstOracle), { numRuns: 60, seed: SEED });
  // A step of the oracle takes a tenth of a second at this size.
  const large = localityProblemArbitrary(256, 5000);
  fc.assert(fc.property(large, checkAgainstOracle), { numRuns: 12, seed: SEED });
});

test('the kernel equals the oracle where ranks have experts twice and more', () => {
  const fewExperts = localityProblemArbitrary(64, 2000).map((problem): LocalityProblem => {
    const { numLogicalExperts, weight, coactivation } = problem;
    const few = Math.max(1, Math.floor(numLogicalExperts / 6));
    return {
      ...problem,
      numLogicalExperts: few,
      numGroups: 1,
      weight: weight.slice(0, few),
      coactivation: Float32Array.from({ length: few ** 2 }, (_, i) => coactivation?.[i] ?? i % 7),
    };
  });
  fc.assert(fc.property(fewExperts, checkAgainstOracle), { numRuns: 200, seed: SEED });
});

test('every placement is valid, as balanced as promised, and its experts no less together', () => {
  const property = (problem: LocalityProblem): void => {
    const { phyToLog, replicaRank } = runKernel(problem);
    assertValid(problem, phyToLog, replicaRank);
    const usual = usualPlacement(problem);
    const mostUsual = highestLoads(problem, usual);
    const most = highestLoads(problem, phyToLog);
    assert.ok(
      most.rank * (1 - problem.tolerance) <= mostUsual.rank,
      `rank: ${most.rank}, not ${mostUsual.rank}`,
    );
    const total = problem.weight.reduce((sum, load) => sum + load, 0);
    // Sums in another order: a hair more than allowed.
    const maxNodeLoad = (total / problem.numNodes) * (1 + problem.tolerance) * (1 + 1e-12);
    if (problem.coactivation === undefined && problem.numGroups === 1) return;
    assert.ok(most.node <= Math.max(maxNodeLoad, mostUsual.node * (1 + 1e-12)), `node: ${most.node}`);
    if (mostUsual.node > maxNodeLoad) return;
    assert.ok(togetherness(problem, phyToLog) >= togetherness(problem, usual));
  };
  fc.assert(fc.property(localityProblemArbitrary(40, 20_000), property), { numRuns: 1500, seed: SEED });
  fc.assert(fc.property(localityProblemArbitrary(256, 100_000), property), { numRuns: 60, seed: SEED });
});

function assertValid(problem: LocalityProblem, phyToLog: number[], replicaRank: number[]): void {
  const ranksOf = new Map<number, number[]>();
  for (const [slot, expert] of phyToLog.entries()) {
    ranksOf.set(expert, [...(ranksOf.get(expert) ?? []), replicaRank[slot]!]);
  }
  assert.equal(phyToLog.length, problem.numReplicas);
  assert.deepEqual(
    [...ranksOf.keys()].sort((a, b) => a - b),
    problem.weight.map((_, expert) => expert),
  );
  for (const ranks of ranksOf.values()) {
    assert.deepEqual(
      ranks.sort((a, b) => a - b),
      ranks.map((_, i) => i),
    );
  }
}

const clusters = (numExperts: number): Float32Array =>
  Float32Array.from({ length: numExperts ** 2 }, (_, i) =>
    (i % numExperts) % 4 === Math.floor(i / numExperts) % 4 ? 9 : 1,
  );

const even = (
  numExperts: number,
  numReplicas: number,
  numNodes: number,
  numRanks: number,
): LocalityProblem => ({
  weight: new Array<number>(numExperts).fill(10),
  coactivation: clusters(numExperts),
  numLogicalExperts: numExperts,
  numReplicas,
  numGroups: 1,
  numNodes,
  numRanks,
  tolerance: 0.05,
  maxEvaluations: 0,
});

test('experts that are picked together come to one node', () => {
  const { phyToLog } = runKernel(even(32, 32, 4, 8));
  for (const set of [0, 1, 2, 3]) {
    const nodes = nodeSets(phyToLog, 32, 4).filter((_, expert) => expert % 4 === set);
    assert.equal(new Set(nodes.flat()).size, 1, `cluster ${set}`);
  }
});

test('copies of an expert go to different nodes and ranks', () => {
  const { phyToLog } = runKernel(even(8, 16, 2, 4));
  assert.ok(nodeSets(phyToLog, 8, 2).every((nodes) => nodes.length === 2));
  // Four copies, two nodes: two ranks each.
  const { phyToLog: four } = runKernel(even(4, 16, 2, 4));
  for (const rank of [0, 1, 2, 3]) assert.equal(new Set(four.slice(4 * rank, 4 * rank + 4)).size, 4);
});

test('64 nodes are searched, more are left to the default policy', () => {
  const onNodes = (numNodes: number) => ({
    ...even(2 * numNodes, 3 * numNodes, numNodes, numNodes),
    maxEvaluations: 8_000,
  });
  checkAgainstOracle(onNodes(64));
  assert.ok(runKernel(onNodes(64)).evaluations > 0);
  assert.equal(runKernel(onNodes(65)).evaluations, 0);
  assert.deepEqual(runKernel(onNodes(65)).phyToLog, usualPlacement(onNodes(65)));
});

test('a budget of 0 is one that suits the size', () => {
  const weight = Array.from({ length: 16 }, (_, i) => 100 + i);
  const { evaluations } = runKernel({ ...even(16, 20, 2, 4), weight });
  assert.ok(evaluations >= 64_000 && evaluations < 66_000, String(evaluations));
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
function nodesPerToken(mapping: ExpertMapping, numNodes: number): number {
  const { phyToLog, numPhysicalExperts } = mapping;
  const perLayer = LAYERS.map((layer, i) => {
    const row = [...phyToLog.subarray(i * numPhysicalExperts, (i + 1) * numPhysicalExperts)];
    return meanNodesPerToken(tokensOf(layer, half, routes.numTokens), row, 64, numNodes);
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

test('any number of threads gives the same mapping as the policy', async () => {
  const { weight, coactivation } = recorded;
  const policy = new LocalityAwarePolicy({ maxEvaluations: 20_000 });
  const expected = policy.rebalanceExperts(weight, 80, 1, 4, 16, { coactivation });
  const sizes = {
    numLayers: LAYERS.length,
    numLogicalExperts: 64,
    numPhysicalExperts: 80,
    numRanks: 16,
    numNodes: 4,
  };
  for (const threads of [0, 1, 2]) {
    await using balancer = new ExpertLoadBalancer({ ...sizes, policy, threads });
    const mapping = await balancer.plan(weight, { coactivation });
    // The balancer's own mapping is the one before, so slots may differ inside a rank.
    assert.equal(mapping.movesFrom(expected, 16), 0, `${threads} threads`);
  }
});

test('a previous mapping changes slots inside ranks only', () => {
  const { weight, coactivation } = recorded;
  const policy = new LocalityAwarePolicy({ maxEvaluations: 20_000 });
  const first = policy.rebalanceExperts(weight, 80, 1, 4, 16, { coactivation });
  const other = weight.map((row) => row.map((load, i) => load + i));
  const alone = policy.rebalanceExperts(other, 80, 1, 4, 16, { coactivation });
  const after = policy.rebalanceExperts(other, 80, 1, 4, 16, { coactivation, previous: first });
  assert.equal(after.movesFrom(alone, 16), 0);
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
