import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CostModel } from '../../src/cost/cost-model.ts';
import type { SlotFit } from '../../src/cost/fit.ts';
import { type CalibrationReport, calibrationPage } from '../../src/report/calibration-page.ts';
import { ticksOf } from '../../src/report/plot.ts';
import { chromiumForTests, skipWithoutChromium } from '../helpers/chromium.ts';
import { builtAssets } from '../helpers/report.ts';
import { NARROW, withPage } from '../helpers/report-page.ts';

const { style } = await builtAssets();
const browser = chromiumForTests();
const HOSTILE = '</style><img src=x onerror="document.title=1">';

// A rank takes 10 us, a slot 20 us and 1 us a token from 20 tokens on.
const COST = new CostModel({
  name: 'by hand',
  fixedSeconds: 10e-6,
  slotSeconds: { floor: 20e-6, perToken: 1e-6 },
  bytesPerExpert: 1e6,
  links: { intraNode: { latencySeconds: 5e-6, bytesPerSecond: 1e9 } },
});
const FIT: SlotFit = {
  fixedSeconds: 10e-6,
  slotSeconds: { floor: 20e-6, perToken: 1e-6 },
  error: { median: 0.05, worst: 0.25 },
  errorOnOthers: { median: 0.06, worst: 0.3 },
};
const REPORT: CalibrationReport = {
  source: 'a device, 2026',
  experts: '7,168 x 2,048, bf16',
  cost: COST,
  fit: FIT,
  slots: [
    { tokensPerSlot: [10, 10], seconds: 50e-6 },
    { tokensPerSlot: [100, 0], seconds: 100e-6 },
    { tokensPerSlot: [1, 40], seconds: 56e-6 },
  ],
  exchanges: [{ rounds: 1, bytes: 1e6, seconds: 1.005e-3 }],
  transfers: [],
  base: 'h200:deepseek-v3:bf16',
};

test('measurements stand beside the fit, with what it is off by', () => {
  const page = calibrationPage(REPORT, style);
  assert.match(page, /<p class="lead">The fit is 5\.0% off in the median and 25\.0% at worst\.<\/p>/);
  assert.match(page, /20\.0 µs at least, 1\.00 µs a token/);
  const [curve, residuals, links] = page.split('<svg').slice(1);
  const names = (part: string) => [...part.matchAll(/<title>([^<]*)\n<\/title>/g)].map(([, name]) => name);
  // The third has slots of 1 and of 40: it is no point of a curve.
  assert.deepEqual(names(curve!), [
    '20 tokens in 2 slots: measured 50.0 µs, fit 50.0 µs, 0.0%',
    '100 tokens in 1 slot: measured 100 µs, fit 110 µs, 10.0%',
  ]);
  assert.deepEqual(names(residuals!).slice(2), [
    '41 tokens in 2 slots: measured 56.0 µs, fit 70.0 µs, 25.0%',
  ]);
  assert.deepEqual(names(links!), ['1.00 MB in 1 round: measured 1.01 ms, fit 1.01 ms, 0.0%']);
  // Where a point of the curve is: 90 us of a slot with 100 tokens, at the right end.
  const circles = [...curve!.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [
    Number(x),
    Number(y),
  ]);
  assert.equal(circles[1]![0], 452);
  assert.ok(circles[1]![1]! < circles[0]![1]!);
  assert.match(page, /Moves of weights were not measured: they are those of h200:deepseek-v3:bf16\./);
  const rows = [...page.matchAll(/<tr><th scope="row">(\d+)<\/th>\n<td>([\d,]+)<\/td>/g)].map(([, , n]) => n);
  assert.deepEqual(rows, ['41', '100', '20'], 'the worst first');
});

test('the page loads nothing, runs nothing, and shows names as texts', () => {
  const page = calibrationPage({ ...REPORT, source: HOSTILE, experts: HOSTILE, base: HOSTILE }, style);
  const policy = /Content-Security-Policy" content="([^"]*)"/.exec(page)![1]!;
  assert.match(policy, /^default-src &#39;none&#39;; style-src &#39;sha256-/);
  const markup = page.replace(style, '');
  assert.doesNotMatch(markup, /<script|<img|\s(src|style|on\w+)="/);
  assert.equal(page.match(/<\/style>/g)!.length, 1);
});

test('of very many measurements some are drawn, and the worst are listed', () => {
  const slots = Array.from({ length: 5000 }, (_, i) => ({ tokensPerSlot: [1 + i, 1], seconds: 1e-4 }));
  const page = calibrationPage({ ...REPORT, slots }, style);
  assert.equal(page.match(/<circle/g)!.length, 1 + 1 + 1667);
  assert.match(page, /Of 5,000 measurements one in 3 is drawn\./);
  assert.match(page, /The 200 worst of 5,000 measurements/);
  assert.ok(page.length < 600_000, `${page.length} bytes`);
});

test('what was measured where nothing is known, or a slot takes nothing, is drawn too', () => {
  const free = new CostModel({ ...COST.toJSON(), slotSeconds: { perToken: 0 } });
  const slots = [{ tokensPerSlot: [0, 0], seconds: 1e-6 }];
  for (const report of [
    { ...REPORT, cost: free },
    { ...REPORT, slots },
  ]) {
    const page = calibrationPage(report, style);
    assert.doesNotMatch(page.replace(style, ''), /NaN|Infinity|undefined/);
  }
});

test('ticks are round and inside their axis', () => {
  assert.deepEqual(
    ticksOf({ from: -0.25, to: 0.25, isLog: false }, 6).map((x) => Number(x.toFixed(6))),
    [-0.2, -0.1, 0, 0.1, 0.2],
  );
  assert.deepEqual(ticksOf({ from: 1, to: 1024, isLog: true }, 6), [1, 10, 100, 1000]);
  assert.deepEqual(ticksOf({ from: 15, to: 120, isLog: true }, 6), [20, 30, 50, 100]);
});

test('it fits a narrow window', { skip: skipWithoutChromium }, async () => {
  await withPage(browser(), calibrationPage(REPORT, style), NARROW, async ({ page, complaints }) => {
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    assert.equal(await page.locator('svg.plot').count(), 3);
    assert.deepEqual(complaints, []);
  });
});
