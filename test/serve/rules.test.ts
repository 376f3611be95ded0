/** Rules of a group's declaration: kept by plans, repairs and epochs, over restarts; or refused. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { brokenRules, ExpertMapping, type PlacementRules } from 'expert-load-balancer';
import fc from 'fast-check';
import { inTempDir } from '../helpers/cli.ts';
import { SEED } from '../helpers/library.ts';
import { ask, assertRefusal, serve } from '../helpers/service.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 8, numPhysicalExperts: 16, numRanks: 4 };
const RULES = {
  pinned: [{ experts: '0-1', ranks: [1, 3], only: true }],
  neverReplicated: [{ experts: 7 }],
  sharedExpert: { load: 0.25, ranks: '0,2' },
};
/** The same in the library's words. */
const RULED: PlacementRules = {
  pinned: [{ experts: [0, 1], ranks: [1, 3], only: true }],
  neverReplicated: [{ experts: [7] }],
  sharedExpert: { load: 0.25, ranks: [0, 2] },
};
const GROUP = { ...SIZES, policy: 'adaptive', rules: RULES };
const LOADS = [
  [90, 8, 70, 6, 50, 4, 30, 2],
  [1, 20, 3, 40, 5, 60, 7, 80],
];

async function withService<T>(state: string | undefined, work: (base: string) => Promise<T>): Promise<T> {
  const where = state === undefined ? {} : { state };
  const { address, close } = await serve.startService({ listen: '127.0.0.1:0', ...where });
  try {
    return await work(address);
  } finally {
    await close();
  }
}

/** What a table breaks, while some ranks are dead. */
function brokenIn(physicalToLogical: number[][], deadRanks: number[] = [], rules = RULED) {
  const mapping = ExpertMapping.fromPhysicalToLogical(physicalToLogical, SIZES.numLogicalExperts);
  return brokenRules(mapping, { ...SIZES, numNodes: 1, numGroups: 1, deadRanks, rules });
}

const rulesKept = ({ conditions }: { conditions: { type: string; status: boolean; reason: string }[] }) =>
  conditions.filter(({ type }) => type === 'RulesKept').map(({ status, reason }) => [status, reason]);

test('rules are kept by plans, repairs and epochs, and over a restart', async () => {
  await inTempDir(async (dir) => {
    const state = join(dir, 'state');
    const group = (base: string) => ({
      get: async (path = '') => (await ask(base, 'GET', `/v1/groups/g${path}`)).json,
      post: async (path: string, body: unknown) =>
        (await ask(base, 'POST', `/v1/groups/g${path}`, body)).json,
    });
    await withService(state, async (base) => {
      const { get, post } = group(base);
      const { status, json } = await ask(base, 'PUT', '/v1/groups/g', GROUP);
      assert.equal(status, 201, JSON.stringify(json));
      assert.deepEqual(json.rules, RULES);
      assert.equal((await ask(base, 'PUT', '/v1/groups/g', GROUP)).status, 200);
      assertRefusal(
        await ask(base, 'PUT', '/v1/groups/g', { ...GROUP, rules: {} }),
        ...(['EPLB_CONFLICT', 409, /other content/] as const),
      );
      assert.deepEqual(rulesKept(json), [[true, 'in all layers']], 'the first mapping keeps them');

      // The engine has gone its own way: the next plan mends that.
      const own = [0, 1, 2, -1, 3, 4, 5, 6, 7, 0, 1, -1, 2, 3, 4, 5];
      await post('/loads', { epoch: 1, physicalToLogical: [own, own] });
      const [[isKept, reason]] = rulesKept(await get()) as [[boolean, string]];
      assert.deepEqual([isKept, /breaks them \d+ times, in 2 layers/.test(reason)], [false, true]);
      const plan = await post('/plan', { loads: LOADS });
      assert.deepEqual(brokenIn(plan.physicalToLogical), []);
      // The last slot of the shared expert's ranks stays empty.
      for (const row of plan.physicalToLogical) assert.deepEqual([row[3], row[11]], [-1, -1]);
      await post('/epochs', { digest: plan.digest });
      for (const rank of [0, 1, 2, 3]) await post('/epochs/2/ack', { rank });
      assert.equal((await post('/epochs/2/activate', {})).state, 'active');
      assert.deepEqual(rulesKept(await get()), [[true, 'in all layers']]);

      // Two pinned experts have a copy on rank 1 still; what else was on rank 3 alone goes elsewhere.
      await post('/ranks', { dead: [3] });
      const { underWay } = await get();
      const repaired = await get(`/epochs/${underWay.epoch}/mapping`);
      assert.deepEqual(brokenIn(repaired.physicalToLogical, [3]), []);
    });
    await withService(state, async (base) => {
      const { get, post } = group(base);
      const { rules, underWay } = await get();
      assert.deepEqual([rules, underWay.epoch], [RULES, 3]);
      for (const rank of [0, 1, 2]) await post('/epochs/3/ack', { rank });
      assert.equal((await post('/epochs/3/activate', {})).state, 'active');
      const plan = await post('/plan', { loads: LOADS.map((row) => [...row].reverse()) });
      assert.deepEqual(brokenIn(plan.physicalToLogical, [3]), []);
      for (const row of plan.physicalToLogical) assert.deepEqual(row.slice(12), [-1, -1, -1, -1]);
    });
  });
});

