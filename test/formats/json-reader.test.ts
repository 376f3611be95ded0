import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { JsonReader, MOST_DEPTH } from '../../src/formats/json/reader.ts';
import { readJson } from '../../src/formats/json/value.ts';

const RUNS = 2000;
const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_240_607);

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** What JSON.parse() makes of a text, or that it refuses it. */
function expected(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/**
 * The same of the reader: its values, with long rows as arrays, and that it goes past exactly what is there.
 */
function found(text: string): { value: unknown } | undefined {
  const bytes = bytesOf(text);
  try {
    const value = readJson(bytes, 'text');
    const reader = new JsonReader(bytes, 'text');
    reader.skip();
    reader.end();
    return { value: plain(value) };
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'EPLB_FORMAT', String(error));
    assert.throws(
      () => {
        const reader = new JsonReader(bytes, 'text');
        reader.skip();
        reader.end();
      },
      { code: 'EPLB_FORMAT' },
    );
    return undefined;
  }
}

function plain(value: unknown): unknown {
  if (value instanceof Int32Array) return Array.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, plain(entry)]));
}

/** Texts of JSON with numbers in all their forms, and white space between. */
const numbers = fc.oneof(
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.tuple(fc.maxSafeNat(), fc.nat(30)).map(([digits, places]) => `${digits}.${'0'.repeat(places)}${digits}`),
  fc.tuple(fc.nat(999), fc.integer({ min: -330, max: 330 })).map(([digits, power]) => `${digits}E${power}`),
  fc.nat(17).chain((length) => fc.stringMatching(new RegExp(`^-?[1-9]\\d{${length}}\\.\\d{1,8}$`))),
);

describe('the reader of JSON', () => {
  test('gives what JSON.parse() gives', () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom(undefined, 1, '\t'), (text, indent) => {
        const pretty = JSON.stringify(JSON.parse(text), undefined, indent);
        assert.deepEqual(found(pretty), expected(pretty));
      }),
      { seed: SEED, numRuns: RUNS },
    );
  });

  test('refuses what JSON.parse() refuses', () => {
    const piece = fc.constantFrom(
      ...[
        '[',
        ']',
        '{',
        '}',
        ',',
        ':',
        '"a"',
        '"',
        '\\',
        '\\u12',
        '-',
        '0',
        '01',
        '1.',
        '.5',
        '1e',
        '1e+5',
        'true',
        'nul',
      ],
      ...[
        'null',
        ' ',
        '\n',
        '\u00a0',
        '\u0001',
        '"\\n\\u00e9é"',
        '[1, 2]',
        '{"a": 1}',
        '"\ud83d"',
        'NaN',
        '/',
        '\\"',
      ],
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 7 }), (pieces) => {
        const text = pieces.join('');
        // Half a character is U+FFFD in UTF-8.
        const asRead = new TextDecoder().decode(bytesOf(text));
        assert.deepEqual(found(text), expected(asRead), JSON.stringify(text));
      }),
      { seed: SEED, numRuns: 10 * RUNS },
    );
    const mutation = fc.tuple(fc.json(), fc.nat(), fc.nat(3), piece);
    fc.assert(
      fc.property(mutation, ([json, at, cut, put]) => {
        const place = at % (json.length + 1);
        const text = new TextDecoder().decode(bytesOf(json.slice(0, place) + put + json.slice(place + cut)));
        assert.deepEqual(found(text), expected(text), JSON.stringify(text));
      }),
      { seed: SEED, numRuns: 5 * RUNS },
    );
  });

  test('rounds every number as JSON.parse() does', () => {
    fc.assert(
      fc.property(fc.array(numbers, { minLength: 1, maxLength: 40 }), (texts) => {
        const text = `[${texts.join(' ,')}]`;
        assert.deepEqual(found(text), expected(text), text);
        const target = new Float64Array(texts.length);
        assert.equal(
          new JsonReader(bytesOf(text), 'text').numbers(target, 0, () => new Error()),
          texts.length,
        );
        assert.deepEqual(Array.from(target), JSON.parse(text));
      }),
      { seed: SEED, numRuns: RUNS },
    );
  });

  test('keeps long rows of whole numbers as numbers, and others as they are', () => {
    const long = Array.from({ length: 40 }, (_, i) => i - 2);
    assert.ok(readJson(bytesOf(JSON.stringify(long)), 'text') instanceof Int32Array);
    for (const other of [
      [...long, 0.5],
      [...long, 2 ** 31],
      [...long, 'a'],
      [...long, []],
      long.slice(0, 8),
    ]) {
      assert.deepEqual(readJson(bytesOf(JSON.stringify(other)), 'text'), other);
    }
    assert.throws(() => readJson(bytesOf(`[${'1,'.repeat(40)}]`), 'text'), { code: 'EPLB_FORMAT' });
    assert.throws(() => readJson(bytesOf(`[${'1 1,'.repeat(40)}1]`), 'text'), { code: 'EPLB_FORMAT' });
    assert.throws(() => readJson(bytesOf(`[${'-,'.repeat(40)}1]`), 'text'), { code: 'EPLB_FORMAT' });
  });

  test('goes as deep as it says, and no deeper', () => {
    const nested = (depth: number) => bytesOf('['.repeat(depth) + ']'.repeat(depth));
    readJson(nested(MOST_DEPTH), 'text');
    const message = /^text: malformed JSON: nested more than 64 deep$/;
    for (const bytes of [nested(MOST_DEPTH + 1), bytesOf('['.repeat(1e6)), bytesOf('{"a":'.repeat(1e5))]) {
      assert.throws(() => readJson(bytes, 'text'), { code: 'EPLB_FORMAT', message });
      assert.throws(() => new JsonReader(bytes, 'text').skip(), { code: 'EPLB_FORMAT', message });
    }
  });

  test('says where a text is wrong, and how', () => {
    const wrong: [string, RegExp][] = [
      ['[1, 2', /it ends at byte 5, where a comma or \] belongs$/],
      ['[1, NaN]', /"NaN\]" at byte 4, where a value belongs$/],
      ['{"a" 1}', /"1\}" at byte 5, where a colon belongs$/],
      ['{a: 1}', /"a: 1\}" at byte 1, where a key belongs$/],
      ['"a\n"', /"\\n\\"" at byte 2, where the end of a text belongs$/],
      ['[1] 2', /"2" at byte 4, where the end belongs$/],
      ['[-]', /"\]" at byte 2, where a digit belongs$/],
    ];
    for (const [text, message] of wrong) {
      assert.throws(() => readJson(bytesOf(text), 'text'), { code: 'EPLB_FORMAT', message }, text);
    }
    assert.throws(() => readJson(Uint8Array.of(0x22, 0xff, 0x22), 'text'), {
      code: 'EPLB_FORMAT',
      message: /not UTF-8/,
    });
  });

  test('refuses what would take much more memory than its file', () => {
    const heavy: [string, string][] = [
      ['empty lists', `[${'[],'.repeat(3e6)}[]]`],
      ['empty objects', `[${'{},'.repeat(3e6)}{}]`],
      ['short texts', `[${'"a",'.repeat(6e6)}"a"]`],
      [
        'keys',
        `{${Array.from({ length: 5e5 }, (_, i) => `"${i.toString(36).padStart(4, 'k')}":0`).join(',')}}`,
      ],
    ];
    for (const [title, text] of heavy) {
      assert.throws(
        () => readJson(bytesOf(text), 'text'),
        {
          code: 'EPLB_FORMAT',
          message: /^text: its many small values would take more than \d+ bytes of memory$/,
        },
        title,
      );
    }
  });
});
