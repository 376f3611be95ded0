import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { costModel } from 'expert-load-balancer';
import fc from 'fast-check';
import { costInitArbitrary } from '../helpers/cost.ts';
import { SEED } from '../helpers/library.ts';

interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly oneOf?: readonly Schema[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
}

const path = createRequire(import.meta.url).resolve('expert-load-balancer/cost.schema.json');
const SCHEMA: Schema = JSON.parse(readFileSync(path, 'utf8'));

/** The kinds of rules that the schema has; any other is a fault of this test. */
const KNOWN = [
  '$schema',
  'title',
  'description',
  'default',
  'type',
  'enum',
  'oneOf',
  'required',
  'properties',
].concat(['additionalProperties', 'items', 'minimum', 'maximum', 'minItems', 'maxItems']);

function isKind(kind: string, value: unknown): boolean {
  if (kind === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (kind === 'array') return Array.isArray(value);
  return kind === 'integer' ? Number.isInteger(value) : typeof value === kind;
}

/** Whether a value is as the schema says, by the rules of JSON Schema that it uses. */
function accepts(schema: Schema, value: unknown): boolean {
  for (const rule of Object.keys(schema)) assert.ok(KNOWN.includes(rule), rule);
  const { type, oneOf, minimum = -Infinity, maximum = Infinity, minItems = 0, maxItems = Infinity } = schema;
  if (type !== undefined && !isKind(type, value)) return false;
  if (schema.enum !== undefined && !schema.enum.includes(value)) return false;
  if (oneOf !== undefined && oneOf.filter((one) => accepts(one, value)).length !== 1) return false;
  if (typeof value === 'number') return value >= minimum && value <= maximum;
  if (Array.isArray(value)) {
    if (value.length < minItems || value.length > maxItems) return false;
    return schema.items === undefined || value.every((item) => accepts(schema.items!, item));
  }
  if (typeof value !== 'object' || value === null) return true;
  const { properties = {}, additionalProperties = true, required = [] } = schema;
  if (!required.every((name) => Object.hasOwn(value, name))) return false;
  return Object.entries(value).every(([name, own]) => {
    if (Object.hasOwn(properties, name)) return accepts(properties[name]!, own);
    return typeof additionalProperties === 'boolean'
      ? additionalProperties
      : accepts(additionalProperties, own);
  });
}

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
