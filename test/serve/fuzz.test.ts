/**
 * Hostile requests: each is refused with a described code, or answered; nobody's state changes by a refused
 * one, and no answer is a wrong mapping.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertLoadBalancer, ExpertMapping } from 'expert-load-balancer';
import fc from 'fast-check';
import { SEED } from '../helpers/library.ts';
import { type Answer, ask, loadBytes, serve } from '../helpers/service.ts';

const RUNS = Math.min(100_000, Number(process.env.EPLB_LONG_RUNS ?? 700));
const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };

const LOADS = [
  [9, 1, 4, 2],
  [1, 2, 3, 40],
];
/** Of the plan from the first mapping for these loads. */
const PLANNED = await digestOfPlan();
async function digestOfPlan(): Promise<string> {
  const balancer = new ExpertLoadBalancer({ ...SIZES, threads: 0 });
  const mapping = await balancer.plan(LOADS);
  await balancer.close();
  return mapping.digest();
}

const number = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 50 }) },
  fc.constantFrom(-1, 0.5, 1e300, 2 ** 53, 2 ** 54, Number.MAX_VALUE, -0, '1', null, true),
);
const rows = (width: number) =>
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.array(fc.array(number, { minLength: width, maxLength: width }), {
        minLength: 2,
        maxLength: 2,
      }),
    },
    fc.array(fc.array(number, { maxLength: 7 }), { maxLength: 3 }),
    fc.jsonValue({ maxDepth: 2 }),
  );
const slots = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      [
        [0, 1, 2, 3, 0, 1],
        [3, 2, 1, 0, 0, 0],
      ],
      [
        [0, 1, 2, 3, 3, 3],
        [0, 1, 2, 3, 0, 1],
      ],
    ),
  },
  rows(6),
);
const rankMessage = fc.record(
  {
    type: fc.constantFrom('hello', 'prepared', 'refused', 'armed', 'confirmed', 'other'),
    token: number,
    holds: fc.oneof(fc.constant(null), fc.jsonValue({ maxDepth: 1 })),
    reason: fc.string(),
    broken: fc.array(number, { maxLength: 2 }),
    layers: fc.constantFrom([0], [0, 1], [1, 0]),
    lastStep: number,
    epoch: number,
  },
  { requiredKeys: ['type'] },
);
const member = fc.record(
  {
    loads: rows(4),
    physical: rows(6),
    samples: fc.array(rows(4), { maxLength: 3 }),
    previous: slots,
    physicalToLogical: slots,
    generation: number,
    step: number,
    epoch: fc.oneof(fc.constantFrom(0, 1, 2), number),
    rank: number,
    planId: fc.oneof(fc.string(), number),
    digest: fc.oneof(fc.string(), fc.constant('a'.repeat(64))),
    transfer: fc.boolean(),
    operationId: fc.oneof(fc.string(), fc.constant('a')),
    activation: fc.constantFrom('onRequest', 'whenPrepared', 'now'),
    fromEpoch: number,
    incarnation: number,
    token: number,
    state: fc.constantFrom('prepared', 'armed', 'active', 'idle'),
    layers: fc.oneof(fc.constantFrom([0], [0, 1], [1, 0], [0, 0]), fc.array(number, { maxLength: 4 })),
    lastStep: number,
    firstStep: number,
    reason: fc.string(),
    ttlMs: number,
    stopsWithLease: fc.oneof(fc.boolean(), number),
    message: fc.oneof(rankMessage, fc.jsonValue()),
    dead: fc.array(number, { maxLength: 2 }),
    alive: fc.array(number, { maxLength: 3 }),
    slow: fc.array(fc.record({ rank: number, speed: number }), { maxLength: 2 }),
    dryRun: fc.oneof(fc.boolean(), number),
    numLayers: number,
    numLogicalExperts: number,
    numPhysicalExperts: number,
    numRanks: number,
    __proto__: fc.jsonValue(),
  },
  { requiredKeys: [] },
);
/** What these routes know: a whole random body is refused for its first name. */
const known = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ digest: fc.constant(PLANNED), operationId: fc.constantFrom('a', 'b') }),
  },
  fc.record({ rank: fc.constantFrom(0, 1, 2) }),
  fc.record({ rank: fc.constantFrom(0, 1), reason: fc.constant('no room') }),
  fc.record({ incarnation: fc.constantFrom(1, 2), message: rankMessage }),
  fc.record({ alive: fc.constant([0, 1]) }),
  fc.record({ dead: fc.constantFrom([0], [1]) }),
  fc.constant({}),
);
const body = fc.oneof(
  { weight: 4, arbitrary: known.map((value) => JSON.stringify(value)) },
  { weight: 6, arbitrary: member.map((value) => JSON.stringify(value)) },
  fc.jsonValue().map((value) => JSON.stringify(value)),
  fc.string(),
  fc.uint8Array({ maxLength: 60 }),
  fc
    .array(fc.array(fc.double({ noNaN: false }), { minLength: 4, maxLength: 4 }), {
      minLength: 2,
      maxLength: 2,
    })
    .map((loads) => loadBytes(SIZES, loads)),
);
const name = fc.oneof(
  { weight: 16, arbitrary: fc.constantFrom('g', 'other') },
  // Not '..' alone: a client's URL leaves it out, and the request is for no group at all.
  fc.constantFrom('none', '..%2f', '%2e%2e%2f', '%00', 'g%2f..%2fg', '__proto__', 'constructor'),
  fc
    .string({ minLength: 1, maxLength: 8 })
    .filter((text) => !/^\.{1,2}$/.test(text))
    .map((text) => encodeURIComponent(text)),
);
const action = fc.constantFrom(
  ...['/dashboard', '/rank-loads'],
  '',
  '/plan',
  '/plan',
  '/plan',
  '/loads',
  '/loads',
  '/loads',
  '/mapping',
  '/pause',
  '/resume',
  '/dry-run',
  '/epochs',
  '/epochs',
  '/epochs/1',
  '/epochs/1/ack',
  '/epochs/1/ack',
  '/epochs/1/activate',
  '/epochs/1/refuse',
  '/epochs/1/abort',
  '/epochs/2/ack',
  '/epochs/-1/ack',
  '/epochs/x',
  '/epochs/1/mapping',
  '/epochs/99999999999999999999/abort',
  '/ranks',
  '/ranks',
  '/ranks/0/heartbeat',
  '/ranks/1/heartbeat',
  '/ranks/9/heartbeat',
  '/events?rank=x',
  '/token',
  '/plan?generation=0',
  '/loads?step=3&epoch=0',
  '/loads?epoch=x',
  '/plan?a=b',
);
const method = fc.constantFrom('POST', 'POST', 'POST', 'POST', 'GET', 'GET', 'PUT', 'DELETE', 'PATCH');
const requests = fc.record({
  method,
  name,
  action,
  body,
  accept: fc.constantFrom('*/*', 'application/octet-stream'),
});

