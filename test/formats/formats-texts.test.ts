/**
 * The readers of texts, on random ones, beside plain ones that take the text apart with split() and the YAML
 * library.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseDocument } from 'yaml';
import { linesOf } from '../../src/formats/bytes/lines.ts';
import { MemorySource } from '../../src/formats/bytes/source.ts';
import { inputBytes } from '../../src/formats/input-file.ts';
import { LoadText } from '../../src/formats/loads/load-text.ts';
import { readYaml } from '../../src/formats/placements/yaml.ts';

const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_240_607);

const codeOf = (error: unknown) => (error as { code?: string }).code ?? String(error);

describe('tables of numbers', () => {
  const cell = fc.oneof(
    { arbitrary: fc.nat(99_999).map(String), weight: 8 },
    { arbitrary: fc.double({ min: 0, max: 1e30, noNaN: true }).map(String), weight: 2 },
    {
      arbitrary: fc.constantFrom(
        '',
        ' ',
        '1.',
        '.5',
        '+7',
        '-1',
        '1e3',
        '1e999',
        '0x10',
        'x',
        '00',
        ' 8 ',
        '9'.repeat(20),
      ),
      weight: 1,
    },
  );
  const line = fc.tuple(fc.array(cell, { minLength: 1, maxLength: 4 }), fc.boolean());

  /** The same by split(): rows of numbers, or what is wrong. */
  function expected(text: string, separator: string): number[][] | 'wrong' {
    const lines = text.trimEnd().split(/\r?\n/);
    const rows: number[][] = [];
    for (const cells of lines.map((one) => one.split(separator))) {
      if (cells.at(-1)!.trim() === '') cells.pop();
      const texts = cells.map((one) => one.trim());
      if (!texts.every((one) => /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(one))) return 'wrong';
      rows.push(texts.map(Number));
    }
    const isLoad = (load: number) => load >= 0 && load <= 3.4028234663852886e38;
    return rows.every((row) => row.length === rows[0]!.length && row.every(isLoad)) ? rows : 'wrong';
  }

  async function found(text: string, separator: string): Promise<number[][] | 'wrong'> {
    try {
      const table = await LoadText.read(inputBytes(Buffer.from(text), 'a', 'recording'), separator);
      // Between other columns, as those of several devices stand.
      const stride = table.numColumns + 3;
      const target = new Float64Array(1 + table.numRows * stride).fill(-7);
      table.fill(target, 1, stride);
      const rows = Array.from({ length: table.numRows }, (_, row) => target.subarray(1 + row * stride));
      for (const row of rows) assert.equal(row[table.numColumns], -7);
      return rows.map((row) => Array.from(row.subarray(0, table.numColumns)));
    } catch (error) {
      assert.match(codeOf(error), /^EPLB_(KIND|SHAPE|LOAD)$/);
      return 'wrong';
    }
  }

  test('hold what split() finds in them', async () => {
    const text = fc
      .tuple(
        fc.array(line, { minLength: 1, maxLength: 4 }),
        fc.constantFrom(',', '\t'),
        fc.constantFrom('\n', '\r\n'),
      )
      .map(([lines, separator, end]) => ({
        separator,
        text: lines.map(([cells, isOpen]) => cells.join(separator) + (isOpen ? separator : '')).join(end),
      }))
      .filter(({ text: one }) => one.length > 0);
    await fc.assert(
      fc.asyncProperty(
        text,
        fc.constantFrom('', '\n', '\n\n ', '\ufeff'),
        async ({ text: one, separator }, more) => {
          const whole = more === '\ufeff' ? more + one : one + more;
          const wanted = expected(whole.replace('\ufeff', ''), separator);
          assert.deepEqual(await found(whole, separator), wanted, JSON.stringify(whole));
        },
      ),
      { seed: SEED, numRuns: 3000 },
    );
  });
});

