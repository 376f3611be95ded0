import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AdaptiveCostModel,
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  type ExpertMapping,
  type LoadSamples,
  layerBalances,
  type PlanDecision,
  type Topology,
} from 'expert-load-balancer';
import fc from 'fast-check';
import {
  type AdaptiveProblem,
  adaptiveProblems,
  assertGroupsOnNodes,
  expertsOf,
  fewestMoves,
  liveMapping,
  makeSamples,
  noiseSamples,
  steadySamples,
} from '../helpers/adaptive.ts';
import { refusal, SEED } from '../helpers/library.ts';

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
  const { numPhysicalExperts, numGroups, numNodes, numRanks, slotsPerRank } = topology;
  const context = {
    topology,
    ...(previous === undefined ? {} : { previous }),
    ...(slotsPerRank === undefined ? {} : { slotsPerRank }),
  };
  return new AdaptiveEplbPolicy(options).planExperts(
    samples,
    numPhysicalExperts,
    numGroups,
    numNodes,
    numRanks,
    context,
  );
}

/** Slots of a rank that may hold an expert. */
function openOf({ numPhysicalExperts, numRanks, slotsPerRank }: Topology, rank: number): number {
  return slotsPerRank?.[rank] ?? numPhysicalExperts / numRanks;
}

function isOpen(topology: Topology, slot: number): boolean {
  const stride = topology.numPhysicalExperts / topology.numRanks;
  return slot % stride < openOf(topology, Math.floor(slot / stride));
}

/**
 * Whether a layer may not stay as it is: an open slot is empty, a closed one is not, or a group that is to be
 * on one node is not.
 */
function mustChange(row: readonly number[], { topology, options }: AdaptiveProblem): boolean {
  if (row.some((expert, slot) => expert < 0 === isOpen(topology, slot))) return true;
  if (options.locality !== 'groups' || topology.numGroups % topology.numNodes !== 0) return false;
  try {
    assertGroupsOnNodes(row, topology);
    return false;
  } catch {
    return true;
  }
}

/** Open slots of each node. */
function nodesOf(topology: Topology): number[] {
  const { numRanks, numNodes } = topology;
  const slots = new Array<number>(numNodes).fill(0);
  for (let rank = 0; rank < numRanks; rank++)
    slots[Math.floor((rank * numNodes) / numRanks)]! += openOf(topology, rank);
  return slots;
}

function assertInvariants(problem: AdaptiveProblem): void {
  const { topology, samples, previous, options } = problem;
  const { numRanks, numPhysicalExperts, numLogicalExperts, numGroups, numNodes } = topology;
  const stride = numPhysicalExperts / numRanks;
  const binds = options.locality === 'groups' && numNodes > 1 && numGroups % numNodes === 0;
  const expertsInReach = binds ? numLogicalExperts / numNodes : numLogicalExperts;
  if (binds && nodesOf(topology).some((slots) => slots < expertsInReach)) {
    const tooFew = refusal('range', 'EPLB_TOPOLOGY', /slotsPerRank: node \d+ has \d+ slots, too few for the/);
    assert.throws(() => plan(options, topology, samples, previous), tooFew);
    return;
  }
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
  const fewest = before.map((row, layer) =>
    forced[layer] ? fewestMoves(row, { ...topology, numExperts: numLogicalExperts }) : 0,
  );
  for (const [layer, row] of after.entries()) {
    const open = row.filter((_, slot) => isOpen(topology, slot));
    assert.equal(new Set(open).size, numLogicalExperts, 'every expert has a replica');
    assert.ok(!open.includes(-1), 'no open slot is empty');
    if (moves[layer] !== 0 || forced[layer])
      assert.ok(
        row.every((expert, slot) => expert < 0 || isOpen(topology, slot)),
        'closed slots are',
      );
    if (binds) assertGroupsOnNodes(row, topology);
    if (moves[layer] === 0) {
      if (!forced[layer]) assert.deepEqual(row, before[layer], 'what does not move stays in its slot');
      continue;
    }
    for (let rank = 0; rank < numRanks; rank++) {
      const numOpen = openOf(topology, rank);
      const experts = expertsOf(row, rank, stride).slice(0, numOpen);
      if (expertsInReach >= numOpen) assert.equal(new Set(experts).size, numOpen, `doubles, rank ${rank}`);
      const held = expertsOf(before[layer]!, rank, stride).slice(0, numOpen);
      for (const [slot, expert] of held.entries()) {
        const isSingle = [held, experts].every((row) => row.filter((other) => other === expert).length === 1);
        if (isSingle) assert.equal(experts[slot], expert, 'experts that stay keep their slots');
      }
    }
    const limit = options.maxMovesPerLayer ?? numPhysicalExperts;
    if (!forced[layer]) assert.ok(moves[layer]! <= limit);
    else if (!binds)
      assert.ok(moves[layer]! <= Math.max(limit, fewest[layer]!), 'no more than a repair takes');
  }
  const total = moves.reduce((sum, count) => sum + count, 0);
  const needed = fewest.reduce((sum, count) => sum + count, 0);
  if (options.maxMoves !== undefined && !binds) assert.ok(total <= Math.max(options.maxMoves, needed));
  const free = moves.reduce((sum, count, layer) => sum + (forced[layer] ? 0 : count), 0);
  if (options.maxMoves !== undefined) assert.ok(free <= options.maxMoves);
  if (options.maxBytes !== undefined) {
    const { bytesPerExpert = 88_080_384 } = (options.cost ?? {}) as AdaptiveCostModel;
    assert.ok(free * bytesPerExpert <= options.maxBytes);
    if (!binds) assert.ok(total * bytesPerExpert <= Math.max(options.maxBytes, needed * bytesPerExpert));
  }
  assert.equal(forecast?.moves, total);
  // Free moves may take more than they return.
  if (options.cost !== undefined && options.price !== 0 && !forced.includes(true))
    assert.ok(forecast!.secondsSpent < forecast!.secondsGained);
  assert.deepEqual(plan(options, topology, samples, previous), decision, 'the same input, the same plan');
}

