import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CostModel, type CostModelInit, costModel } from 'expert-load-balancer';
import fc from 'fast-check';
import { costInitArbitrary } from '../helpers/cost.ts';
import { refusal, SEED } from '../helpers/library.ts';

const OPTIONS = { seed: SEED, numRuns: 200 };

/** The same in plain sight: a slot's seconds with a whole number of tokens. */
function wholeSlot(init: CostModelInit, tokens: number): number {
  const { idle = 0, tile = 1, ...curve } = init.slotSeconds;
  if (tokens === 0) return idle;
  const padded = Math.ceil(tokens / tile) * tile;
  if ('perToken' in curve) return Math.max(idle, curve.floor ?? 0, padded * curve.perToken);
  const points = curve.tokens.map((at, i) => [at, curve.seconds[i]!] as const);
  if (padded <= points[0]![0]) return points[0]![1];
  const next = points.findIndex(([at]) => at >= padded);
  if (next === -1 && points.length === 1) return (padded * points[0]![1]) / points[0]![0];
  const [to, from] = next === -1 ? [points.at(-1)!, points.at(-2)!] : [points[next]!, points[next - 1]!];
  return from[1] + ((padded - from[0]) / (to[0] - from[0])) * (to[1] - from[1]);
}

function near(actual: number, expected: number): void {
  assert.ok(
    Math.abs(actual - expected) <= 1e-9 * Math.max(1e-12, Math.abs(expected)),
    `${actual} ${expected}`,
  );
}

