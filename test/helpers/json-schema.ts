import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** The rules of JSON Schema that the schemas of the package have. */
export interface Schema {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly oneOf?: readonly Schema[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly pattern?: string;
  readonly propertyNames?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

/** Any other rule is a fault of these helpers. */
const KNOWN: readonly string[] = [
  ...['$schema', '$ref', '$defs', 'title', 'description', 'default', 'type', 'const', 'enum', 'oneOf'],
  ...['required', 'properties', 'additionalProperties', 'propertyNames', 'items', 'pattern'],
  ...['minimum', 'maximum', 'minItems', 'maxItems', 'maxLength'],
];

/** A schema of the package. */
export function packageSchema(path: string): Schema {
  const file = createRequire(import.meta.url).resolve(`expert-load-balancer/${path}`);
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** What a value is not that the schema says, each with its place; none when it is all of it. */
export function schemaErrors(schema: Schema, value: unknown, root = schema, at = '$'): string[] {
  for (const rule of Object.keys(schema)) assert.ok(KNOWN.includes(rule), rule);
  if (schema.$ref !== undefined) {
    const target = root.$defs?.[schema.$ref.replace('#/$defs/', '')];
    assert.ok(target, schema.$ref);
    return schemaErrors(target, value, root, at);
  }
  const { type, oneOf, minimum = -Infinity, maximum = Infinity, minItems = 0, maxItems = Infinity } = schema;
  if (type !== undefined && ![type].flat().some((kind) => isKind(kind, value))) return [`${at}: no ${type}`];
  if ('const' in schema && schema.const !== value) return [`${at}: not ${schema.const}`];
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${at}: none of ${schema.enum}`];
  if (typeof value === 'string') {
    const { maxLength = Infinity, pattern = '' } = schema;
    if (value.length > maxLength || !new RegExp(pattern, 'u').test(value)) return [`${at}: ${value}`];
  }
  if (oneOf !== undefined) {
    const errors = oneOf.map((one) => schemaErrors(one, value, root, at));
    if (errors.filter((own) => own.length === 0).length !== 1) return [`${at}: not one of`, ...errors.flat()];
  }
  if (typeof value === 'string' && schema.pattern !== undefined && !new RegExp(schema.pattern).test(value)) {
    return [`${at}: not ${schema.pattern}`];
  }
  if (typeof value === 'number') return value >= minimum && value <= maximum ? [] : [`${at}: ${value}`];
  if (Array.isArray(value)) {
    if (value.length < minItems || value.length > maxItems) return [`${at}: ${value.length} items`];
    const { items } = schema;
    return items === undefined
      ? []
      : value.flatMap((one, i) => schemaErrors(items, one, root, `${at}[${i}]`));
  }
  if (typeof value !== 'object' || value === null) return [];
  return objectErrors(schema, value, root, at);
}

function objectErrors(schema: Schema, value: object, root: Schema, at: string): string[] {
  const { properties = {}, additionalProperties = true, required = [], propertyNames } = schema;
  if (propertyNames !== undefined) {
    const names = Object.keys(value).flatMap((name) => schemaErrors(propertyNames, name, root, at));
    if (names.length > 0) return names;
  }
  const missing = required
    .filter((name) => !Object.hasOwn(value, name))
    .map((name) => `${at}.${name}: is not there`);
  const wrong = Object.entries(value).flatMap(([name, own]) => {
    const place = `${at}.${name}`;
    if (Object.hasOwn(properties, name)) return schemaErrors(properties[name]!, own, root, place);
    if (typeof additionalProperties !== 'boolean')
      return schemaErrors(additionalProperties, own, root, place);
    return additionalProperties ? [] : [`${place}: is not known`];
  });
  return [...missing, ...wrong];
}

function isKind(kind: string, value: unknown): boolean {
  if (kind === 'null') return value === null;
  if (kind === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (kind === 'array') return Array.isArray(value);
  return kind === 'integer' ? Number.isInteger(value) : typeof value === kind;
}
