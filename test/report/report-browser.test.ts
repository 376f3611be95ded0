import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reportPage } from '../../src/report/page.ts';
import { chromiumForTests, skipWithoutChromium } from '../helpers/chromium.ts';
import { exampleReport } from '../helpers/replay-report.ts';
import { builtAssets, recordedReport, renamed } from '../helpers/report.ts';
import {
  checkOpened,
  drawn,
  drawnLines,
  pageForTests,
  valueScale,
  WIDE,
  withPage,
} from '../helpers/report-page.ts';

const assets = await builtAssets();
const recorded = await recordedReport();
const recordedPage = reportPage(recorded, assets);
const skip = skipWithoutChromium;
const browser = chromiumForTests();
/** Of tests that only look at it. */
const light = pageForTests(browser, recordedPage, { ...WIDE, colorScheme: 'light' });

const HOSTILE = '</script><img src=x onerror="document.title=1"><b>{a|b}{b}</b>';
const HOSTILE_NAMES = [`${HOSTILE}0`, HOSTILE, `${HOSTILE}2`];
/** A sweep whose policies and advice are called so; its configurations are not. */
const swept = renamed(exampleReport({ withSweep: true }), HOSTILE_NAMES);
const hostilePage = reportPage({ ...swept, sweep: { ...swept.sweep!, advice: HOSTILE } }, assets);
const hostile = pageForTests(browser, hostilePage, WIDE);

test('the page opens in light without a complaint and without asking for anything', { skip }, async () => {
  await checkOpened(await light());
});

test('reports of one replay open too: never balanced, never static, of one step', { skip }, async () => {
  const reports = [
    { ...recorded, replays: recorded.replays.slice(0, 1) },
    { ...recorded, replays: recorded.replays.slice(1) },
    exampleReport({ numSteps: 1, numLayers: 4, numRanks: 2, policies: ['default'] }),
    exampleReport({ numSteps: 2, numLayers: 61, numRanks: 320, policies: ['static', 'default'] }),
  ];
  // Together: much of the time that a page takes to open is waiting for the browser.
  await Promise.all(
    reports.map((report) =>
      withPage(browser(), reportPage(report, assets), WIDE, async ({ page, complaints }) => {
        await drawn(page);
        assert.deepEqual(complaints, []);
        assert.match(
          (await page.locator('#rank-finding').textContent())!,
          /^In layer \d+, step \d+, rank \d+ has [\d.]+ times/,
        );
      }),
    ),
  );
});

test('the chart over time draws every step of every policy', { skip }, async () => {
  const { page } = await light();
  const value = await valueScale(page, '#over-time');
  const colours = ['--baseline', '--series-0'];
  for (const [i, { series, numSteps }] of recorded.replays.entries()) {
    const [line] = await drawnLines(page, '#over-time', colours[i]!);
    assert.equal(line!.length, numSteps);
    line!.forEach(([, y], step) => {
      const there = value(y);
      const expected = series.balancedness.mean[step]!;
      assert.ok(Math.abs(there - expected) < 0.002, `step ${step} is drawn at ${there}, not ${expected}`);
    });
  }
});

test('a single step that stands out among 100,000 is seen', { skip }, async () => {
  const large = exampleReport({ numSteps: 100_000, policies: ['static', 'default'] });
  await withPage(browser(), reportPage(large, assets), WIDE, async ({ page, complaints }) => {
    const value = await valueScale(page, '#over-time');
    const lines = await drawnLines(page, '#over-time', '--series-0');
    const { min } = large.replays[1]!.series.balancedness;
    const lowest = Math.min(...min);
    const overSteps = lines.filter((line) => line.length === min.length);
    assert.equal(overSteps.length, 3);
    const drawnLowest = value(Math.max(...overSteps.flat().map(([, y]) => y)));
    assert.ok(Math.abs(drawnLowest - lowest) < 0.005, `${drawnLowest} is not ${lowest}`);
    const second = [...min].sort((a, b) => a - b)[1]!;
    assert.ok(lowest < 0.85 * second, 'it stands out');
    assert.deepEqual(complaints, []);
  });
});

test('plans are marked where they were started', { skip }, async () => {
  const { page } = await light();
  const [line, marks] = await drawnLines(page, '#over-time', '--series-0');
  const { plans } = recorded.replays[1]!;
  assert.ok(plans.length > 2);
  assert.equal(marks!.length, 2 * plans.length);
  plans.forEach(({ startedAfterStep }, i) => {
    assert.ok(Math.abs(marks![2 * i]![0] - line![startedAfterStep]![0]) < 0.5);
  });
});

