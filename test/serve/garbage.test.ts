/** What a request leaves in memory: young garbage, which goes without a collection of all memory. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BodyRoom, RequestBody } from '../../src/serve/request-body.ts';
import { CLI } from '../helpers/cli.ts';
import { loadBytes, serve } from '../helpers/service.ts';

setFlagsFromString('--expose-gc');
const collect: (options?: { type: 'minor' }) => void = runInNewContext('gc');

const SIZES = { numLayers: 40, numLogicalExperts: 256, numPhysicalExperts: 288, numRanks: 32 };
const BYTES = 'application/octet-stream';
/** So few that what they leave is no reason yet to collect all memory. */
const TIMES = 24;

/** Bytes of array buffers once young ones that nobody needs are gone. They are freed beside, by and by. */
async function arrayBufferBytes(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    collect({ type: 'minor' });
    await sleep(20);
  }
  return process.memoryUsage().arrayBuffers;
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
after(() => agent.destroy());

/** @returns the status */
function send(method: string, url: string, type: string, body: Uint8Array | string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': type, 'content-length': body.length, accept: type };
    const sent = request(url, { method, headers, agent }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode ?? 0));
    });
    sent.once('error', reject).end(body);
  });
}

const question = (seed: number) => {
  const load = (layer: number, expert: number) => ((expert * 7919 + layer * 31 + seed * 104_729) % 1009) + 1;
  const rows = (make: (layer: number, i: number) => number, width: number) =>
    Array.from({ length: SIZES.numLayers }, (_, layer) =>
      Array.from({ length: width }, (_, i) => make(layer, i)),
    );
  const previous = rows((_, slot) => slot % SIZES.numLogicalExperts, SIZES.numPhysicalExperts);
  return loadBytes(SIZES, rows(load, SIZES.numLogicalExperts), previous);
};

const declare = (base: string) =>
  send('PUT', `${base}/v1/groups/one`, 'application/json', JSON.stringify(SIZES));

describe('what a request leaves', () => {
  let base = '';
  let close = async () => {};

  /** In JSON, with how balanced the loads are: told from them when the plan is made. */
  const planOf = async (body: Uint8Array) => {
    const headers = { 'content-type': BYTES, accept: 'application/json' };
    const answer = await fetch(`${base}/v1/groups/one/plan`, {
      method: 'POST',
      headers,
      body,
    } as RequestInit);
    assert.equal(answer.status, 200);
    return answer.text();
  };

  before(async () => {
    const limits = { maxCacheBytes: 0 };
    const running = await serve.startService({ listen: '127.0.0.1:0', limits });
    base = running.address;
    close = running.close;
    assert.equal(await declare(base), 201);
  });
  after(() => close());

  test('a refused one leaves nothing', async () => {
    const body = question(0);
    collect();
    const before = await arrayBufferBytes();
    for (let i = 0; i < TIMES; i++)
      assert.equal(await send('POST', `${base}/v1/groups/none/plan`, BYTES, body), 404);
    const left = ((await arrayBufferBytes()) - before) / TIMES;
    assert.ok(left < 0.1 * body.length, `${left} bytes of each`);
  });

  test('a plan leaves what is kept of the last ones, and no more', async () => {
    for (let i = 0; i < 40; i++)
      assert.equal(await send('POST', `${base}/v1/groups/one/plan`, BYTES, question(i)), 200);
    collect();
    const before = await arrayBufferBytes();
    for (let i = 0; i < TIMES; i++) {
      assert.equal(await send('POST', `${base}/v1/groups/one/plan`, BYTES, question(100 + i)), 200);
    }
    const left = ((await arrayBufferBytes()) - before) / TIMES;
    assert.ok(left < 0.1 * question(0).length, `${left} bytes of each`);
  });

  test('questions at one time get the answers that they get alone', async () => {
    const bodies = Array.from({ length: 12 }, (_, i) => question(1000 + i));
    const alone: string[] = [];
    for (const body of bodies) alone.push(await planOf(body));
    assert.equal(new Set(alone).size, bodies.length);
    for (let round = 0; round < 3; round++) assert.deepEqual(await Promise.all(bodies.map(planOf)), alone);
  });
});

test('bodies are joined in the memory of one of their length that was released, and in no other', () => {
  const room = new BodyRoom();
  const body = (...parts: number[][]) =>
    new RequestBody(
      parts.map((part) => Uint8Array.from(part)),
      room,
    );
  const first = body([1, 2], [3]);
  const { whole } = first;
  assert.equal(first.whole, whole);
  const second = body([4], [5, 6]);
  assert.notEqual(second.whole.buffer, whole.buffer);
  assert.deepEqual([...whole, ...second.whole], [1, 2, 3, 4, 5, 6]);
  first.release();
  assert.deepEqual([...body([7, 8]).whole], [7, 8]);
  const third = body([7], [8], [9]);
  assert.equal(third.whole.buffer, whole.buffer);
  assert.notEqual(body([7, 8, 9]).whole.buffer, whole.buffer);
  assert.deepEqual([...third.whole], [7, 8, 9]);
});

test('the command collects all memory seldom while it is asked', async () => {
  const service = spawn(process.execPath, ['--trace-gc', CLI, 'serve', '--listen', '127.0.0.1:0']);
  let main: string | undefined;
  let numCollections = 0;
  let base = '';
  const listens = new Promise<void>((resolve) => {
    createInterface(service.stdout).on('line', (line) => {
      const isolate = line.match(/^\[\d+:(0x[0-9a-f]+)\]/)?.[1];
      // The first one is the main thread's.
      main ??= isolate;
      if (isolate === main && line.includes('Mark-Compact')) numCollections++;
      if (!line.startsWith('http:')) return;
      base = line;
      resolve();
    });
  });
  try {
    await listens;
    assert.equal(await declare(base), 201);
    const begun = numCollections;
    for (let i = 0; i < 1200; i++) {
      assert.equal(await send('POST', `${base}/v1/groups/one/plan`, BYTES, question(i)), 200);
    }
    // When bodies grew old there were 22.
    assert.ok(numCollections - begun < 10, `${numCollections - begun} for 1,200 questions`);
  } finally {
    const ended = once(service, 'exit');
    service.kill('SIGKILL');
    await ended;
  }
});