describe('lines', () => {
  test('are those of split(), numbered, without blank ones, whatever the chunks are', async () => {
    const piece = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', ' ', '\n', '\r', 'é'), maxLength: 12 }),
      // About as long as what is read at once.
      fc.integer({ min: 2 ** 20 - 3, max: 2 ** 20 + 3 }).map((length) => 'x'.repeat(length)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 4 }), async (pieces) => {
        const text = pieces.join('');
        const bytes = Buffer.from(text);
        const lines: { text: string; number: number; end: number }[] = [];
        for await (const run of linesOf(new MemorySource(bytes, 'a'), 'a')) {
          for (const { bytes: line, number, end } of run) {
            lines.push({ text: Buffer.from(line).toString(), number, end });
          }
        }
        let end = 0;
        const wanted = text
          .split('\n')
          .map((one, i, all) => {
            end += Buffer.byteLength(one) + (i + 1 < all.length ? 1 : 0);
            return { text: one, number: i + 1, end };
          })
          .filter(({ text: one }) => one.trim() !== '');
        assert.deepEqual(lines, wanted);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });
});

describe('YAML', () => {
  const numbers = fc.array(fc.integer({ min: -1, max: 999_999_999 }), { minLength: 1, maxLength: 5 });
  const comma = fc.constantFrom(',', ', ', ' ,', ',\n      ', ' ,\r\n      ', ', # a note\n      ');
  const flow = fc.tuple(numbers, comma, fc.boolean()).map(([row, between, isOpen]) => {
    return ` [${row.join(between)}${isOpen ? ',' : ''}]`;
  });
  const block = fc
    .tuple(numbers, fc.constantFrom('', '  # a note', '   '), fc.constantFrom('', '\n', '  # [1, 2]\n\n'))
    .map(([row, note, between]) => row.map((one) => `\n${between}    - ${one}${note}`).join(''));
  const value = fc.oneof(flow, block, fc.constantFrom(' 7', ' text', ' ~', ' "a # b"'));
  const entry = fc.tuple(value, fc.constantFrom('', ' # note', '\n', '\n# [1, 2]\n  # x\n\n'));
  const file = fc.array(entry, { minLength: 1, maxLength: 5 }).map((entries) => {
    const lines = entries.map(([one, after], i) => `  ${i + 3}:${one}${after}\n`);
    return `# made by hand\nnum_slots: 4\n\ninitial_global_assignments:\n${lines.join('')}`;
  });

  const plain = (read: unknown): unknown => {
    if (read instanceof Int32Array) return Array.from(read);
    if (typeof read !== 'object' || read === null) return read;
    return Object.fromEntries(Object.entries(read).map(([key, one]) => [key, plain(one)]));
  };

  test('holds what the library finds in it', async () => {
    let numRead = 0;
    await fc.assert(
      fc.asyncProperty(file, async (text) => {
        const document = parseDocument(text);
        let read: unknown;
        try {
          read = plain(await readYaml(Buffer.from(text), 'a.yaml'));
        } catch (error) {
          // Some of what may stand in YAML is not read, such as a # within quotes; nothing is read as
          // something else.
          assert.equal(codeOf(error), 'EPLB_FORMAT', text);
          return;
        }
        assert.deepEqual(document.errors, [], text);
        assert.deepEqual(read, document.toJS({ mapAsMap: false }), text);
        numRead++;
      }),
      { seed: SEED, numRuns: 1500 },
    );
    assert.ok(numRead > 500, `${numRead}`);
  });

  test('says what is wrong with a row', async () => {
    const wrong: [string, RegExp][] = [
      ['a: [1,, 2]', /"" in a row is not a whole number/],
      ['a: [1 2]', /"1 2" in a row is not a whole number/],
      ['a: [01]', /"01" in a row is not a whole number/],
      ['a: [-]', /"-" in a row is not a whole number/],
      ['a: [1234567890]', /"1234567890" in a row is too large/],
      ['a:\n  - 007\n', /"007" in a row is not a whole number/],
    ];
    for (const [text, message] of wrong) {
      await assert.rejects(readYaml(Buffer.from(text), 'a.yaml'), { code: 'EPLB_FORMAT', message }, text);
    }
  });
});
