import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkTransfer, ExpertMapping, planTransfer, type TransferPlan } from 'expert-load-balancer';
import fc from 'fast-check';
import { SEED } from '../helpers/library.ts';
import { type TransferProblem, transferProblems } from '../helpers/transfer.ts';
import {
  leastLinkCost,
  leastMostSent,
  mostReceived,
  movedWeights,
  needsOf,
  wantedWeights,
} from '../oracle/transfer.ts';

/** How many problems are tried; 100,000 at length, with EPLB_LONG_RUNS. */
const NUM_RUNS = Number(process.env.EPLB_LONG_RUNS ?? 150);

const mapping = (...rows: number[][]) => ExpertMapping.fromPhysicalToLogical(rows);
const forAll = (numRuns: number, property: (problem: TransferProblem) => void) =>
  fc.assert(fc.property(transferProblems, property), { numRuns, seed: SEED });
const planOf = ({ from, to, options }: TransferProblem) => planTransfer(from, to, options);
/** Why a plan is not valid; nothing when it is. */
const problemsOf = (plan: TransferPlan, from: ExpertMapping, to: ExpertMapping) => {
  const check = checkTransfer(plan, from, to);
  return check.status === 'valid' ? [] : check.problems;
};

test('two ranks exchange their experts in one round', () => {
  const from = mapping([0, 1, 2, 3]);
  const to = mapping([2, 1, 0, 3]);
  const plan = planTransfer(from, to, { numRanks: 2, bytesPerExpert: 100 });
  assert.deepEqual(plan.layers[0]!.rounds, [
    [
      {
        ...{ expert: 2, sourceRank: 1, sourceSlot: 0, targetRank: 0, targetSlot: 2 },
        bytes: 100,
        link: 'intraNode',
      },
      {
        ...{ expert: 0, sourceRank: 0, sourceSlot: 0, targetRank: 1, targetSlot: 2 },
        bytes: 100,
        link: 'intraNode',
      },
    ],
  ]);
  const activation = plan.layers[0]!.copies.map(({ sourceSlot, targetRank, targetSlot, step }) => [
    ...[targetRank, sourceSlot, targetSlot, step],
  ]);
  assert.deepEqual(activation, [
    [0, 2, 0, 2],
    [1, 2, 0, 2],
  ]);
  assert.deepEqual([plan.numRounds, plan.numTransfers, plan.bytes, plan.bounds.rounds], [1, 2, 200, 1]);
  assert.deepEqual(plan.digests, { from: from.digest(), to: to.digest() });
});

test('what a rank has is copied there, and what several slots need is received once', () => {
  const from = mapping([0, 1, 2, 1, 3, 3, 4, 3]);
  const to = mapping([1, 0, 2, 1, 2, 2, 4, 3]);
  const plan = planTransfer(from, to, { numRanks: 2 });
  const [layer] = plan.layers;
  assert.deepEqual(
    layer!.rounds.flat().map(({ expert, sourceRank, targetRank }) => [expert, sourceRank, targetRank]),
    [[2, 0, 1]],
  );
  // Expert 0 has no slot that it keeps; 1 has one.
  assert.deepEqual(
    layer!.copies.map(({ expert, sourceSlot, targetSlot, step }) => [expert, sourceSlot, targetSlot, step]),
    [
      [0, 0, 4, 0],
      [1, 3, 0, 2],
      [0, 4, 1, 2],
      [2, 4, 0, 2],
      [2, 4, 1, 2],
    ],
  );
  assert.deepEqual(problemsOf(plan, from, to), []);
});

test('every plan leads to the target byte for byte, and the checker accepts it', () => {
  forAll(NUM_RUNS, (problem) => {
    const { from, to } = problem;
    const plan = planOf(problem);
    assert.deepEqual(problemsOf(plan, from, to), []);
    for (const layer of plan.layers) {
      const moved = movedWeights(plan, layer, from);
      const wanted = wantedWeights(plan, layer.layer, to);
      const undone = new Set(layer.undone.map(({ targetRank, targetSlot }) => `${targetRank} ${targetSlot}`));
      for (const [rank, slots] of wanted.entries()) {
        if (plan.deadRanks.includes(rank)) continue;
        for (const [slot, bytes] of slots.entries()) {
          if (!undone.has(`${rank} ${slot}`))
            assert.equal(moved[rank]![slot], bytes, `rank ${rank}, slot ${slot}`);
        }
      }
    }
  });
});

