import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { filesOf } from '../helpers/engine-files.ts';
import { count, withFixture } from '../helpers/fixtures.ts';
import { allLoads, withRecording } from '../helpers/recordings.ts';
import { tensorPickle, torchFile } from '../helpers/torch.ts';

describe('SGLang', () => {
  test('stat: dense layers and unused steps are left out, and said to be', () =>
    withFixture('sglang-stat-dense', {}, async (recording) => {
      assert.deepEqual(recording.layerNumbers, [3, 4, 5]);
      assert.deepEqual(recording.notes, [
        'layers 0, 1, 2 have no load in any step and were left out as dense',
        "the last 2 of 6 steps are empty and were left out: the recorder's buffer was not full",
      ]);
    }));

  test('stat: a layer with a load in the last step alone is not dense, and zero steps stay', async () => {
    const values = new Array<number>(5 * 4 * 2).fill(0);
    values[4 * 8 + 2] = 7; // step 4, layer 1, expert 0
    values[2] = 3; // step 0, layer 1, expert 0
    values[3 * 8 + 6] = 9; // step 3, layer 3, expert 0
    await withStat(values, [5, 4, 2], async (recording) => {
      assert.deepEqual(recording.layerNumbers, [1, 3]);
      assert.deepEqual(await allLoads(recording), [
        [3, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 9, 0],
        [7, 0, 0, 0],
      ]);
    });
  });

  test('stat: a recording without any load keeps everything', () =>
    withStat(new Array<number>(12).fill(0), [2, 3, 2], async (recording) => {
      assert.deepEqual([recording.numSteps, recording.numLayers], [2, 3]);
      assert.equal(recording.layerNumbers, undefined);
    }));

  test('per_pass: ranks are added, passes joined by their numbers, slots folded through the mapping', () =>
    withFixture('sglang-per-pass', {}, async (recording) => {
      assert.deepEqual([recording.format, recording.numSteps], ['sglang-records', 3]);
      assert.deepEqual([recording.numLayers, recording.numLogicalExperts], [3, 8]);
      const expected = [0, 1, 2].map((step) => {
        const loads = new Array<number>(24).fill(0);
        for (let layer = 0; layer < 3; layer++) {
          const experts = [0, 1, 2, 3, 4, 5, 6, 7, layer, layer + 3];
          // Rank 1, which has the slots from 5 on, recorded two passes only.
          for (let slot = 0; slot < (step < 2 ? 10 : 5); slot++) {
            loads[layer * 8 + experts[slot]!]! += count(step, layer, slot);
          }
        }
        return loads;
      });
      assert.deepEqual(await allLoads(recording), expected);
      assert.deepEqual(await allLoads(recording, { from: 1, to: 2 }), [expected[1]]);
      assert.match(
        recording.notes.join('\n'),
        /folded to experts .*\ncounts were added over 2 ranks\n1 forward pass is missing for some ranks/,
      );
    }));

  test('per_token: tokens are counted, padding is none, a dense layer is left out', () =>
    withFixture('sglang-per-token', {}, async (recording) => {
      assert.deepEqual(recording.layerNumbers, [1, 2, 3]);
      const expected = [0, 1].map((pass) => {
        const loads = new Array<number>(24).fill(0);
        for (let rank = 0; rank < 2; rank++) {
          for (let layer = 0; layer < 3; layer++) {
            const experts = [0, 1, 2, 3, 4, 5, 6, 7, layer, layer + 3];
            for (let token = 0; token < 3 + rank; token++) {
              for (let k = 0; k < 2; k++) {
                const slot = (pass * 3 + rank * 2 + layer + token * 4 + k * 5) % 10;
                loads[layer * 8 + experts[slot]!]! += 1;
              }
            }
          }
        }
        return loads;
      });
      assert.deepEqual(await allLoads(recording), expected);
    }));

  test('a file of one rank is read, with a note; dumps follow each other by their times', async () => {
    const files = await filesOf('sglang-per-pass');
    const [first, second] = Object.keys(files).sort() as [string, string];
    await withRecording(files, first, {}, async (recording) => {
      assert.equal(recording.numSteps, 3);
      assert.match(recording.notes.join(), /these are the counts of rank 0 only/);
    });
    // The same passes of the same ranks again, later: another dump, whose passes are steps of their own.
    const later = {
      ...files,
      'expert_distribution_recorder_1751000900.5_0.pt': files[first]!,
      'expert_distribution_recorder_1751000900.75_1.pt': files[second]!,
    };
    await withRecording(later, '.', {}, async (recording) => {
      assert.equal(recording.numSteps, 6);
      const loads = await allLoads(recording);
      assert.deepEqual(loads.slice(3), loads.slice(0, 3));
    });
  });

  test('another number of experts than asked is refused', async () => {
    await assert.rejects(
      withFixture('sglang-per-pass', { numExperts: 9 }, () => undefined),
      { code: 'EPLB_SHAPE', message: /its mapping has 8 logical experts; --experts says 9/ },
    );
    await assert.rejects(
      withFixture('sglang-stat', { numExperts: 9 }, () => undefined),
      { code: 'EPLB_SHAPE', message: /holds loads of 8 experts; --experts says 9/ },
    );
  });
});

/** Opens counts as SGLang's recorder writes them: the fixture's archive with other numbers in it. */
async function withStat(
  values: number[],
  shape: [number, number, number],
  work: (recording: Parameters<typeof allLoads>[0]) => Promise<void>,
): Promise<void> {
  const file = torchFile({ logical_count: tensorPickle(shape) }, [Int32Array.from(values)]);
  await withRecording({ 'a.pt': file }, 'a.pt', {}, work);
}
