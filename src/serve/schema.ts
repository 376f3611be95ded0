import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkKnownKeys } from '../core/known-keys.ts';

/**
 * The part of JSON Schema that requests and answers are described by. The same objects check requests and
 * stand in the OpenAPI document.
 */
export interface Schema {
  readonly type?: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean';
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly oneOf?: readonly Schema[];
  readonly $ref?: string;
}

/**
 * Throws unless a value is as a schema says. The entries of arrays are not looked at where they are arrays or
 * numbers themselves: who reads a matrix checks each of its numbers, with its place.
 *
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`
 */
export function checkSchema(title: string, schema: Schema, value: unknown): void {
  if (schema.oneOf !== undefined) {
    checkOneOf(title, schema.oneOf, value);
    return;
  }
  if (schema.type !== undefined && !isOfType(schema.type, value)) {
    if (schema.type === 'integer' && typeof value === 'number') {
      throw new EplbRangeError('EPLB_NOT_WHOLE', `${title}: ${show(value)} is not a whole number`);
    }
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not ${NAMES[schema.type]}`);
  }
  if (typeof value === 'number') checkNumberIn(title, schema, value);
  else if (typeof value === 'string') checkTextIn(title, schema, value);
  else if (schema.type === 'object') checkMembers(title, schema, value as Record<string, unknown>);
  else if (Array.isArray(value)) checkEntries(title, schema, value);
}

const NAMES = {
  object: 'an object',
  array: 'an array',
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
};

function isOfType(type: NonNullable<Schema['type']>, value: unknown): boolean {
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  // Numbers past this one cannot be told from their neighbours.
  if (type === 'integer') return Number.isSafeInteger(value);
  return typeof value === type;
}

function checkOneOf(title: string, choices: readonly Schema[], value: unknown): void {
  const byType = choices.find(({ type }) => type !== undefined && isOfType(type, value));
  if (byType !== undefined) {
    checkSchema(title, byType, value);
    return;
  }
  const names = choices.flatMap(({ type }) => (type === undefined ? [] : [NAMES[type]]));
  throw new EplbTypeError('EPLB_KIND', `${title}: ${show(value)} is not ${names.join(' or ')}`);
}

function checkNumberIn(title: string, { minimum, maximum }: Schema, value: number): void {
  if (value >= (minimum ?? Number.NEGATIVE_INFINITY) && value <= (maximum ?? Number.POSITIVE_INFINITY))
    return;
  const wanted =
    maximum === undefined ? `at least ${minimum}` : `from ${minimum ?? '-Infinity'} to ${maximum}`;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${value} is not ${wanted}`);
}

function checkTextIn(title: string, schema: Schema, value: string): void {
  const { enum: choices, pattern, minLength = 0, maxLength } = schema;
  if (choices !== undefined && !choices.includes(value)) {
    throw new EplbRangeError('EPLB_RANGE', `${title}: ${show(value)} is none of ${choices.join(', ')}`);
  }
  if (value.length < minLength) {
    const wrong = minLength === 1 ? 'is empty' : `has fewer than ${minLength} characters`;
    throw new EplbRangeError('EPLB_RANGE', `${title}: ${wrong}`);
  }
  if (maxLength !== undefined && value.length > maxLength) {
    throw new EplbRangeError('EPLB_RANGE', `${title}: has more than ${maxLength} characters`);
  }
  if (pattern !== undefined && !new RegExp(pattern, 'u').test(value)) {
    throw new EplbRangeError('EPLB_RANGE', `${title}: ${show(value)} does not match ${pattern}`);
  }
}

function checkMembers(title: string, schema: Schema, value: Record<string, unknown>): void {
  const { properties = {}, required = [], additionalProperties = false } = schema;
  if (additionalProperties === false) checkKnownKeys(title, value, Object.keys(properties));
  for (const name of required) {
    if (!Object.hasOwn(value, name)) throw new EplbTypeError('EPLB_KIND', `${title}: ${name} is missing`);
  }
  for (const [name, own] of Object.entries(value)) {
    const schemaOf = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    if (typeof schemaOf === 'object') checkSchema(`${title}.${name}`, schemaOf, own);
  }
}

function checkEntries(title: string, { items, maxItems }: Schema, value: readonly unknown[]): void {
  if (maxItems !== undefined && value.length > maxItems) {
    throw new EplbRangeError('EPLB_RANGE', `${title}: has more than ${maxItems} entries`);
  }
  if (items === undefined || items.type === 'array' || items.type === 'number' || items.type === 'integer')
    return;
  for (const [i, entry] of value.entries()) checkSchema(`${title}[${i}]`, items, entry);
}