test('buffered, rounds are what the busiest sender or receiver has, and no choice of senders is better', () => {
  forAll(NUM_RUNS, ({ from, to, options }) => {
    const { numRanks, numNodes, deadRanks } = options;
    const plan = planTransfer(from, to, { numRanks, numNodes: numNodes ?? 1, deadRanks });
    for (const { layer, rounds, hostLoads, bounds } of plan.layers) {
      const needs = needsOf(from, to, layer, { numRanks, deadRanks });
      const [sent, received] = [leastMostSent(needs, numRanks), mostReceived(needs, numRanks)];
      assert.equal(rounds.length, Math.max(sent, received));
      assert.deepEqual(bounds, { mostSent: sent, mostReceived: received, rounds: rounds.length });
      assert.equal(rounds.flat().length + hostLoads.length, needs.length);
    }
  });
});

test('of the choices of senders that are as even, the one with the cheapest links is taken', () => {
  let compared = 0;
  forAll(NUM_RUNS, ({ from, to, options: { numRanks, deadRanks } }) => {
    const needs = needsOf(from, to, 0, { numRanks, deadRanks });
    const choices = needs.reduce((product, { holders }) => product * Math.max(1, holders.length), 1);
    if (choices === 1 || choices > 20_000) return;
    compared++;
    const linkCosts = Array.from({ length: numRanks }, (_, source) =>
      Array.from({ length: numRanks }, (__, target) => ((source * 7 + target * 3) % 5) + (source % 2) / 4),
    );
    const plan = planTransfer(from, to, { numRanks, deadRanks, linkCosts });
    const { rounds, bounds } = plan.layers.find(({ layer }) => layer === 0)!;
    const cost = rounds.flat().reduce((sum, one) => sum + linkCosts[one.sourceRank]![one.targetRank]!, 0);
    const least = leastLinkCost(needs, numRanks, bounds.mostSent, (a, b) => linkCosts[a]![b]!);
    assert.ok(Math.abs(cost - least) < 1e-6, `${cost} is not ${least}`);
  });
  assert.ok(compared > NUM_RUNS / 20, `only ${compared} problems have a choice`);
});

test('at half duplex rounds are at most 1.01 times the bound together', () => {
  let [rounds, bounds, exact, all] = [0, 0, 0, 0];
  forAll(NUM_RUNS, ({ from, to, options }) => {
    const { numRanks, deadRanks } = options;
    for (const layer of planTransfer(from, to, { numRanks, deadRanks, duplex: 'half' }).layers) {
      rounds += layer.rounds.length;
      bounds += layer.bounds.rounds;
      if (layer.rounds.length === layer.bounds.rounds) exact++;
      all++;
      assert.ok(layer.rounds.length <= Math.max(layer.bounds.rounds + 1, 1.1 * layer.bounds.rounds));
    }
  });
  assert.ok(rounds <= 1.01 * bounds, `${rounds} rounds, ${bounds} at least`);
  assert.ok(exact >= 0.95 * all, `${exact} of ${all} layers take as few as they can`);
});

test('in place, all is done with a staging slot, and with two in at most 1.05 times the bound', () => {
  let [ratios, layers] = [0, 0];
  forAll(NUM_RUNS, ({ from, to, options: { numRanks, deadRanks } }) => {
    for (const staging of [1, 2] as const) {
      const plan = planTransfer(from, to, { numRanks, deadRanks, staging });
      assert.equal(plan.mode, 'inPlace');
      assert.equal(plan.stagingBytes, 0);
      for (const layer of plan.layers) {
        assert.ok(layer.undone.every(({ reason }) => reason === 'deadRank'));
        if (staging === 1 || layer.bounds.rounds === 0) continue;
        ratios += layer.rounds.length / layer.bounds.rounds;
        layers++;
      }
    }
  });
  assert.ok(ratios <= 1.05 * layers, `${ratios / layers} times the bound`);
});

