import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { CLI } from './cli.ts';
import { type Schema, schemaErrors } from './json-schema.ts';

/** The built part of the package that the service is. */
export const serve: typeof import('../../dist/types/serve/index.d.ts') = await import(
  new URL('../../dist/serve.js', import.meta.url).href
);

interface Described {
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface OpenApi {
  readonly components: { readonly schemas: { readonly Error: Schema } };
  readonly paths: Readonly<
    Record<string, Readonly<Record<string, { readonly responses: Readonly<Record<string, Described>> }>>>
  >;
}

export const openApi = serve.openApiDocument() as OpenApi;

/** What was answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed, where it is JSON. */
  readonly json: ReturnType<typeof JSON.parse>;
  readonly bytes: Uint8Array;
}

/** Routes and statuses that were seen: `post /v1/groups/{group}/plan 200`. */
const seen = new Set<string>();

/** Each route was seen to do what it is for: which was not is nobody's promise. */
export function assertEachSeen(ofPath: (path: string) => boolean): void {
  for (const [path, methods] of Object.entries(openApi.paths)) {
    for (const method of ofPath(path) ? Object.keys(methods) : []) {
      assert.ok(
        [...seen].some((one) => one.startsWith(`${method} ${path} 2`)),
        `${method} ${path}`,
      );
    }
  }
}

/** Sends a request; the answer has to be one that the OpenAPI document describes. */
export async function ask(
  base: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const isBytes = body instanceof Uint8Array;
  const type = isBytes ? 'application/octet-stream' : 'application/json';
  const response = await fetch(base + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': type }), ...headers },
    ...(body === undefined
      ? {}
      : { body: isBytes || typeof body === 'string' ? body : JSON.stringify(body) }),
  } as RequestInit);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const isJson = response.headers.get('content-type') === 'application/json' && bytes.length > 0;
  const json = isJson ? JSON.parse(new TextDecoder().decode(bytes)) : undefined;
  checkDescribed(method.toLowerCase(), path.split('?', 1)[0]!, response.status, json);
  return { status: response.status, headers: response.headers, json, bytes };
}

/** An answer has to be one that the OpenAPI document describes; it counts as seen. */
export function checkDescribed(method: string, path: string, status: number, json: unknown): void {
  const route = Object.keys(openApi.paths).find((pattern) =>
    new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]*')}$`).test(path),
  );
  const operation = route === undefined ? undefined : openApi.paths[route]![method];
  const error = openApi.components.schemas.Error;
  if (operation === undefined) {
    assert.ok([401, 403, 404, 405].includes(status), `${method} ${path}: ${status}`);
    assert.deepEqual(schemaErrors(error, json), []);
    return;
  }
  seen.add(`${method} ${route} ${status}`);
  const described = operation.responses[status];
  assert.ok(described, `${method} ${route}: ${status} is not described: ${JSON.stringify(json)}`);
  const schema = described.content?.['application/json']?.schema;
  if (json === undefined || schema === undefined) return;
  assert.deepEqual(schemaErrors(schema.$ref === undefined ? schema : error, json), []);
}

/** Asserts that a request was refused, and with what. */
export function assertRefusal({ status, json }: Answer, code: string, wanted: number, message: RegExp): void {
  assert.equal(json?.code, code, JSON.stringify(json));
  assert.equal(status, wanted);
  assert.match(json.message, message);
  assert.deepEqual(Object.keys(json), ['code', 'message']);
}

/** A service in a process of its own. */
export interface ServiceProcess {
  readonly child: ChildProcess;
  /** As its first line says. */
  readonly address: string;
  readonly errors: () => string;
}

/** Starts `eplb serve`, and waits for its line. */
export async function startProcess(
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<ServiceProcess> {
  const child = spawn(process.execPath, [CLI, 'serve', ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
  let errors = '';
  child.stderr!.setEncoding('utf8').on('data', (text) => {
    errors += text;
  });
  const ended = once(child, 'close').then(([code]) => {
    throw new Error(`ended with ${code}: ${errors}`);
  });
  const line = once(createInterface(child.stdout!), 'line').then(([text]) => String(text));
  const address = await Promise.race([line, ended]);
  ended.catch(() => undefined);
  return { child, address, errors: () => errors };
}

/** Ends a process, and waits for that. @returns its exit code */
export async function endProcess(
  { child }: ServiceProcess,
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const closed = once(child, 'close');
  child.kill(signal);
  await closed;
  return child.exitCode;
}

/** Loads in bytes: kind 2, with the mapping that a plan starts from as one likes. */
export function loadBytes(
  { numLayers, numPhysicalExperts, numLogicalExperts }: Record<string, number>,
  loads: readonly (readonly number[])[],
  previous?: readonly (readonly number[])[],
  kind = 2,
): Uint8Array {
  const head = new Uint8Array(20);
  const view = new DataView(head.buffer);
  head.set(Buffer.from('EPLB'));
  for (const [i, word] of [kind, numLayers!, numPhysicalExperts!, numLogicalExperts!].entries()) {
    view.setUint32(4 + 4 * i, word, true);
  }
  const parts = [head, new Uint8Array(Float32Array.from(loads.flat()).buffer)];
  if (previous !== undefined) parts.push(new Uint8Array(Int32Array.from(previous.flat()).buffer));
  return new Uint8Array(Buffer.concat(parts));
}