test('heat maps show the loads before and after, and what is waited for beside them', { skip }, async () => {
  const { page } = await light();
  // The colour in the middle of each cell: red above blue where the load is above the mean.
  const warmth = (id: string, numLayers: number, columns: readonly number[]) =>
    page.locator(`#${id} canvas`).evaluateAll(
      (layered: HTMLCanvasElement[], [layers, shown]) => {
        const [canvas] = layered as [HTMLCanvasElement];
        const flat = new OffscreenCanvas(canvas.width, canvas.height);
        const pixels = flat.getContext('2d')!;
        for (const layer of layered) pixels.drawImage(layer, 0, 0);
        const scale = canvas.width / canvas.clientWidth;
        const [left, top, right, bottom] = [44, 24, 14, 44];
        // 16 ranks, a gap, and one column of what is waited for.
        const width = (canvas.clientWidth - left - right) / 18;
        const height = (canvas.clientHeight - top - bottom) / layers;
        return Array.from({ length: layers * shown.length }, (_, cell) => {
          const x = left + (shown[cell % shown.length]! + 0.4) * width;
          const y = top + (Math.floor(cell / shown.length) + 0.5) * height;
          const { data } = pixels.getImageData(Math.round(x * scale), Math.round(y * scale), 1, 1);
          return data[0]! - data[2]!;
        });
      },
      [numLayers, columns] as const,
    );
  const ranks = Array.from({ length: 16 }, (_, rank) => rank);
  const { heatMap } = recorded.replays[1]!;
  const check = async (when: 'before' | 'after', shares: readonly number[]) => {
    const shown = await warmth(`heat-${when}`, 26, ranks);
    assert.equal(shown.length, shares.length);
    shares.forEach((share, cell) => {
      if (Math.abs(share - 1) > 0.1)
        assert.equal(shown[cell]! > 0, share > 1, `${when}, cell ${cell}: ${share}`);
    });
  };
  await check('before', heatMap.p95Before.flat());
  await check('after', heatMap.p95After.flat());
  // The more is waited for, the warmer.
  const waited = await warmth('heat-before', 26, [17]);
  const order = (values: readonly number[]) => values.indexOf(Math.max(...values));
  assert.equal(order(waited), order(heatMap.maximumBefore));
  await page.locator('input[value="mean"]').check();
  await drawn(page);
  await check('before', heatMap.before.flat());
  await check('after', heatMap.after.flat());
});

test('without JavaScript the tables and the findings are there', { skip }, async () => {
  await withPage(browser(), recordedPage, { ...WIDE, javaScriptEnabled: false }, async ({ page }) => {
    assert.equal(await page.locator('table.summary tbody tr').count(), 2);
    assert.match((await page.locator('noscript').textContent())!, /need JavaScript/);
    assert.match((await page.locator('#time-heading').textContent())!, /lifts balancedness from/);
  });
});

test('the sweep has a mark for every point, and its fronts go through theirs', { skip }, async () => {
  const { points, frontsByRanks } = swept.sweep!;
  const { page, complaints } = await hostile();
  const numMarks = await page.locator('#pareto svg path').evaluateAll((paths) => {
    const style = getComputedStyle(document.documentElement);
    const policies = [0, 1].map((i) => style.getPropertyValue(`--series-${i}`).trim());
    return paths.filter((path) => policies.includes(path.getAttribute('stroke') ?? '')).length;
  });
  assert.equal(numMarks, points.filter(({ status }) => status === 'done').length);
  const lines = await drawnLines(page, '#pareto', '--muted');
  const [eight] = frontsByRanks;
  // Down a step and along to the next, for each of its three points.
  assert.equal(eight!.names.length, 3);
  assert.equal(lines[0]!.length, 5);
  for (const [i, name] of eight!.names.entries()) {
    const [x, y] = lines[0]![2 * i]!;
    await page.locator('#pareto').hover({ position: { x, y } });
    await page.waitForFunction(
      (wanted) => document.querySelector('#pareto .tip strong')?.textContent === wanted,
      name,
    );
  }
  const text = await page.locator('#pareto').getAttribute('aria-label');
  for (const name of frontsByRanks.flatMap(({ names }) => names)) assert.ok(text!.includes(name));
  assert.deepEqual(complaints, []);
});

test('hostile names are shown as they are and do nothing', { skip }, async () => {
  const { page, complaints, requests } = await hostile();
  await page.locator('#costs').hover();
  await page.locator('#over-time').hover();
  await page.locator('#pareto').hover();
  await drawn(page);
  assert.deepEqual(complaints, []);
  assert.deepEqual(requests, ['/report.html']);
  assert.equal(await page.locator('img, b').count(), 0);
  assert.deepEqual(await page.locator('#lines label').allTextContents(), HOSTILE_NAMES);
  assert.deepEqual(await page.locator('#policy option').allTextContents(), HOSTILE_NAMES);
});

test('the content policy holds: a script or a request that gets in does not run', { skip }, async () => {
  // The last on this page, as it adds to it.
  const { page, complaints, requests } = await light();
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'document.title = "run"';
    document.body.append(script);
    const image = document.createElement('img');
    image.src = '/picture.png';
    document.body.append(image);
    return fetch('/elsewhere').catch(() => undefined);
  });
  assert.notEqual(await page.title(), 'run');
  assert.deepEqual(requests, ['/report.html']);
  for (const directive of ['script-src', 'img-src', 'default-src']) {
    assert.ok(
      complaints.some((text) => text.includes(directive)),
      `${directive}: ${complaints.join('\n')}`,
    );
  }
});
