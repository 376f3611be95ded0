import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { printable } from '../../src/core/printable.ts';
import { axisNumber, axisSeconds, bytes, counted, load, seconds } from '../../src/formats/number-text.ts';
import { html, scriptJson } from '../../src/report/html.ts';
import { packNumbers } from '../../src/report/pack.ts';
import { unpackNumbers } from '../../src/report/packed.ts';
import { SEED } from '../helpers/library.ts';

const options = { numRuns: 300, seed: SEED };
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '</script><img src=x onerror=alert(1)>',
    '<!--',
    ']]>',
    '"><svg onload=alert(1)>',
    "' onx='",
    '&lt;',
  ),
);
const unescaped = (markup: string) =>
  markup.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)));

test('text in a template shows as it is, printable, and is never markup', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const { markup } = html`${text}`;
      assert.doesNotMatch(markup, /[<>"']/);
      assert.equal(unescaped(markup), printable(text));
    }),
    options,
  );
});

test('templates keep markup, put lists together, and leave nothing out as undefined', () => {
  const rows = ['<a>', 7].map((text) => html`<td>${text}</td>`);
  assert.equal(html`<tr>${rows}${undefined}</tr>`.markup, '<tr><td>&#60;a&#62;</td><td>7</td></tr>');
});

test('JSON in a script element parses to what it was and can not end the element', () => {
  fc.assert(
    fc.property(fc.jsonValue(), anyText, (value, text) => {
      const { markup } = scriptJson({ value, text });
      assert.doesNotMatch(markup, /[<>&\u2028\u2029]/);
      assert.deepEqual(JSON.parse(markup), JSON.parse(JSON.stringify({ value, text })));
    }),
    options,
  );
});

test('packed numbers come back to within half a step, zero and the largest as they were', () => {
  const numbers = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e300, max: 1e300 }));
  fc.assert(
    fc.property(numbers, (values) => {
      const packed = packNumbers(values);
      const back = unpackNumbers(JSON.parse(JSON.stringify(packed)));
      assert.equal(back.length, values.length);
      const largest = Math.max(0, ...values);
      // Below the smallest normal number there are no steps left to divide.
      const tiny = Number.MIN_VALUE * 2 ** 17;
      values.forEach((value, i) => {
        const off = Math.abs(back[i]! - value);
        assert.ok(off <= 0.5001 * packed.scale + tiny, `${value} came back as ${back[i]}`);
        if (value === largest)
          assert.ok(off <= 1e-9 * packed.scale + 1e-12 * largest + tiny, `largest ${value}: ${back[i]}`);
        if (value === 0 && packed.offset === 0) assert.equal(back[i], 0);
      });
    }),
    options,
  );
});

test('a number that is not finite is refused', () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const refused = { name: 'EplbRangeError', code: 'EPLB_RANGE', message: /^value 1 is -?(NaN|Infinity)/ };
    assert.throws(() => packNumbers([1, value]), refused);
  }
});

test('numbers are written with units and without false digits', () => {
  assert.deepEqual([0, 1e-12, 3.2e-6, 0.0123, 0.99951, 1, 12.345, 1254.4, -0.314].map(seconds), [
    '0 s',
    '0.00100 ns',
    '3.20 µs',
    '12.3 ms',
    '1.00 s',
    '1.00 s',
    '12.3 s',
    '1,254 s',
    '-314 ms',
  ]);
  assert.deepEqual([0, 12, 999_999, 88_080_384, 4.5e11, 7e13].map(bytes), [
    '0 B',
    '12 B',
    '1.00 MB',
    '88.1 MB',
    '450 GB',
    '70.0 TB',
  ]);
  assert.deepEqual([0, 0.25, 3, 41.666, 1234.5].map(load), ['0', '0.250', '3.00', '41.7', '1,235']);
  assert.deepEqual([0, 0.30000000000000004, 12_000].map(axisNumber), ['0', '0.3', '12,000']);
  assert.deepEqual([0, 20, -0.025, 3e-5].map(axisSeconds), ['0', '20 s', '-25 ms', '30 µs']);
  assert.deepEqual(
    [0, 1, 1024].map((count) => counted(count, 'step')),
    ['0 steps', '1 step', '1,024 steps'],
  );
});
