import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import picocolors from 'picocolors';
import { factLines } from '../../src/cli/fact-list.ts';
import { print } from '../../src/cli/terminal.ts';
import { show } from '../../src/core/checks.ts';
import { EplbError, EplbRangeError, EplbTypeError } from '../../src/core/errors.ts';
import { jsonText, printable, printableTexts } from '../../src/core/printable.ts';
import { UNPRINTABLE } from '../helpers/hostile-names.ts';
import { SEED } from '../helpers/library.ts';

const options = { numRuns: 1000, seed: SEED };
const text = fc.string({
  unit: fc.oneof(
    { arbitrary: fc.constantFrom(...'ab \\"€é😀\u200d\u00a0'), weight: 3 },
    { arbitrary: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)), weight: 1 },
    {
      arbitrary: fc.constantFrom(
        ...'\u0000\u0007\b\t\n\u000b\r\u001b\u007f\u0080\u0085\u009b\u009f\u061c\u200e\u200f\u2028\u2029',
        ...'\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ud800\udc00',
      ),
      weight: 2,
    },
  ),
});

/** What an escape stands for. */
const meant = (shown: string) => JSON.parse(`"${shown.replaceAll('"', '\\"')}"`);

describe('printable text', () => {
  test('has nothing that steers, breaks or turns, and says what was there', () => {
    fc.assert(
      fc.property(text, (foreign) => {
        const shown = printable(foreign);
        assert.doesNotMatch(shown, UNPRINTABLE);
        assert.equal(printable(shown), shown, 'once is enough');
        if (!foreign.includes('\\')) assert.equal(meant(shown), foreign);
        assert.equal(shown === foreign, !UNPRINTABLE.test(foreign));
      }),
      options,
    );
  });

  test('escapes of all characters those that the properties of Unicode name, and no other', () => {
    for (let code = 0; code <= 0x10ffff; code++) {
      const character = String.fromCodePoint(code);
      if ((printable(character) !== character) !== UNPRINTABLE.test(character))
        assert.fail(`U+${code.toString(16)} is shown as ${printable(character)}`);
    }
  });

  test('leaves letters of all languages, emoji and their joiners as they are', () => {
    for (const plain of ['naïve café', '日本語', 'שלום', 'مرحبا', 'नमस्ते', '👩‍💻', 'می‌خواهم', 'a b']) {
      assert.equal(printable(plain), plain);
    }
    assert.equal(printable('a\u001b[31m\nb\u009b\u202e\ud800'), 'a\\u001b[31m\\nb\\u009b\\u202e\\ud800');
  });

  test('as JSON is the same data', () => {
    fc.assert(
      fc.property(fc.jsonValue(), text, (value, foreign) => {
        const json = jsonText({ value, [foreign]: [foreign] });
        assert.doesNotMatch(json, UNPRINTABLE);
        assert.deepEqual(JSON.parse(json), JSON.parse(JSON.stringify({ value, [foreign]: [foreign] })));
      }),
      options,
    );
  });

  test('is made of every text in data, and of nothing else', () => {
    const numbers = [1, 2, 3];
    const data = {
      a: 'x\n',
      b: [{ c: '\u202e', d: null }, 'y\t'],
      e: numbers,
      f: new Int32Array(2),
      g: undefined,
    };
    const shown = printableTexts(data);
    assert.deepEqual(shown, {
      a: 'x\\n',
      b: [{ c: '\\u202e', d: null }, 'y\\t'],
      e: [1, 2, 3],
      f: new Int32Array(2),
      g: undefined,
    });
    assert.equal(shown.e, numbers);
    assert.equal(data.a, 'x\n');
  });
});

describe('what goes out', () => {
  test('of errors is printable, whatever text they repeat', () => {
    fc.assert(
      fc.property(text, (foreign) => {
        for (const error of [
          new EplbError('EPLB_FILE', foreign),
          new EplbRangeError('EPLB_RANGE', foreign),
          new EplbTypeError('EPLB_KIND', foreign),
        ]) {
          assert.equal(error.message, printable(foreign));
        }
        const made = { [foreign]: class {} }[foreign]!;
        for (const value of [foreign, Symbol(foreign), new made()])
          assert.doesNotMatch(show(value), UNPRINTABLE);
      }),
      options,
    );
  });

  test('of facts is a line each', () => {
    fc.assert(
      fc.property(text, (foreign) => {
        const lines = factLines(
          [
            ['note', foreign],
            ['end', ''],
          ],
          picocolors.createColors(false),
        );
        assert.equal(lines.split('\n').length, 3);
        assert.doesNotMatch(lines.replaceAll('\n', ''), UNPRINTABLE);
      }),
      options,
    );
  });

  test('of the command keeps lines and our own colours, and lets nothing else through', async () => {
    const stream = new PassThrough();
    const colors = picocolors.createColors(true);
    const ours = `${colors.bold('a')} ${colors.green('b*')} ${colors.red('c')} ${colors.yellow('d')} ${colors.dim('e')}\n`;
    print(stream, `${ours}\u001b[2J\u001b]0;title\u0007\u001b[8mx\u009b31m\r\u202ey\n`);
    const out = String(stream.read());
    assert.ok(out.startsWith(ours), JSON.stringify(out));
    assert.equal(
      out.slice(ours.length),
      '\\u001b[2J\\u001b]0;title\\u0007\\u001b[8mx\\u009b31m\\r\\u202ey\n',
    );
  });

  test('of the command goes out in one place', () => {
    const folder = fileURLToPath(new URL('../../src/cli', import.meta.url));
    const files = (readdirSync(folder, { recursive: true }) as string[]).filter((name) =>
      statSync(join(folder, name)).isFile(),
    );
    assert.ok(files.length > 30);
    for (const file of files) {
      const source = readFileSync(join(folder, file), 'utf8');
      if (file !== 'terminal.ts')
        assert.doesNotMatch(source, /std(out|err)\.write|stream\.write|console\./, file);
      // The state of a sweep is read again, and what a service is asked goes to it: neither is shown.
      if (!/sweep-state\.ts$|^service\/client\.ts$/.test(file))
        assert.doesNotMatch(source, /JSON\.stringify/, file);
    }
  });
});
