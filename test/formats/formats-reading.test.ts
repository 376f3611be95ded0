import assert from 'node:assert/strict';
import { truncateSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openRecording } from '../../src/formats/open.ts';
import { LOADS, MULTI_STEP, withFixture } from '../helpers/fixtures.ts';
import { countingAllocations } from '../helpers/fuzz.ts';
import { npyFile } from '../helpers/npy.ts';
import { allLoads, withRecording } from '../helpers/recordings.ts';

describe('reading', () => {
  test('two readers of one recording do not disturb each other', async () => {
    for (const name of MULTI_STEP) {
      await withFixture(name, {}, async (recording) => {
        const alone = await allLoads(recording);
        const [a, b] = [recording.steps(), recording.steps({ from: 1 })].map((steps) =>
          steps[Symbol.asyncIterator](),
        );
        for (let step = 0; step < alone.length; step++) {
          const found = (await a!.next()).value;
          assert.deepEqual(Array.from(found.loads), alone[step], `${name}, step ${step}`);
          if (step + 1 >= alone.length) continue;
          const other = (await b!.next()).value;
          assert.deepEqual([other.step, Array.from(other.loads)], [step + 1, alone[step + 1]], name);
        }
        assert.equal((await a!.next()).done, true);
      });
    }
  });

  test('a file that is cut short while it is read ends in an error that says so', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'eplb-test-'));
    const path = join(folder, 'a.npy');
    try {
      await writeFile(path, npyFile({ descr: '<i4', shape: [4, 3, 8], values: LOADS.flat() }));
      const recording = await openRecording(path, { numExperts: 8 });
      truncateSync(path, 300);
      await assert.rejects(allLoads(recording), {
        code: 'EPLB_FORMAT',
        message: /truncated: it ends at byte 300/,
      });
      await rm(path);
      await assert.rejects(allLoads(recording), { code: 'EPLB_FILE', message: /there is no such file/ });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('memory does not grow with the number of steps', async () => {
    const [layers, experts] = [8, 1024];
    const allocatedOf = (steps: number) => {
      const values = new Array<number>(steps * layers * experts).fill(3);
      const file = npyFile({ descr: '<i4', shape: [steps, layers, experts], values });
      return withRecording({ 'a.npy': file }, 'a.npy', {}, (recording) =>
        countingAllocations(async () => {
          let sum = 0;
          for await (const { loads } of recording.steps()) sum += loads[0]!;
          assert.equal(sum, 3 * steps);
        }),
      );
    };
    const few = await allocatedOf(70);
    assert.equal(await allocatedOf(280), few);
    assert.ok(few < 3 * 2 ** 20, `${few} bytes`);
  });
});