test('relays never take more rounds, and fewer than an expert has new ranks', () => {
  let [fewer, bounds, rounds] = [0, 0, 0];
  forAll(NUM_RUNS, ({ from, to, options }) => {
    const { relay: _, ...rest } = options;
    const relayed = planTransfer(from, to, { ...rest, relay: true });
    const direct = planTransfer(from, to, rest);
    for (const layer of direct.layers) {
      const other = relayed.layers.find((one) => one.layer === layer.layer)!;
      if (other.undone.length + layer.undone.length > 0) continue;
      assert.ok(other.rounds.length <= layer.rounds.length);
      if (other.rounds.length < layer.rounds.length) fewer++;
      rounds += other.rounds.length;
      bounds += other.bounds.rounds;
    }
  });
  assert.ok(fewer > 0);
  assert.ok(rounds < 1.3 * bounds, `${rounds} rounds with relays, ${bounds} at least`);
  for (let numRanks = 4; numRanks <= 64; numRanks++) {
    const before = Array.from({ length: numRanks }, (_, rank) => [rank, rank]).flat();
    const after = before.map((expert, slot) => (slot % 2 === 1 ? 0 : expert));
    for (const mode of ['buffered', 'inPlace'] as const) {
      const plan = planTransfer(mapping(before), mapping(after), { numRanks, relay: true, mode });
      assert.equal(plan.numRounds, Math.ceil(Math.log2(numRanks)), `${numRanks} ranks`);
    }
  }
});

test('the order of slots that wait for each other needs staging, and the plan says how much', () => {
  const from = mapping([0, 1, 2]);
  const to = mapping([1, 2, 0]);
  const plan = planTransfer(from, to, { numRanks: 3, staging: 0, bytesPerExpert: 100 });
  assert.equal(plan.stagingBytes, 100);
  assert.deepEqual(
    plan.layers[0]!.undone.map(({ expert, targetRank, reason }) => [expert, targetRank, reason]),
    [
      [1, 0, 'staging'],
      [2, 1, 'staging'],
      [0, 2, 'staging'],
    ],
  );
  assert.deepEqual(problemsOf(plan, from, to), []);
  const twice = mapping([0, 1, 2, 3, 4, 5]);
  const both = planTransfer(twice, mapping([1, 0, 3, 2, 4, 5]), {
    numRanks: 6,
    staging: 0,
    bytesPerExpert: 100,
  });
  assert.equal(both.stagingBytes, 200);
  // A third rank that keeps one of them has it sent, and there is a slot to begin with.
  const kept = planTransfer(mapping([0, 1, 0]), mapping([1, 0, 0]), { numRanks: 3, staging: 0 });
  assert.deepEqual([kept.stagingBytes, kept.numTransfers], [0, 2]);
});

test('what no live rank has is loaded from the host, and dead ranks take no part', () => {
  const from = mapping([0, 1, 2, 3, 4, 5]);
  const to = mapping([0, 4, 2, 3, 1, 5]);
  const plan = planTransfer(from, to, { numRanks: 3, deadRanks: [2], bytesPerExpert: 10 });
  const [layer] = plan.layers;
  assert.deepEqual(layer!.hostLoads, [{ expert: 4, targetRank: 0, targetSlot: 2, bytes: 10 }]);
  assert.deepEqual(
    layer!.undone.map(({ expert, targetRank, reason }) => [expert, targetRank, reason]),
    [
      [1, 2, 'deadRank'],
      [5, 2, 'deadRank'],
    ],
  );
  assert.deepEqual(problemsOf(plan, from, to), []);
});

/** Neighbours are near. */
const COSTS = Array.from({ length: 5 }, (_, a) => Array.from({ length: 5 }, (__, b) => Math.abs(a - b)));

