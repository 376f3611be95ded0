import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  axisSeconds,
  bytes,
  counted,
  grouped,
  load,
  percent,
  ratio,
  seconds,
  times,
} from '../../src/formats/number-text.ts';

const OPTIONS = { seed: 20_240_607, numRuns: 2000 };

const SECONDS: Readonly<Record<string, number>> = { s: 1, ms: 1e-3, µs: 1e-6, ns: 1e-9 };
const BYTES: Readonly<Record<string, number>> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, PB: 1e15 };

/** A text as its number and unit. */
function parts(text: string): { number: number; unit: string } {
  const match = /^(-?[\d,]+(?:\.\d+)?(?:e[+-]\d+)?) (\S+)$/.exec(text);
  assert.ok(match !== null, text);
  return { number: Number(match[1]!.replaceAll(',', '')), unit: match[2]! };
}

/** The value that a text with a unit stands for. */
function amountOf(text: string, units: Readonly<Record<string, number>>): number {
  const { number, unit } = parts(text);
  assert.ok(unit in units, text);
  return number * units[unit]!;
}

const duration = fc.oneof(
  fc.double({ min: 1e-9, max: 1e9, noNaN: true }),
  fc.tuple(fc.double({ min: 1, max: 10, noNaN: true }), fc.integer({ min: -9, max: 8 })).map(toValue),
);
const size = fc.oneof(fc.nat(2_000_000_000), fc.integer({ min: 0, max: 18 }).map(powerOfTen));

function toValue([digits, exponent]: [number, number]): number {
  return digits * 10 ** exponent;
}

function powerOfTen(exponent: number): number {
  return 10 ** exponent;
}

test('a duration reads as what it is, to three figures, in s, ms, µs or ns', () => {
  fc.assert(
    fc.property(duration, fc.boolean(), (value, isNegative) => {
      const text = seconds(isNegative ? -value : value);
      assert.equal(text.startsWith('-'), isNegative, text);
      const shown = Math.abs(amountOf(text, SECONDS));
      assert.ok(Math.abs(shown - value) <= 0.005001 * value, `${value} reads as ${text}`);
      const { number, unit } = parts(text);
      assert.ok(unit === 's' || Math.abs(number) < 1000, `${text} has a longer unit`);
      assert.ok(unit === 'ns' || Math.abs(number) >= 1, `${text} has a shorter unit`);
    }),
    OPTIONS,
  );
});

test('bytes read as what they are, to three figures, in units of 1,000', () => {
  fc.assert(
    fc.property(size, (value) => {
      const text = bytes(value);
      const shown = amountOf(text, BYTES);
      assert.ok(Math.abs(shown - value) <= 0.005001 * value, `${value} reads as ${text}`);
      const { number, unit } = parts(text);
      assert.ok(unit === 'PB' || number < 1000, `${text} has a larger unit`);
    }),
    OPTIONS,
  );
});

test('what is longer or larger never reads as less', () => {
  fc.assert(
    fc.property(duration, duration, (a, b) => {
      const [low, high] = a <= b ? [a, b] : [b, a];
      // The units are not powers of two: the texts may stand for values that differ in their last bit.
      assert.ok(amountOf(seconds(low), SECONDS) <= amountOf(seconds(high), SECONDS) * (1 + 1e-12));
      assert.ok(amountOf(bytes(low), BYTES) <= amountOf(bytes(high), BYTES) * (1 + 1e-12));
      assert.ok(Number(load(low).replaceAll(',', '')) <= Number(load(high).replaceAll(',', '')));
    }),
    OPTIONS,
  );
});

test('a share reads with one place and the sign right behind it', () => {
  fc.assert(
    fc.property(fc.double({ min: -2, max: 2, noNaN: true }), (share) => {
      const text = percent(share);
      assert.match(text, /^-?\d+\.\d%$/);
      assert.ok(Math.abs(Number(text.slice(0, -1)) - 100 * share) <= 0.0501, `${share} reads as ${text}`);
    }),
    OPTIONS,
  );
});

test('whole numbers have commas, and their noun agrees', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 31 - 1), (value) => {
      assert.match(grouped(value), /^\d{1,3}(,\d{3})*$/);
      assert.equal(Number(grouped(value).replaceAll(',', '')), value);
      assert.equal(counted(value, 'rank'), `${grouped(value)} rank${value === 1 ? '' : 's'}`);
    }),
    OPTIONS,
  );
});

test('ratios have four places and multiples two', () => {
  assert.deepEqual([0.95846, 1, 12.34567].map(ratio), ['0.9585', '1.0000', '12.3457']);
  assert.deepEqual([0.95846, 1, 12.34567].map(times), ['0.96', '1.00', '12.35']);
});

test('an axis has the units of the text', () => {
  for (const value of [1, 0.02, 3e-6, 5e-9]) {
    assert.equal(axisSeconds(value).split(' ')[1], seconds(value).split(' ')[1]);
  }
});

/** Those that write numbers for programs: rounded data, and a style sheet's gradient. */
const FOR_PROGRAMS = new Set([
  'report/compact.ts',
  'replay/rank-load-samples.ts',
  'report/browser/diverging.ts',
]);

test('the command, the report and the simulator write numbers by one module', () => {
  const root = new URL('../../src/', import.meta.url);
  const files = ['cli', 'report', 'replay'].flatMap((room) =>
    readdirSync(new URL(`${room}/`, root), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => `${room}/${file}`),
  );
  assert.ok(files.length > 90, `${files.length} files were looked at`);
  const others = files.filter((file) =>
    /\.(toFixed|toPrecision|toLocaleString|toExponential)\(/.test(readFileSync(new URL(file, root), 'utf8')),
  );
  assert.deepEqual(new Set(others), FOR_PROGRAMS);
});
