import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isEplbError } from '../helpers/recording.ts';
import { allLoads, withRecording } from '../helpers/recordings.ts';

/** Opens a text as a JSON file and reads all of it. */
async function readText(text: string | Uint8Array) {
  return withRecording({ 'a.json': text }, 'a.json', {}, async (recording) => ({
    steps: await allLoads(recording),
    sizes: [recording.numSteps, recording.numLayers, recording.numLogicalExperts],
    notes: recording.notes,
  }));
}

const loads = fc.oneof(
  fc.array(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 3, maxLength: 3 }), {
    minLength: 1,
    maxLength: 4,
  }),
  fc.array(
    fc.array(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 2 }), {
      minLength: 2,
      maxLength: 2,
    }),
    {
      minLength: 1,
      maxLength: 3,
    },
  ),
);

describe('JSON recordings', () => {
  test('nested arrays, bare or under logical_count', async () => {
    await fc.assert(
      fc.asyncProperty(loads, async (rows) => {
        const steps: unknown[][] = typeof rows[0]![0] === 'number' ? [rows] : rows;
        const expected = steps.map((step) => step.flat());
        const bare = await readText(JSON.stringify(rows));
        assert.deepEqual(bare.steps, expected);
        assert.deepEqual(bare.sizes[0], steps.length);
        const under = await readText(JSON.stringify({ rank: 0, logical_count: rows }));
        assert.deepEqual(under.steps, expected);
        assert.deepEqual(under.sizes, bare.sizes);
        // Loads that are named so are not routes.
        assert.deepEqual(under.notes, []);
      }),
    );
  });

  test('a byte order mark and white space are no harm', async () => {
    assert.deepEqual((await readText('\ufeff \n[[1, 2]]\n')).steps, [[1, 2]]);
  });

  test('dense layers, zero in all steps, are left out under the name, and kept without it', async () => {
    const rows = '[[[0, 0], [0, 1], [0, 0], [2, 3]], [[0, 0], [0, 0], [0, 0], [4, 5]]]';
    await withRecording({ 'a.json': `{"logical_count": ${rows}}` }, 'a.json', {}, async (recording) => {
      assert.deepEqual(recording.layerNumbers, [1, 3]);
      assert.deepEqual(recording.notes, ['layers 0, 2 have no load in any step and were left out as dense']);
      assert.deepEqual(await allLoads(recording), [
        [0, 1, 2, 3],
        [0, 0, 4, 5],
      ]);
    });
    await withRecording({ 'a.json': rows }, 'a.json', {}, (recording) =>
      assert.equal(recording.numLayers, 4),
    );
  });

  test('loads under the name are not routes, whatever --experts says', async () => {
    const text = '{"logical_count": [[[1, 2], [3, 4]]]}';
    await assert.rejects(
      withRecording({ 'a.json': text }, 'a.json', { numExperts: 8 }, () => undefined),
      {
        code: 'EPLB_SHAPE',
        message: /shape \(1, 2, 2\) holds loads of 2 experts; --experts says 8/,
      },
    );
  });

  const refused: [title: string, text: string, code: string, message: RegExp][] = [
    ['cut off', '[[1, 2], [3', 'EPLB_FORMAT', /malformed JSON/],
    ['with the NaN that Python writes', '[[1, NaN]]', 'EPLB_FORMAT', /malformed JSON/],
    ['ragged', '[[1, 2], [3]]', 'EPLB_SHAPE', /\[1\] has 1 entries; it must be an array of 2/],
    [
      'ragged inside',
      '{"logical_count": [[[1], [2]], [[3]]]}',
      'EPLB_SHAPE',
      /logical_count\[1\] has 1 entries/,
    ],
    ['of mixed depth', '[[1, 2], 3]', 'EPLB_SHAPE', /\[1\] is 3; it must be an array of 2/],
    [
      'with a text for a number',
      '[[1, 2], [3, "4"]]',
      'EPLB_KIND',
      /\[1\]\[1\] is the text "4"; it must be a number/,
    ],
    ['with null for a number', '[[1, null]]', 'EPLB_KIND', /\[0\]\[1\] is null/],
    ['one deep', '[1, 2]', 'EPLB_SHAPE', /nested 1 deep/],
    ['empty', '[]', 'EPLB_SHAPE', /nested 1 deep/],
    ['too deep', '[[[[1]]]]', 'EPLB_SHAPE', /nested more than 3 deep/],
    [
      'absurdly deep',
      '['.repeat(100_000) + ']'.repeat(100_000),
      'EPLB_FORMAT',
      /malformed JSON: nested more than 64 deep/,
    ],
    ['of another kind', '"loads"', 'EPLB_KIND', /the JSON is the text "loads"/],
    [
      'without the key',
      '{"physical_to_logical_map": [[0]]}',
      'EPLB_KIND',
      /an object with the keys "physical_to_logical_map"/,
    ],
    [
      'with the key from a prototype',
      '{"__proto__": {"logical_count": [[1]]}}',
      'EPLB_KIND',
      /keys "__proto__"/,
    ],
    ['with no arrays under the key', '{"logical_count": 5}', 'EPLB_KIND', /logical_count is 5/],
  ];
  for (const [title, text, code, message] of refused) {
    test(`refused: ${title}`, () =>
      assert.rejects(readText(text), (error: unknown) => {
        assert.ok(isEplbError(error), String(error));
        assert.equal(error.code, code);
        assert.match(error.message, message);
        assert.ok(error.message.length < 500 && !error.message.includes('\n'), error.message);
        return true;
      }));
  }

  test('bytes that are not text are refused', () =>
    assert.rejects(readText(Uint8Array.from([0x5b, 0xff, 0xfe, 0x5d])), { code: 'EPLB_FORMAT' }));
});