describe('a cost model', () => {
  test('a rank takes fixed + its slots + what it receives over links, by its speed: by hand', () => {
    const cost = costModel({
      fixedSeconds: 1,
      slotSeconds: { floor: 2, perToken: 0.5, tile: 4 },
      dispatchBytesPerToken: 10,
      combineBytesPerToken: 20,
      links: {
        intraNode: { bytesPerSecond: 60, latencySeconds: 0.25 },
        interNode: { bytesPerSecond: 30 },
        rack: { bytesPerSecond: 10, latencySeconds: 1 },
      },
    });
    // 3 tokens are a tile of 4, 5 are two of them.
    assert.equal(cost.rankSeconds([0, 3, 5]), 1 + 2 + 4);
    assert.equal(cost.rankSeconds([0, 3, 5], { rankSpeed: 2 }), 3.5);
    assert.equal(cost.rankSeconds([0, 3, 5], { tokensReceived: 4 }), 7 + 2 + 0.5);
    // By class: the bytes of each over its own links, and the start of the slowest, there and back.
    const tokensReceived = { intraNode: 2, interNode: 1, rack: 3 };
    assert.equal(cost.rankSeconds([], { tokensReceived }), 1 + 1 + 1 + 9 + 2);
    assert.equal(cost.layerSeconds([[3], [5, 5], []]), 9);
    assert.equal(cost.layerSeconds([[3], [5, 5]], { rankSpeeds: [0.1, 1] }), 30);
    // Half of the tokens of two ranks are their own.
    assert.equal(cost.layerSeconds([[4], [8]], { tokensReceived: 'even' }), 5 + 2 + 0.5);
    assert.equal(cost.layerSeconds([[4], [8]], { tokensReceived: [8, 0] }), 3 + 4 + 0.5);
  });

  test('weights take rounds, and bytes over the share of a link', () => {
    const cost = costModel({
      slotSeconds: { perToken: 1 },
      links: { intraNode: { bytesPerSecond: 100 } },
      moves: { secondsPerRound: 3, bandwidthShare: 0.5 },
    });
    assert.equal(cost.moveSeconds(200), 3 + 4);
    assert.equal(cost.moveSeconds(200, 'intraNode', 2), 6 + 4);
    // What the file leaves out has its default.
    assert.equal(cost.moveSeconds(50e9, 'interNode', 0), 2);
    const interNode = { latencySeconds: 0, bytesPerSecond: 50e9, batchShare: 0.7 };
    assert.deepEqual(cost.link('interNode'), interNode);
  });

  test('slots take what their curve says; between whole tokens in proportion; never less for more', () => {
    fc.assert(
      fc.property(costInitArbitrary(), fc.double({ min: 0, max: 5000, noNaN: true }), (init, tokens) => {
        const cost = costModel(init);
        const whole = Math.floor(tokens);
        const share = tokens - whole;
        const low = wholeSlot(init, whole);
        const high = wholeSlot(init, whole + 1);
        near(cost.slotSeconds(whole), low);
        near(cost.slotSeconds(tokens), low + share * (high - low));
        assert.ok(cost.slotSeconds(tokens) <= cost.slotSeconds(tokens + 1));
        assert.ok(Number.isFinite(cost.slotSeconds(3.4e38)));
      }),
      OPTIONS,
    );
  });

  test('the least of an expert is no more than any number of copies takes, of any shares', () => {
    const parts = fc.array(fc.integer({ min: 0, max: 600 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(costInitArbitrary(), parts, fc.integer({ min: 1, max: 6 }), (init, tokens, copies) => {
        const cost = costModel(init);
        const idle = cost.slotSeconds(0);
        const all = tokens.reduce((sum, n) => sum + n, 0);
        const least = cost.leastExpertSeconds(all) * (1 - 1e-9);
        assert.ok(least <= tokens.reduce((sum, n) => sum + cost.slotSeconds(n) - idle, 0));
        if (all >= copies) assert.ok(least <= copies * (cost.slotSeconds(all / copies) - idle));
      }),
      OPTIONS,
    );
  });

  test('a layer waits for its slowest rank, in whatever order ranks and slots are', () => {
    const ranks = fc.array(fc.array(fc.nat(2000), { maxLength: 6 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(costInitArbitrary(), ranks, (init, tokens) => {
        const cost = costModel(init);
        const seconds = cost.layerSeconds(tokens);
        assert.equal(seconds, Math.max(...tokens.map((slots) => cost.rankSeconds(slots))));
        assert.equal(seconds, cost.layerSeconds(tokens.map((slots) => Float32Array.from(slots)).reverse()));
        const received = { tokensReceived: 'even' } as const;
        assert.ok(cost.layerSeconds(tokens, received) >= seconds);
      }),
      OPTIONS,
    );
  });

  test('its JSON makes the same model, and nothing that is given or got changes it', () => {
    fc.assert(
      fc.property(costInitArbitrary(), (init) => {
        const given = structuredClone(init);
        const cost = costModel(given);
        const json = cost.toJSON();
        (given as { fixedSeconds?: number }).fixedSeconds = 7;
        (json as { fixedSeconds: number }).fixedSeconds = 7;
        if ('tokens' in given.slotSeconds) (given.slotSeconds.tokens as number[]).length = 0;
        assert.deepEqual(cost.toJSON(), costModel(init).toJSON());
        assert.deepEqual(costModel(JSON.parse(JSON.stringify(cost))).toJSON(), cost.toJSON());
      }),
      OPTIONS,
    );
    const cost = costModel('h200:deepseek-v3:bf16');
    assert.ok(cost instanceof CostModel);
    assert.equal(costModel(cost), cost);
  });

  const refused: readonly [string, unknown, ReturnType<typeof refusal>][] = [
    ['no object', 7, refusal('type', 'EPLB_KIND', /^cost: 7 is not an object/)],
    ['null', null, refusal('type', 'EPLB_KIND', /^cost: null is not/)],
    ['no curve', {}, refusal('type', 'EPLB_KIND', /^cost.slotSeconds: undefined/)],
    [
      'no time per token',
      { slotSeconds: {} },
      refusal('type', 'EPLB_KIND', /slotSeconds.perToken: undefined/),
    ],
    [
      'a field too many',
      { slotSeconds: { perToken: 1 }, fixed: 1 },
      refusal('range', 'EPLB_RANGE', /^cost: has an unknown field "fixed"; its fields are/),
    ],
    [
      'a table and a roofline',
      { slotSeconds: { perToken: 1, tokens: [1], seconds: [1] } },
      refusal('range', 'EPLB_RANGE', /unknown field "perToken"/),
    ],
    [
      'a negative time',
      { slotSeconds: { perToken: -1 } },
      refusal('range', 'EPLB_RANGE', /perToken: -1 is not from 0/),
    ],
    ['NaN', { slotSeconds: { perToken: Number.NaN } }, refusal('range', 'EPLB_RANGE', /perToken: NaN/)],
    [
      'a broken tile',
      { slotSeconds: { perToken: 1, tile: 1.5 } },
      refusal('range', 'EPLB_NOT_WHOLE', /tile: 1.5/),
    ],
    [
      'a table that falls',
      { slotSeconds: { tokens: [1, 2], seconds: [2, 1] } },
      refusal('range', 'EPLB_RANGE', /seconds\[1\]: 1 after 2/),
    ],
    [
      'tokens twice',
      { slotSeconds: { tokens: [1, 1], seconds: [1, 2] } },
      refusal('range', 'EPLB_RANGE', /tokens\[1\]: 1 after 1/),
    ],
    [
      'lists of two lengths',
      { slotSeconds: { tokens: [1, 2], seconds: [1] } },
      refusal('range', 'EPLB_SHAPE', /1 seconds for 2/),
    ],
    [
      'an empty table',
      { slotSeconds: { tokens: [], seconds: [] } },
      refusal('range', 'EPLB_SHAPE', /has 0 entries/),
    ],
    [
      'a link without bandwidth',
      { slotSeconds: { perToken: 1 }, links: { rack: {} } },
      refusal('type', 'EPLB_KIND', /links.rack.bytesPerSecond: undefined/),
    ],
    [
      'a basis that is none',
      { slotSeconds: { perToken: 1 }, basis: 'guessed' },
      refusal('range', 'EPLB_RANGE', /basis: "guessed" is none of measured/),
    ],
  ];
  for (const [what, given, check] of refused) {
    test(`refuses ${what}`, () => {
      assert.throws(() => costModel(given as CostModelInit), check);
    });
  }

  test('refuses wrong tokens and options, and names them', () => {
    const cost = costModel({ slotSeconds: { perToken: 1 } });
    assert.throws(() => cost.rankSeconds([1, -1]), refusal('range', 'EPLB_RANGE', /tokensPerSlot\[1\]: -1/));
    assert.throws(
      () => cost.rankSeconds(['1'] as never),
      refusal('type', 'EPLB_KIND', /tokensPerSlot\[0\]: "1"/),
    );
    assert.throws(() => cost.rankSeconds(7 as never), refusal('type', 'EPLB_KIND', /tokensPerSlot: 7/));
    assert.throws(
      () => cost.rankSeconds([1], { rankSpeed: 0 }),
      refusal('range', 'EPLB_RANGE', /rankSpeed: 0/),
    );
    assert.throws(
      () => cost.rankSeconds([1], { tokensReceived: { moon: 1 } }),
      refusal('range', 'EPLB_RANGE', /"moon" is none of this model: intraNode, interNode/),
    );
    assert.throws(
      () => cost.layerSeconds([[1]], { rankSpeeds: [1, 1] }),
      refusal('range', 'EPLB_SHAPE', /rankSpeeds: has 2 entries for 1 ranks/),
    );
    assert.throws(() => cost.layerSeconds(7 as never), refusal('type', 'EPLB_KIND', /^ranks: 7/));
    assert.throws(() => cost.slotSeconds(Number.NaN), refusal('range', 'EPLB_RANGE', /tokens: NaN/));
    assert.throws(() => cost.moveSeconds(-1), refusal('range', 'EPLB_RANGE', /bytes: -1/));
  });
});