test('whatever is asked, plans are valid and within limits, or the live mapping stays', () => {
  fc.assert(fc.property(adaptiveProblems(40), assertInvariants), { numRuns: 1000, seed: SEED });
});

test('the first placement is valid, and steadier than one of the default policy', () => {
  const topology = topologyOf({});
  const samples = makeSamples(topology, 8, 5);
  const decision = plan({}, topology, samples);
  assert.ok(decision.status === 'planned');
  assert.equal(decision.forecast, undefined);
  assert.equal(new Set(decision.mapping.toJSON().phyToLog[0]).size, 16);
});

test('plans for the same loads come to an end, whatever the price', () => {
  const problems = adaptiveProblems(40).map(({ topology, samples }) => ({
    topology,
    samples: steadySamples(samples, 6),
  }));
  const prices = fc.constantFrom(undefined, 0, 0.0001, 0.002, 0.01);
  fc.assert(
    fc.property(problems, prices, ({ topology, samples }, price) => {
      const options = price === undefined ? {} : { price };
      let live = liveMapping(topology, 3, false);
      for (let plans = 0; plans < 10; plans++) {
        const next = plan(options, topology, samples, live);
        if (next.status === 'kept') return;
        live = next.mapping;
      }
      assert.fail('ten plans for the same loads all change something');
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
    for (const options of [{}, { price: 0 }]) {
      const first = plan(options, sizes, noiseSamples(sizes, 16, tokens, 1));
      for (let seed = 2; seed < 30; seed++) {
        const numSamples = seed % 2 === 0 ? 16 : 64;
        const next = plan(options, sizes, noiseSamples(sizes, numSamples, tokens, seed), first.mapping);
        assert.equal(next.mapping, first.mapping, `seed ${seed}`);
      }
    }
  }
});

/** How much slower the slowest rank makes the samples than balance would, in the mean. */
function imbalanceOf(
  { data, numSamples, numLayers, numExperts }: LoadSamples,
  mapping: ExpertMapping,
): number {
  let sum = 0;
  for (let sample = 0; sample < numSamples; sample++) {
    const step = data.slice(sample * numLayers * numExperts, (sample + 1) * numLayers * numExperts);
    const balances = layerBalances({ data: step, numLayers, numExperts }, mapping, 8);
    for (const { maxRankLoad, meanRankLoad } of balances) sum += maxRankLoad / meanRankLoad;
  }
  return sum / numSamples / numLayers;
}

function joined(...parts: readonly LoadSamples[]): LoadSamples {
  const data = Float32Array.from(parts.flatMap((part) => Array.from(part.data)));
  return { ...parts[0]!, data, numSamples: parts.reduce((sum, { numSamples }) => sum + numSamples, 0) };
}

test('steps before a change of domain do not mislead, and steps of the same domain help', () => {
  const sizes = topologyOf({ numLayers: 12 });
  const options = { price: 0, numKicks: 10 };
  const mean = { alone: 0, after: 0, before: 0, longer: 0 };
  for (let seed = 0; seed < 5; seed++) {
    // Loads of one seed have the same means, whatever their number.
    const domain = (from: number, to: number) => makeSamples(sizes, to, 10 + seed, from);
    const now = domain(0, 8);
    const next = domain(40, 80);
    const live = liveMapping(sizes, seed, false);
    const planned = (samples: LoadSamples) => imbalanceOf(next, plan(options, sizes, samples, live).mapping);
    mean.alone += planned(now) / 5;
    const other = makeSamples(sizes, 24, 100 + seed);
    mean.after += planned(joined(other, now)) / 5;
    mean.before += planned(other) / 5;
    mean.longer += planned(domain(0, 40)) / 5;
  }
  const lost = (mean.after - mean.alone) / (mean.before - mean.alone);
  assert.ok(lost < 0.1, `${lost} of what steps of the other domain alone lose`);
  assert.ok(mean.longer < mean.alone * 0.99, `${mean.longer} from 40 steps, ${mean.alone} from 8`);
});
