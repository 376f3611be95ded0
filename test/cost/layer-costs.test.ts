import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { costModel, ExpertMapping, layerCosts, summarizeCost } from 'expert-load-balancer';
import fc from 'fast-check';
import { costInitArbitrary } from '../helpers/cost.ts';
import { mappingArbitrary, refusal, SEED } from '../helpers/library.ts';

/** The tokens of each rank's slots, in plain sight. */
function tokensOf(loads: readonly number[], slots: readonly number[], numRanks: number): number[][] {
  const copies = loads.map((_, expert) => slots.filter((own) => own === expert).length);
  const stride = slots.length / numRanks;
  return Array.from({ length: numRanks }, (_, rank) =>
    slots.slice(rank * stride, (rank + 1) * stride).map((own) => (own < 0 ? 0 : loads[own]! / copies[own]!)),
  );
}

describe('what layers cost', () => {
  test('the slowest rank, perfect balance and active experts, by hand', () => {
    const cost = costModel({ fixedSeconds: 1, slotSeconds: { floor: 4, perToken: 1 } });
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 0, -1]]);
    const [layer] = layerCosts([[20, 2, 1, 0]], mapping, 2, cost);
    // Rank 0: expert 0 (10 tokens), 1 (2), 2 (1). Rank 1: none, expert 0 (10), an empty slot.
    assert.deepEqual(layer, {
      seconds: 1 + 10 + 4 + 4,
      meanRankSeconds: (19 + 11) / 2,
      // All experts take 20 + 4 + 4, half of it each; 3 active ones are 2 on one rank, 8 at least.
      secondsAtBalance: 1 + 14,
      meanActiveExperts: 2,
      maxActiveExperts: 3,
      slowest: { rank: 0, fixedSeconds: 1, activeSeconds: 8, tokenSeconds: 10 },
    });
    const [few] = layerCosts([[1, 1, 1, 0]], mapping, 2, cost);
    assert.equal(few!.secondsAtBalance, 1 + 8);
    const [exchanged] = layerCosts(
      [[20, 2, 1, 0]],
      mapping,
      2,
      costModel({
        fixedSeconds: 1,
        slotSeconds: { floor: 4, perToken: 1 },
        dispatchBytesPerToken: 1,
        combineBytesPerToken: 1,
        links: { intraNode: { bytesPerSecond: 13 } },
      }),
      { exchange: 'even' },
    );
    assert.equal(exchanged!.seconds, 19 + 1);
  });

  test('time follows tokens, active experts or neither', () => {
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]);
    const boundBy = (fixedSeconds: number, load: number) =>
      summarizeCost(
        layerCosts(
          [[load, load, load, load]],
          mapping,
          2,
          costModel({ fixedSeconds, slotSeconds: { floor: 4, perToken: 1 } }),
        ),
      ).boundBy;
    assert.equal(boundBy(1, 100), 'tokens');
    assert.equal(boundBy(1, 1), 'active experts');
    assert.equal(boundBy(20, 1), 'neither');
    assert.equal(boundBy(1, 0), 'neither');
  });

  test('layers add up, and of no layers there is nothing', () => {
    const cost = costModel({ slotSeconds: { perToken: 1 } });
    const mapping = ExpertMapping.fromPhysicalToLogical([
      [0, 1],
      [0, 1],
    ]);
    const summary = summarizeCost(
      layerCosts(
        [
          [3, 1],
          [2, 2],
        ],
        mapping,
        2,
        cost,
      ),
    );
    assert.equal(summary.seconds, 5);
    assert.equal(summary.secondsAtBalance, 4);
    assert.equal(summary.possibleSaving, 0.2);
    assert.equal(summary.boundBy, 'tokens');
    assert.deepEqual(summary.shares, { tokens: 1, activeExperts: 0, neither: 0 });
    assert.equal(summarizeCost([]).possibleSaving, 0);
  });

  test('it is the layer time of the model, and no placement beats perfect balance', () => {
    const sizes = { numLayers: 2, numLogical: 4, numPhysical: 12 };
    // Few and many tokens, whole and not.
    const load = fc.oneof(
      fc.nat(600),
      fc.integer({ min: 8_000, max: 40_000 }),
      fc.nat(9_000).map((eighths) => eighths / 8),
    );
    const loads = fc.array(fc.array(load, { minLength: 4, maxLength: 4 }), { minLength: 2, maxLength: 2 });
    const numRanks = fc.constantFrom(1, 2, 3, 4, 6, 12);
    fc.assert(
      fc.property(
        costInitArbitrary(),
        mappingArbitrary(sizes),
        loads,
        numRanks,
        (init, mapping, weight, ranks) => {
          const cost = costModel(init);
          layerCosts(weight, mapping, ranks, cost).forEach((layer, at) => {
            const tokens = tokensOf(
              weight[at]!,
              Array.from(mapping.phyToLog).slice(at * 12, at * 12 + 12),
              ranks,
            );
            const seconds = cost.layerSeconds(tokens);
            const near = (a: number, b: number) =>
              assert.ok(Math.abs(a - b) <= 1e-9 * Math.max(1e-9, b), `${a} ${b}`);
            near(layer.seconds, seconds);
            const active = tokens.map((slots) => slots.reduce((sum, n) => sum + Math.min(1, n), 0));
            near(layer.maxActiveExperts, Math.max(...active));
            assert.ok(layer.secondsAtBalance <= layer.seconds);
            const { fixedSeconds, activeSeconds, tokenSeconds } = layer.slowest;
            near(fixedSeconds + activeSeconds + tokenSeconds, seconds);
          });
          // The bound is of the loads, and the same for all placements whose copies have a token each, and so
          // it is the least of them. Rows of enough tokens have only such.
          const enough = weight.map((row) => row.map((load) => load + 12));
          const other = ExpertMapping.fromPhysicalToLogical(
            [0, 1].map(() => [0, 1, 2, 3, 3, 2, 1, 0, 0, 0, 0, 0]),
            4,
          );
          const [mine, theirs] = [mapping, other].map((one) =>
            summarizeCost(layerCosts(enough, one, ranks, cost)),
          );
          assert.ok(mine!.secondsAtBalance <= theirs!.seconds * (1 + 1e-9));
          assert.ok(theirs!.secondsAtBalance <= mine!.seconds * (1 + 1e-9));
        },
      ),
      { seed: SEED, numRuns: 200 },
    );
  });

  test('what does not fit is refused', () => {
    const cost = costModel('h200:deepseek-v3');
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1]]);
    const refused = (call: () => unknown, ...[kind, code, message]: Parameters<typeof refusal>) =>
      assert.throws(call, refusal(kind, code, message));
    refused(() => layerCosts([[1, -1]], mapping, 2, cost), 'range', 'EPLB_LOAD', /layer 0, index 1: -1/);
    refused(() => layerCosts([[1]], mapping, 2, cost), 'range', 'EPLB_SHAPE', /has 1 experts/);
    refused(() => layerCosts([[1, 1]], mapping, 3, cost), 'range', 'EPLB_TOPOLOGY', /3 does not divide 2/);
    refused(() => layerCosts([[1, 1]], mapping, 2, {} as never), 'type', 'EPLB_KIND', /no CostModel/);
    refused(
      () => layerCosts([[1, 1]], mapping, 2, cost, { exchange: 'some' as never }),
      'range',
      'EPLB_RANGE',
      /exchange: "some"/,
    );
    refused(() => summarizeCost(7 as never), 'type', 'EPLB_KIND', /layers: 7/);
  });
});
