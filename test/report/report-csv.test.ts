import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { csvOf } from '../../src/report/browser/figures.ts';
import { SEED } from '../helpers/library.ts';

/** Fields of lines, by RFC 4180. */
function parsed(csv: string): string[][] {
  const lines: string[][] = [];
  let fields: string[] = [];
  for (const [, quoted, bare, end] of csv.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    fields.push(quoted === undefined ? bare! : quoted.replaceAll('""', '"'));
    if (end === ',') continue;
    lines.push(fields);
    fields = [];
  }
  return lines;
}

test('figures are bare numbers, with their unit in the heading, and nothing where there is none', () => {
  const columns = [
    { head: 'policy' },
    { head: 'saved', unit: 's' as const, text: (value: number) => `${value} s` },
  ];
  const rows = [
    ['static', undefined],
    ['default', -0.0125],
    ['a, "b"', 1234567],
  ];
  assert.equal(
    csvOf({ columns, rows }),
    'policy,saved (s)\r\nstatic,\r\ndefault,-0.0125\r\n"a, ""b""",1234567\r\n',
  );
});

test('a name that a spreadsheet would run is a text', () => {
  const csv = csvOf({ columns: [{ head: '=1+1' }], rows: [['@SUM(A1)'], ['-x'], ['+x'], ['a=b']] });
  assert.equal(csv, "'=1+1\r\n'@SUM(A1)\r\n'-x\r\n'+x\r\na=b\r\n");
});

test('any texts come back from a file', () => {
  const texts = fc.array(fc.string({ unit: 'binary', minLength: 1 }), { minLength: 2, maxLength: 4 });
  fc.assert(
    fc.property(texts, (heads) => {
      const [line] = parsed(csvOf({ columns: heads.map((head) => ({ head })), rows: [] }));
      assert.deepEqual(
        line,
        heads.map((head) => (/^[=+\-@\t\r]/.test(head) ? `'${head}` : head)),
      );
    }),
    { seed: SEED, numRuns: 300 },
  );
});
