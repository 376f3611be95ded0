import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { reportPage } from '../../src/report/page.ts';
import { chromiumForTests, skipWithoutChromium } from '../helpers/chromium.ts';
import { eplb, inTempDir, RECORDING } from '../helpers/cli.ts';
import { exampleReport } from '../helpers/replay-report.ts';
import { builtAssets, recordedReport, renamed } from '../helpers/report.ts';
import {
  drawn,
  drawnLines,
  type OpenPage,
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

/** What an opened page has to be. */
async function checkOpened({ page, complaints, requests, loads }: OpenPage): Promise<void> {
  await drawn(page);
  assert.deepEqual(complaints, []);
  assert.deepEqual(requests, ['/report.html']);
  assert.equal(loads.filter((url) => !url.startsWith('data:')).length, 1);
  for (const chart of ['over-time', 'costs', 'saved', 'rank-loads']) {
    assert.ok((await page.locator(`#${chart} svg path`).count()) > 10, chart);
  }
  assert.ok((await page.locator('#traffic svg path').count()) >= 4);
  assert.ok((await page.locator('#heat-before canvas').count()) > 0);
  assert.ok((await page.locator('#heat-after canvas').count()) > 0);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 1400);
}

test('the page opens in light without a complaint and without asking for anything', { skip }, async () => {
  await checkOpened(await light());
});

test('the page opens in dark without a complaint and without asking for anything', { skip }, async () => {
  await withPage(browser(), recordedPage, { ...WIDE, colorScheme: 'dark' }, checkOpened);
});

test('reports of one replay open too: never balanced, never static, of one step', { skip }, async () => {
  const reports = [
    { ...recorded, replays: recorded.replays.slice(0, 1) },
    { ...recorded, replays: recorded.replays.slice(1) },
    exampleReport({ numSteps: 1, numLayers: 4, numRanks: 2, policies: ['default'] }),
    exampleReport({ numSteps: 2, numLayers: 61, numRanks: 320 }),
  ];
  for (const report of reports) {
    await withPage(browser(), reportPage(report, assets), WIDE, async ({ page, complaints }) => {
      await drawn(page);
      assert.deepEqual(complaints, []);
      assert.match(
        (await page.locator('#rank-finding').textContent())!,
        /^In layer \d+, step \d+, rank \d+ has [\d.]+ times/,
      );
    });
  }
});

test('what the command writes opens without a complaint', { skip }, async () => {
  await inTempDir(async (dir) => {
    const common = [RECORDING, '--experts', '64', '--tokens-per-step', '256', '--interval', '8'];
    const compare = [
      'compare',
      ...common,
      '--replicas',
      '80',
      '--ranks',
      '16',
      '--policies',
      'static,default',
    ];
    const sweep = ['sweep', ...common, '--replicas', '64,80', '--ranks', '8,16', '--policy', 'default'];
    for (const args of [compare, sweep]) {
      const run = await eplb([...args, '--report', 'report.html'], { cwd: dir });
      assert.equal(run.code, 0, run.stderr);
      const markup = await readFile(join(dir, 'report.html'), 'utf8');
      await withPage(browser(), markup, WIDE, async ({ page, complaints, requests }) => {
        await drawn(page);
        assert.deepEqual(complaints, []);
        assert.deepEqual(requests, ['/report.html']);
        assert.equal(await page.locator('#pareto svg').count(), args === sweep ? 1 : 0);
      });
    }
  });
});

test('the content policy holds: a script or a request that gets in does not run', { skip }, async () => {
  await withPage(browser(), recordedPage, WIDE, async ({ page, complaints, requests }) => {
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

test('the sweep has a mark for every point, and its fronts go through theirs', { skip }, async () => {
  const swept = exampleReport({ withSweep: true });
  const { points, frontsByRanks } = swept.sweep!;
  await withPage(browser(), reportPage(swept, assets), WIDE, async ({ page, complaints }) => {
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

test('hostile names are shown as they are and do nothing', { skip }, async () => {
  const name = '</script><img src=x onerror="document.title=1"><b>{a|b}{b}</b>';
  const named = renamed(exampleReport({ withSweep: true }), [`${name}0`, name, `${name}2`]);
  const hostile = { ...named, sweep: { ...named.sweep!, advice: name } };
  await withPage(browser(), reportPage(hostile, assets), WIDE, async ({ page, complaints, requests }) => {
    await page.locator('#costs').hover();
    await page.locator('#over-time').hover();
    await page.locator('#pareto').hover();
    await drawn(page);
    assert.deepEqual(complaints, []);
    assert.deepEqual(requests, ['/report.html']);
    assert.equal(await page.locator('img, b').count(), 0);
    assert.deepEqual(await page.locator('#lines label').allTextContents(), [`${name}0`, name, `${name}2`]);
    assert.deepEqual(await page.locator('#policy option').allTextContents(), [`${name}0`, name, `${name}2`]);
  });
});

test('without JavaScript the tables and the findings are there', { skip }, async () => {
  await withPage(browser(), recordedPage, { ...WIDE, javaScriptEnabled: false }, async ({ page }) => {
    assert.equal(await page.locator('table.summary tbody tr').count(), 2);
    assert.match((await page.locator('noscript').textContent())!, /need JavaScript/);
    assert.match((await page.locator('#time-heading').textContent())!, /lifts balancedness from/);
  });
});
