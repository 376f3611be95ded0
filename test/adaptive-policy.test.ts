import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  type ExpertMapping,
  type LoadSamples,
  type PlanDecision,
  type Topology,
} from 'expert-load-balancer';
import fc from 'fast-check';
import {
  type AdaptiveProblem,
  adaptiveProblems,
  assertGroupsOnNodes,
  expertsOf,
  liveMapping,
  makeSamples,
  noiseSamples,
  steadySamples,
} from './helpers/adaptive.ts';
import { SEED } from './helpers/library.ts';

const topologyOf = (sizes: Partial<Topology>): Topology => ({
  numLayers: 4,
  numLogicalExperts: 16,
  numPhysicalExperts: 24,
  numRanks: 8,
  numNodes: 1,
  numGroups: 1,
  ...sizes,
});

function plan(
  options: AdaptiveEplbPolicyOptions,
  topology: Topology,
  samples: LoadSamples,
  previous?: ExpertMapping,
): PlanDecision {
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const context = previous === undefined ? {} : { previous };
  return new AdaptiveEplbPolicy(options).planExperts(
    samples,
    numPhysicalExperts,
    numGroups,
    numNodes,
    numRanks,
    context,
  );
}

/** Whether a layer may not stay as it is: a slot is empty, or a group that is to be on one node is not. */
function mustChange(row: readonly number[], { topology, options }: AdaptiveProblem): boolean {
  if (row.includes(-1)) return true;
  if (options.locality !== 'groups' || topology.numGroups % topology.numNodes !== 0) return false;
  try {
    assertGroupsOnNodes(row, topology);
    return false;
  } catch {
    return true;
  }
}

function assertInvariants(problem: AdaptiveProblem): void {
  const { topology, samples, previous, options } = problem;
  const { numRanks, numPhysicalExperts, numLogicalExperts, numGroups, numNodes } = topology;
  const decision = plan(options, topology, samples, previous);
  const before = previous.toJSON().phyToLog;
  const forced = before.map((row) => mustChange(row, problem));
  if (decision.status === 'kept') {
    assert.equal(decision.mapping, previous);
    assert.ok(!forced.includes(true), 'what is infeasible cannot be kept');
    return;
  }
  const { mapping, forecast } = decision;
  const moves = mapping.movesPerLayerFrom(previous, numRanks);
  const after = mapping.toJSON().phyToLog;
  const slotsPerRank = numPhysicalExperts / numRanks;
  const binds = options.locality === 'groups' && numNodes > 1 && numGroups % numNodes === 0;
  const expertsInReach = binds ? numLogicalExperts / numNodes : numLogicalExperts;
  for (const [layer, row] of after.entries()) {
    assert.equal(new Set(row).size, numLogicalExperts, 'every expert has a replica, no slot is empty');
    if (binds) assertGroupsOnNodes(row, topology);
    if (moves[layer] === 0) {
      if (!forced[layer]) assert.deepEqual(row, before[layer], 'what does not move stays in its slot');
      continue;
    }
    for (let rank = 0; rank < numRanks; rank++) {
      const experts = expertsOf(row, rank, slotsPerRank);
      if (expertsInReach >= slotsPerRank)
        assert.equal(new Set(experts).size, slotsPerRank, `doubles, rank ${rank}`);
      const held = expertsOf(before[layer]!, rank, slotsPerRank);
      for (const [slot, expert] of held.entries()) {
        const isSingle = [held, experts].every((row) => row.filter((other) => other === expert).length === 1);
        if (isSingle) assert.equal(experts[slot], expert, 'experts that stay keep their slots');
      }
    }
    if (!forced[layer]) assert.ok(moves[layer]! <= (options.maxMovesPerLayer ?? numPhysicalExperts));
  }
  const free = moves.reduce((sum, count, layer) => sum + (forced[layer] ? 0 : count), 0);
  if (options.maxMoves !== undefined) assert.ok(free <= options.maxMoves);
  if (options.maxBytes !== undefined) {
    const { bytesPerExpert = 88_080_384 } = options.cost ?? {};
    assert.ok(free * bytesPerExpert <= options.maxBytes);
  }
  assert.equal(
    forecast?.moves,
    moves.reduce((sum, count) => sum + count, 0),
  );
  if (options.cost !== undefined && !forced.includes(true))
    assert.ok(forecast!.secondsSpent < forecast!.secondsGained);
  assert.deepEqual(plan(options, topology, samples, previous), decision, 'the same input, the same plan');
}

test('whatever is asked, plans are valid, within their limits and told as they are, or the live mapping stays', () => {
  fc.assert(fc.property(adaptiveProblems(40), assertInvariants), { numRuns: 1000, seed: SEED });
});

test('without a mapping before, the first placement is valid and steadier than a fresh one of the default policy', () => {
  const topology = topologyOf({});
  const samples = makeSamples(topology, 8, 5);
  const decision = plan({}, topology, samples);
  assert.ok(decision.status === 'planned');
  assert.equal(decision.forecast, undefined);
  assert.equal(new Set(decision.mapping.toJSON().phyToLog[0]).size, 16);
});

test('on steady loads nothing moves after the first plan, whatever the price', () => {
  const problems = adaptiveProblems(40).map(({ topology, samples }) => ({
    topology,
    samples: steadySamples(samples, 6),
  }));
  const prices = fc.constantFrom(0, 0.0001, 0.002, 0.01);
  fc.assert(
    fc.property(problems, prices, ({ topology, samples }, price) => {
      const first = plan({ price }, topology, samples, liveMapping(topology, 3, false));
      const again = plan({ price }, topology, samples, first.mapping);
      assert.equal(again.status, 'kept');
      assert.equal(again.mapping, first.mapping);
    }),
    { numRuns: 300, seed: SEED },
  );
});

test('on sampling noise around equal means nothing moves after the first plan', () => {
  for (const [sizes, tokens] of [
    [topologyOf({}), 400],
    [topologyOf({ numLayers: 12, numLogicalExperts: 64, numPhysicalExperts: 80, numRanks: 16 }), 768],
    [topologyOf({ numLayers: 2, numLogicalExperts: 32, numPhysicalExperts: 32, numRanks: 4 }), 128],
  ] as const) {
    const first = plan({}, sizes, noiseSamples(sizes, 16, tokens, 1));
    for (let seed = 2; seed < 30; seed++) {
      const next = plan({}, sizes, noiseSamples(sizes, 16, tokens, seed), first.mapping);
      assert.equal(next.mapping, first.mapping, `seed ${seed}`);
    }
  }
});
