import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planTransfer, TransferPlan } from 'expert-load-balancer';
import fc from 'fast-check';
import { packageSchema, schemaErrors } from '../helpers/json-schema.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { transferProblems } from '../helpers/transfer.ts';

const SCHEMA = packageSchema('schemas/transfer.schema.json');
const plain = (plan: TransferPlan) => JSON.parse(JSON.stringify(plan));
const isCoded = (error: unknown) =>
  /^EPLB_(KIND|RANGE|NOT_WHOLE|SHAPE|FORMAT|TOPOLOGY)$/.test((error as { code: string }).code);

test('JSON and bytes give the same plan again, as the schema says', () => {
  fc.assert(
    fc.property(transferProblems, ({ from, to, options }) => {
      const cost = options.numRanks % 2 === 0 ? { cost: 'h200:deepseek-v3' } : {};
      const { bytesPerExpert: _, maxBytesInFlight: __, ...rest } = options;
      const bundle = [{ name: 'w13', bytes: 90 }];
      const plan = planTransfer(from, to, { ...rest, ...cost, bundle });
      const json = plain(plan);
      assert.deepEqual(schemaErrors(SCHEMA, json), []);
      assert.deepEqual(plain(TransferPlan.fromJSON(json)), json);
      const bytes = plan.toBytes();
      assert.deepEqual(plain(TransferPlan.fromBytes(bytes)), json);
      assert.deepEqual(TransferPlan.fromBytes(bytes).toBytes(), bytes);
      assert.ok(bytes.length < JSON.stringify(json).length);
    }),
    { numRuns: 25, seed: SEED },
  );
});

const [problem] = fc.sample(transferProblems, { numRuns: 1, seed: 7 });
const plan = planTransfer(problem!.from, problem!.to, problem!.options);

test('bytes that are cut or changed anywhere give a plan, or an error with a code', () => {
  const bytes = plan.toBytes();
  const changes = fc.oneof(
    fc.nat(bytes.length).map((length) => bytes.slice(0, length)),
    fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)).map(([at, byte]) => bytes.with(at, byte)),
    fc.uint8Array({ maxLength: 100 }),
  );
  fc.assert(
    fc.property(changes, (changed) => {
      try {
        TransferPlan.fromBytes(changed);
      } catch (error) {
        assert.ok(isCoded(error), String(error));
      }
    }),
    { numRuns: 200, seed: SEED },
  );
});

test('JSON with anything replaced gives a plan, or an error with a code', () => {
  const json = plain(plan);
  const values = fc.constantFrom<unknown>(undefined, null, -1, 1e9, 0.5, 'x', [], {}, Number.NaN, true, [
    [[]],
  ]);
  fc.assert(
    fc.property(fc.nat(), values, (pick, value) => {
      const changed = structuredClone(json);
      const places: [Record<string, unknown>, string][] = [];
      const visit = (node: Record<string, unknown>) => {
        for (const key of Object.keys(node)) {
          places.push([node, key]);
          if (typeof node[key] === 'object' && node[key] !== null)
            visit(node[key] as Record<string, unknown>);
        }
      };
      visit(changed);
      const [node, key] = places[pick % places.length]!;
      node[key] = value;
      try {
        TransferPlan.fromJSON(changed);
      } catch (error) {
        assert.ok(isCoded(error), String(error));
      }
    }),
    { numRuns: 200, seed: SEED },
  );
});

test('what is read is refused by the name of the field', () => {
  const json = plain(plan);
  const read = (change: object) => () => TransferPlan.fromJSON({ ...json, ...change });
  assert.throws(read({ kind: 'plan' }), refusal('range', 'EPLB_FORMAT', /^plan: is "plan" of version 1/));
  assert.throws(read({ layers: [] }), refusal('range', 'EPLB_SHAPE', /^layers: has 0 layers/));
  assert.throws(read({ numRanks: 1e6 }), refusal('range', 'EPLB_TOPOLOGY', /^numPhysicalExperts: /));
  assert.throws(read({ duplex: 'both' }), refusal('range', 'EPLB_RANGE', /^duplex: "both"/));
  assert.throws(() => TransferPlan.fromJSON(3), refusal('type', 'EPLB_KIND', /^plan: 3 is not an object/));
  assert.throws(
    () => TransferPlan.fromBytes('x' as never),
    refusal('type', 'EPLB_KIND', /^plan: "x" is not a Uint8Array/),
  );
});
