/**
 * No recording leaves a file open: newer versions of Node end the process for a file handle that is collected
 * open.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { openRecording } from '../../src/formats/open.ts';
import type { LoadRecording } from '../../src/formats/recording.ts';
import { inTempDir } from '../helpers/cli.ts';
import { fixture, MULTI_STEP, stepLoads, withFixture } from '../helpers/fixtures.ts';
import { npyFile } from '../helpers/npy.ts';
import { openFilesIn } from '../helpers/open-files.ts';
import { allLoads } from '../helpers/recordings.ts';

const FOLDER = fixture('');
const CLOSED = { name: 'EplbError', code: 'EPLB_CLOSED', message: /^recording: it is closed; open it again/ };

const open = () => openFilesIn(FOLDER);

/** A recording of routes: 12 tokens, 3 to a step. */
const ROUTES = { format: 'npy', numExperts: 8, tokensPerStep: 3 };

async function withRoutes(work: (recording: LoadRecording, folder: string) => Promise<void>): Promise<void> {
  await inTempDir(async (folder) => {
    const values = Array.from({ length: 12 * 2 * 2 }, (_, i) => i % 8);
    await writeFile(resolve(folder, 'r.npy'), npyFile({ descr: '<i4', shape: [12, 2, 2], values }));
    await work(await openRecording(resolve(folder, 'r.npy'), ROUTES), folder);
  });
}

describe('files of a recording', { skip: process.platform !== 'linux' }, () => {
  test('opening leaves none open, and asking for steps opens none', async () => {
    for (const name of MULTI_STEP) {
      const recording = await openRecording(fixture(name));
      assert.deepEqual(open(), [], name);
      recording.steps();
      recording.steps()[Symbol.asyncIterator]();
      assert.deepEqual(open(), [], name);
    }
    await assert.rejects(openRecording(fixture('torch-refused/system.pt')));
    assert.deepEqual(open(), []);
  });

  test('steps open them, and close them at their end', async () => {
    let wereOpen = 0;
    for (const name of MULTI_STEP) {
      const recording = await openRecording(fixture(name));
      for await (const _ of recording.steps()) wereOpen += open().length;
      assert.deepEqual(open(), [], name);
      // As often as one likes.
      assert.ok((await allLoads(recording)).length >= 2, name);
      assert.deepEqual(open(), [], name);
    }
    assert.ok(wereOpen > 0, 'no file was open while steps were read');
  });

  test('steps that are left in the middle close them', async () => {
    for (const name of MULTI_STEP) {
      const recording = await openRecording(fixture(name));
      for await (const { step } of recording.steps()) if (step === 1) break;
      assert.deepEqual(open(), [], `${name}, by break`);
      const thrown = new Error('of the loop');
      const loop = async () => {
        for await (const _ of recording.steps()) throw thrown;
      };
      await assert.rejects(loop, thrown);
      assert.deepEqual(open(), [], `${name}, by an error of the loop`);
    }
  });

  test('steps that end in an error close them', async () => {
    await inTempDir(async (folder) => {
      const values = Array.from({ length: 4 * 3 * 8 }, (_, i) => (i === 80 ? -1 : i));
      await writeFile(resolve(folder, 'a.npy'), npyFile({ descr: '<i4', shape: [4, 3, 8], values }));
      const recording = await openRecording(resolve(folder, 'a.npy'));
      await assert.rejects(allLoads(recording), { code: 'EPLB_LOAD' });
      assert.deepEqual(openFilesIn(folder), []);
    });
  });

  test('routes do as steps do', async () => {
    await withRoutes(async (recording, folder) => {
      for await (const _ of recording.routes!.read()) assert.equal(openFilesIn(folder).length, 1);
      assert.deepEqual(openFilesIn(folder), []);
      for await (const _ of recording.routes!.read()) break;
      for await (const _ of recording.steps()) break;
      assert.deepEqual(openFilesIn(folder), []);
      await recording.close();
      assert.throws(() => recording.routes!.read(), CLOSED);
    });
  });

  test('the last of several readers closes them', async () => {
    await withFixture('numpy/le-i4.npy', {}, async (recording) => {
      const [a, b] = [recording.steps(), recording.steps()].map((steps) => steps[Symbol.asyncIterator]());
      await a!.next();
      await b!.next();
      await a!.return!();
      assert.equal(open().length, 1);
      assert.equal((await a!.next()).done, true);
      for (let step = 1; step < 4; step++) {
        assert.deepEqual(Array.from((await b!.next()).value.loads), stepLoads(step));
      }
      assert.equal((await b!.next()).done, true);
      assert.deepEqual(open(), []);
    });
  });

  test('a recording is disposed of as it is closed, once or twice, and refused afterwards', async () => {
    for (const name of MULTI_STEP) {
      const recording = await openRecording(fixture(name));
      const steps = recording.steps()[Symbol.asyncIterator]();
      await steps.next();
      await recording[Symbol.asyncDispose]();
      assert.deepEqual(open(), [], name);
      await recording[Symbol.asyncDispose]();
      await recording.close();
      await assert.rejects(steps.next(), CLOSED);
      assert.throws(() => recording.steps(), CLOSED);
      assert.deepEqual(open(), [], name);
    }
  });

  test('one that is closed while a step is read has nothing open afterwards', async () => {
    for (const name of MULTI_STEP) {
      const recording = await openRecording(fixture(name));
      const steps = recording.steps()[Symbol.asyncIterator]();
      const reading = steps.next();
      await recording.close();
      assert.deepEqual(open(), [], name);
      await reading.catch((error: unknown) =>
        assert.deepEqual(Reflect.get(error as object, 'code'), 'EPLB_CLOSED'),
      );
      assert.deepEqual(open(), [], name);
    }
  });

  test('whatever order steps are asked for, given up and closed in', async () => {
    const action = fc.tuple(fc.constantFrom('next', 'next', 'next', 'return', 'close'), fc.nat(2));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...MULTI_STEP), fc.array(action, { maxLength: 14 }), tryActions),
      { seed: 20_240_607, numRuns: 150 },
    );
  });
});

/** Three readers of one recording: each sees the steps in order, and none once it is closed. */
async function tryActions(name: string, actions: readonly (readonly [string, number])[]): Promise<void> {
  const recording = await openRecording(fixture(name));
  const all = await allLoads(recording);
  const readers = [0, 1, 2].map(() => ({ steps: recording.steps()[Symbol.asyncIterator](), next: 0 }));
  let isClosed = false;
  for (const [action, which] of actions) {
    const reader = readers[which]!;
    if (action === 'close') {
      await recording.close();
      isClosed = true;
    } else if (action === 'return') {
      await reader.steps.return!();
      reader.next = all.length;
    } else if (isClosed) await assert.rejects(reader.steps.next(), CLOSED);
    else {
      const { done, value } = await reader.steps.next();
      assert.equal(done, reader.next >= all.length);
      if (done !== true) assert.deepEqual(Array.from(value.loads), all[reader.next++]);
    }
  }
  for (const { steps } of readers) await steps.return!();
  assert.deepEqual(open(), [], name);
}