test('rules that cannot be kept are refused, with what is right', async () => {
  await withService(undefined, async (base) => {
    const put = (rules: unknown, more = {}) =>
      ask(base, 'PUT', '/v1/groups/g', { ...SIZES, policy: 'adaptive', rules, ...more });
    const pins = (rule: object) => ({ pinned: [{ experts: 0, ranks: 0, ...rule }] });
    const bad: [unknown, object, string, RegExp][] = [
      [RULES, { policy: 'default' }, 'EPLB_TOPOLOGY', /policies that can plan this: locality, adaptive/],
      [pins({ experts: '0-4' }), {}, 'EPLB_RULES', /5 experts are pinned to rank 0, which has 4 open slots/],
      [pins({ experts: 8 }), {}, 'EPLB_RANGE', /group\.rules: pinned\[0\]\.experts: 8 .*from 0 to 7/],
      [pins({ ranks: '0-4' }), {}, 'EPLB_RANGE', /pinned\[0\]\.ranks: 4 .*from 0 to 3/],
      [pins({ layers: 2 }), {}, 'EPLB_RANGE', /pinned\[0\]\.layers: 2 .*from 0 to 1/],
      [pins({ expert: 1 }), {}, 'EPLB_OPTION', /did you mean experts/],
      [pins({ experts: '0-7,0-7' }), {}, 'EPLB_RANGE', /there are 8 experts; one is there twice/],
      [pins({ experts: `${'0,'.repeat(100_000)}0` }), {}, 'EPLB_RANGE', /one is there twice/],
      [{ pins: [] }, {}, 'EPLB_OPTION', /there is no option "pins"/],
      [{ pinned: {} }, {}, 'EPLB_KIND', /group\.rules: pinned: .* is not a list of rules/],
      [{ sharedExpert: { load: -1 } }, {}, 'EPLB_RANGE', /sharedExpert\.load: -1/],
      [{ sharedExpert: { load: 0.1, slots: 4 } }, {}, 'EPLB_RULES', /it leaves 0 open slots for 8 experts/],
      [{ neverReplicated: [{}] }, {}, 'EPLB_RULES', /8 would stay empty/],
      ['rules.yaml', {}, 'EPLB_KIND', /group\.rules: "rules\.yaml" is not an object/],
      [
        { pinned: Array(1_200_000).fill(0) },
        {},
        'EPLB_RANGE',
        /has 1200000 rules; groups of these sizes may have 1198372/,
      ],
    ];
    for (const [rules, more, code, message] of bad) assertRefusal(await put(rules, more), code, 422, message);
    assertRefusal(await ask(base, 'GET', '/v1/groups/g'), 'EPLB_NOT_FOUND', 404, /no group/);
    assert.equal((await put(RULES, { policy: 'locality' })).status, 201);
  });
});

test('where the ranks that live have no room for the rules, plans are repairs', async () => {
  await withService(undefined, async (base) => {
    const post = async (path: string, body: unknown) =>
      (await ask(base, 'POST', `/v1/groups/g${path}`, body)).json;
    // Twelve slots for six pinned copies and six other experts; nine are left.
    const rules = { pinned: [{ experts: '0-1', ranks: '0-2' }] };
    const group = { ...SIZES, numPhysicalExperts: 12, policy: 'adaptive', rules };
    assert.equal((await ask(base, 'PUT', '/v1/groups/g', group)).status, 201);
    await post('/ranks', { dead: [3] });
    const plan = await post('/plan', { loads: LOADS });
    for (const row of plan.physicalToLogical) {
      assert.deepEqual(row.slice(9), [-1, -1, -1]);
      assert.equal(new Set(row.slice(0, 9)).size, 8, 'every expert is there');
    }
  });
});

test('plans of any rules that are taken keep them', { timeout: 60_000 }, async () => {
  const someOf = (count: number, most: number) =>
    fc.uniqueArray(fc.integer({ min: 0, max: count - 1 }), { minLength: 1, maxLength: most });
  const pin = fc.record({
    experts: someOf(8, 3),
    ranks: someOf(4, 2),
    layers: someOf(2, 2),
    only: fc.boolean(),
  });
  const given = fc.record({
    pinned: fc.array(pin, { maxLength: 3 }),
    neverReplicated: fc.array(fc.record({ experts: someOf(8, 4) }), { maxLength: 2 }),
  });
  const loads = fc.array(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 8, maxLength: 8 }), {
    ...{ minLength: 2, maxLength: 2 },
  });
  const seen = { planned: 0, kept: 0, refused: 0 };
  await withService(undefined, async (base) => {
    const policies = fc.constantFrom('adaptive', 'locality');
    await fc.assert(
      fc.asyncProperty(given, loads, policies, async (rules, matrix, policy) => {
        const declared = await ask(base, 'PUT', '/v1/groups/p', { ...SIZES, policy, rules });
        if (declared.status === 422) {
          assert.equal(declared.json.code, 'EPLB_RULES', JSON.stringify(declared.json));
          seen.refused++;
          return;
        }
        const { json } = await ask(base, 'POST', '/v1/groups/p/plan', { loads: matrix });
        await ask(base, 'DELETE', '/v1/groups/p');
        assert.deepEqual(brokenIn(json.physicalToLogical, [], rules), [], JSON.stringify(json));
        seen[json.status as 'planned' | 'kept']++;
      }),
      { numRuns: 40, seed: SEED },
    );
  });
  assert.ok(seen.planned > 10 && seen.refused > 2, JSON.stringify(seen));
});