test('further sources are listed, the nearest first, none of them dead', () => {
  const from = mapping([0, 1, 0, 2, 3, 0, 3, 5, 3, 4]);
  const to = mapping([0, 1, 0, 2, 3, 0, 0, 5, 3, 4]);
  const moves = planTransfer(from, to, { numRanks: 5, linkCosts: COSTS, deadRanks: [1] });
  const [transfer] = moves.layers[0]!.rounds.flat();
  assert.deepEqual(transfer!.sourceRank, 2);
  assert.deepEqual(transfer!.fallbacks, [{ rank: 0, slot: 0 }]);
});

test('layers come by their gain for a byte, those without changes last', () => {
  const base = [0, 1, 2, 3, 4, 5, 6, 7];
  const rows = [base, [4, 1, 2, 3, 0, 5, 6, 7], [4, 5, 2, 3, 0, 1, 6, 7], [1, 0, 2, 3, 4, 5, 6, 7]];
  const from = mapping(base, base, base, base);
  const order = (gains?: number[]) =>
    planTransfer(from, mapping(...rows), { numRanks: 4, ...(gains && { gains }) }).layers.map(
      ({ layer }) => layer,
    );
  assert.deepEqual(order(), [3, 1, 2, 0]);
  assert.deepEqual(order([9, 1, 4, 1]), [3, 2, 1, 0]);
});

test('tensors, topology and matrices of links are taken; what does not fit is refused by its name', () => {
  const from = mapping([0, 1, 2, 3]);
  const to = mapping([2, 1, 0, 3]);
  const bundle = [
    { name: 'w13', bytes: 60 },
    { name: 'w13_scale', bytes: 4 },
  ];
  assert.equal(planTransfer(from, to, { numRanks: 2, bundle }).bytes, 128);
  const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 4, numGroups: 1 };
  const byTopology = planTransfer(from, to, { topology: { ...sizes, numRanks: 4, numNodes: 2 } });
  assert.deepEqual(byTopology.bytesByLink, { intraNode: 0, interNode: 0 });
  assert.equal(byTopology.layers[0]!.rounds[0]![0]!.link, 'interNode');
  const linkClasses = [
    ['none', 'rail'],
    ['rail', 'none'],
  ];
  assert.equal(planTransfer(from, to, { numRanks: 2, linkClasses }).layers[0]!.rounds[0]![0]!.link, 'rail');
  const refused = (options: object, code: string, message: RegExp) =>
    assert.throws(() => planTransfer(from, to, { numRanks: 2, ...options }), { code, message });
  refused({ numRanks: 3 }, 'EPLB_TOPOLOGY', /^numRanks: 3/);
  refused({ mode: 'direct' }, 'EPLB_RANGE', /^mode: "direct"/);
  refused({ staging: 3 }, 'EPLB_RANGE', /^staging: 3/);
  refused({ deadRanks: [2] }, 'EPLB_RANGE', /^deadRanks\[0\]: 2/);
  refused({ bytesPerExpert: 100, maxBytesInFlight: 99 }, 'EPLB_RANGE', /^maxBytesInFlight: 99/);
  refused({ schedule: 'batch', mode: 'inPlace' }, 'EPLB_OPTION', /^schedule: 'batch'/);
  refused({ schedule: 'batch', relay: true }, 'EPLB_OPTION', /^schedule: 'batch'/);
  refused({ bundle, bytesPerExpert: 60 }, 'EPLB_OPTION', /^bytesPerExpert: is 60/);
  refused({ linkCosts: [[0]] }, 'EPLB_SHAPE', /^linkCosts: has 1/);
  refused({ gains: [1, 2] }, 'EPLB_SHAPE', /^gains: has 2/);
  refused({ linkClasses, cost: 'h200:deepseek-v3' }, 'EPLB_RANGE', /"rail"|"none"/);
  refused({ stagging: 1 }, 'EPLB_OPTION', /did you mean staging/);
  assert.throws(() => planTransfer(from, mapping([0, 1, 2, 3, 3, 3]), { numRanks: 2 }), {
    code: 'EPLB_SHAPE',
  });
});
