import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costModel } from 'expert-load-balancer';
import fc from 'fast-check';
import { costInitArbitrary } from '../helpers/cost.ts';
import { packageSchema, type Schema, schemaErrors } from '../helpers/json-schema.ts';
import { SEED } from '../helpers/library.ts';

const SCHEMA = packageSchema('cost.schema.json');

const accepts = (schema: Schema, value: unknown) => schemaErrors(schema, value).length === 0;

/** Whether it is a cost model for the library. */
function isCostModel(value: unknown): boolean {
  try {
    costModel(value as never);
    return true;
  } catch {
    return false;
  }
}

/** What no schema can say of a table: that it rises, and is as long on both sides. */
function hasCrookedTable(value: unknown): boolean {
  const { slotSeconds } = value as { slotSeconds?: { tokens?: unknown; seconds?: unknown; idle?: number } };
  const { tokens, seconds, idle = 0 } = slotSeconds ?? {};
  if (!Array.isArray(tokens) || !Array.isArray(seconds)) return false;
  const rises = (list: number[], least: number) =>
    list.every((n, i) => (i === 0 ? n >= least : n >= list[i - 1]!));
  const isStrict = tokens.every((n, i) => i === 0 || n > tokens[i - 1]);
  return tokens.length !== seconds.length || !isStrict || !rises(seconds, idle);
}

/** A copy with one value, at any depth, replaced, taken out or added. */
function changed(value: unknown, pick: number, by: unknown): unknown {
  const copy = JSON.parse(JSON.stringify(value));
  const places: (() => void)[] = [];
  const visit = (node: Record<string, unknown>) => {
    for (const key of Object.keys(node)) {
      places.push(() => {
        node[key] = by;
      });
      if (!Array.isArray(node)) places.push(() => delete node[key]);
      if (typeof node[key] === 'object' && node[key] !== null) visit(node[key] as Record<string, unknown>);
    }
    if (!Array.isArray(node)) {
      places.push(() => {
        node.other = by;
      });
    }
  };
  visit(copy);
  places[pick % places.length]!();
  return copy;
}

test('the schema takes what is a cost model, and refuses what is none', () => {
  const values = fc.constantFrom<unknown>(
    ...[-1, 0, 1, 1.5, 1e7, 1e16, 'x', null, true, [], {}, 'measured', [1, 2]],
  );
  let numRefused = 0;
  fc.assert(
    fc.property(costInitArbitrary(), fc.nat(), values, (init, pick, by) => {
      assert.ok(accepts(SCHEMA, JSON.parse(JSON.stringify(init))));
      const json = JSON.parse(JSON.stringify(costModel(init)));
      assert.ok(accepts(SCHEMA, json));
      const other = changed(json, pick, by);
      if (hasCrookedTable(other)) return;
      assert.equal(accepts(SCHEMA, other), isCostModel(other), JSON.stringify(other));
      if (!isCostModel(other)) numRefused++;
    }),
    { seed: SEED, numRuns: 500 },
  );
  assert.ok(numRefused > 100, `${numRefused}`);
});