type HostileRequest = typeof requests extends fc.Arbitrary<infer T> ? T : never;

test(`${RUNS} hostile requests crash nothing, and change nothing that they were refused`, {
  timeout: 3_000_000,
}, async () => {
  const limits = { maxRequestsPerSecond: 1_000_000, maxGroups: 8 };
  const running = await serve.startService({ listen: '127.0.0.1:0', limits });
  const base = running.address;
  const state = () =>
    JSON.stringify(
      running.groups().map(({ secondsSincePlan: _, secondsSinceLoads: _also, ...view }) => view),
    );
  const counts = { answered: 0, refused: 0, byTime: 0 };
  await ask(base, 'PUT', '/v1/groups/g', SIZES);
  await ask(base, 'PUT', '/v1/groups/other', { ...SIZES, policy: 'adaptive', windowSize: 4 });
  await ask(base, 'POST', '/v1/groups/g/plan', { loads: LOADS });
  const one = async (sentRequest: HostileRequest) => {
    const { method: how, name: whose, action: what, body: sent, accept } = sentRequest;
    const path = `/v1/groups/${whose}${what}`;
    // Of requests that have nothing to say, most say nothing.
    const isEmpty =
      how === 'GET' || how === 'DELETE' || (/\/(pause|resume)$/.test(what) && sent.length % 16 !== 0);
    const before = state();
    const answer = await ask(base, how, path, isEmpty ? undefined : sent, { accept });
    if (answer.status < 400) {
      counts.answered++;
      checkMapping(answer, what);
      if (how === 'DELETE') {
        await ask(base, 'PUT', path, SIZES);
        await ask(base, 'POST', `${path}/plan`, { loads: LOADS });
      }
      return;
    }
    counts.refused++;
    assert.notEqual(answer.status, 500, JSON.stringify(answer.json));
    const now = state();
    if (now === before) return;
    counts.byTime++;
    const changed = differing(JSON.parse(before), JSON.parse(now));
    assert.ok(
      changed.every((name) => BY_TIME.includes(name)),
      `${how} ${path}: ${changed}: ${now}`,
    );
  };
  try {
    await fc.assert(fc.asyncProperty(requests, one), { numRuns: RUNS, seed: SEED });
    assert.ok(counts.byTime <= 3 + RUNS / 1000, JSON.stringify(counts));
    assert.ok(counts.answered > RUNS / 20 && counts.refused > RUNS / 5, JSON.stringify(counts));
    assert.equal((await ask(base, 'GET', '/healthz')).status, 200);
    assert.equal((await ask(base, 'GET', '/metrics')).status, 200);
  } finally {
    await running.close();
  }
});

/** What of a group changes when leases and attempts run out, in the midst of any request. */
const BY_TIME = ['ranks', 'underWay', 'conditions'];

/** The fields that groups do not have alike. */
function differing(before: Record<string, unknown>[], now: Record<string, unknown>[]): string[] {
  if (before.length !== now.length) return ['groups'];
  return before.flatMap((group, i) =>
    Object.keys(group).filter((name) => JSON.stringify(group[name]) !== JSON.stringify(now[i]![name])),
  );
}

/** Every expert has a slot, in the answer as sent, and the digest is that of its table. */
function checkMapping({ json, bytes, headers }: Answer, what: string): void {
  if (!/^\/(plan|mapping)/.test(what)) return;
  const mapping =
    json === undefined
      ? ExpertMapping.fromBytes(bytes)
      : ExpertMapping.fromPhysicalToLogical(json.physicalToLogical, SIZES.numLogicalExperts);
  assert.equal(mapping.digest(), json?.digest ?? headers.get('eplb-digest'));
  assert.equal(mapping.numPhysicalExperts, SIZES.numPhysicalExperts);
}
