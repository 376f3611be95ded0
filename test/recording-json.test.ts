import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readBytes } from '../src/cli/recording/read.ts';
import { isEplbError } from './helpers/recording.ts';

const readText = (text: string) => readBytes(Buffer.from(text), 'a.json');
const loads = fc.oneof(
  fc.array(fc.array(fc.nat(9), { minLength: 3, maxLength: 3 }), { minLength: 1, maxLength: 4 }),
  fc.array(fc.array(fc.array(fc.nat(9), { minLength: 2, maxLength: 2 }), { minLength: 2, maxLength: 2 }), {
    minLength: 1,
    maxLength: 3,
  }),
);

describe('JSON recordings', () => {
  test('nested arrays, bare or under logical_count', () => {
    fc.assert(
      fc.property(loads, (rows) => {
        const flat = (rows as unknown[]).flat(2);
        const bare = readText(JSON.stringify(rows));
        assert.deepEqual(Array.from(bare.data), flat);
        assert.equal(bare.namedLoads, false);
        const under = readText(JSON.stringify({ rank: 0, logical_count: rows }));
        assert.deepEqual(Array.from(under.data), flat);
        assert.deepEqual(under.shape, bare.shape);
        assert.equal(under.namedLoads, true);
      }),
    );
  });

  test('a byte order mark and white space are no harm', () => {
    assert.deepEqual(readText('\ufeff \n[[1, 2]]\n').shape, [1, 2]);
  });

  test('a mutated text ends in a result or in an error with a code', () => {
    const edit = fc.record({
      at: fc.nat(),
      cut: fc.nat(5),
      put: fc.constantFrom('', '[', ']', '{', '"', ',', '1', '-', 'e9', 'null', '\\', '\u00e9'),
    });
    fc.assert(
      fc.property(
        loads,
        fc.boolean(),
        fc.array(edit, { minLength: 1, maxLength: 4 }),
        (rows, named, edits) => {
          let text = JSON.stringify(named ? { logical_count: rows } : rows);
          for (const { at, cut, put } of edits) {
            const place = at % (text.length + 1);
            text = text.slice(0, place) + put + text.slice(place + cut);
          }
          try {
            const tensor = readText(text);
            assert.equal(
              tensor.data.length,
              tensor.shape.reduce((product, size) => product * size, 1),
            );
          } catch (error) {
            assert.ok(isEplbError(error), String(error));
          }
        },
      ),
      { numRuns: 3000 },
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
    ['absurdly deep', '['.repeat(100_000) + ']'.repeat(100_000), 'EPLB_SHAPE', /nested more than 3 deep/],
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
    test(`refused: ${title}`, () => {
      assert.throws(
        () => readText(text),
        (error: unknown) => {
          assert.ok(isEplbError(error), String(error));
          assert.equal(error.code, code);
          assert.match(error.message, message);
          assert.ok(error.message.length < 400 && !error.message.includes('\n'), error.message);
          return true;
        },
      );
    });
  }

  test('bytes that are no text are refused', () => {
    assert.throws(() => readBytes(Uint8Array.from([0x5b, 0xff, 0xfe, 0x5d]), 'a.json'), {
      code: 'EPLB_FORMAT',
    });
  });
});
