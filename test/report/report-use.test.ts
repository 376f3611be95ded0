import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { compactReport } from '../../src/report/compact.ts';
import { reportPage } from '../../src/report/page.ts';
import { chromiumForTests, skipWithoutChromium } from '../helpers/chromium.ts';
import { builtAssets, recordedReport } from '../helpers/report.ts';
import { drawn, drawnLines, WIDE, withPage } from '../helpers/report-page.ts';

const assets = await builtAssets();
const recorded = await recordedReport();
const recordedPage = reportPage(recorded, assets);
const skip = skipWithoutChromium;
const browser = chromiumForTests();

const headingOf = (page: Page, id: string) => page.locator(`#${id}`).textContent();

test('layer, step and policy are chosen by keyboard, and the picture and its text follow', {
  skip,
}, async () => {
  await withPage(browser(), recordedPage, WIDE, async ({ page, complaints }) => {
    const bars = () => page.locator('#rank-loads svg').innerHTML();
    const chosen = async () => ({
      layer: Number(await headingOf(page, 'layer-value')),
      step: Number(await headingOf(page, 'step-value')),
      finding: await headingOf(page, 'rank-finding'),
      text: await page.locator('#rank-loads').getAttribute('aria-label'),
      bars: await bars(),
    });
    const first = await chosen();
    await page.focus('#layer');
    await page.keyboard.press('ArrowRight');
    await drawn(page);
    const second = await chosen();
    assert.equal(second.layer, first.layer === 25 ? 25 : first.layer + 1);
    assert.notEqual(second.bars, first.bars);

    await page.focus('#step');
    await page.keyboard.press('Home');
    await drawn(page);
    const third = await chosen();
    assert.equal(third.step, 0);
    assert.notEqual(third.bars, second.bars);
    assert.equal(await page.locator('#step').getAttribute('aria-valuetext'), 'step 0');

    // What the text says is what the replay found.
    const loads = recorded.replays[1]!.rankLoads.loads[0]![third.layer]!;
    const mean = loads.reduce((sum, load) => sum + load, 0) / loads.length;
    const rank = loads.indexOf(Math.max(...loads));
    const expected =
      `In layer ${third.layer}, step 0, rank ${rank} has ` +
      `${(loads[rank]! / mean).toFixed(2)} times the mean load with default`;
    assert.equal(third.finding, expected);
    assert.ok(third.text!.startsWith(expected));

    await page.focus('#policy');
    await page.keyboard.press('ArrowUp');
    await drawn(page);
    assert.match((await headingOf(page, 'rank-finding'))!, / with static$/);
    assert.match((await headingOf(page, 'heat-finding'))!, /^Without balancing/);
    await page.focus('#slowest');
    await page.keyboard.press('Enter');
    assert.equal(Number(await headingOf(page, 'step-value')), recorded.replays[0]!.rankLoads.slowestStep);
    assert.deepEqual(complaints, []);
  });
});

test('a layer is chosen by a click on a heat map, a step by one on the chart over time', {
  skip,
}, async () => {
  await withPage(browser(), recordedPage, WIDE, async ({ page }) => {
    const map = (await page.locator('#heat-after').boundingBox())!;
    const rowHeight = (map.height - 24 - 44) / 26;
    await page.locator('#heat-after').click({ position: { x: 300, y: 24 + 20.5 * rowHeight } });
    await drawn(page);
    assert.equal(await headingOf(page, 'layer-value'), '20');
    assert.match((await headingOf(page, 'rank-finding'))!, /^In layer 20,/);

    const [line] = await drawnLines(page, '#over-time', '--series-0');
    await page.locator('#over-time').click({ position: { x: line![77]![0], y: 100 } });
    await drawn(page);
    const { steps } = compactReport(recorded).runs[1]!.rankLoads;
    const distance = (step: number) => Math.abs(step - 77);
    const nearest = steps.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    assert.equal(Number(await headingOf(page, 'step-value')), nearest);
  });
});

test('a policy can be taken out of the picture and back, by keyboard', { skip }, async () => {
  await withPage(browser(), recordedPage, WIDE, async ({ page }) => {
    const numLines = async () => (await drawnLines(page, '#over-time', '--series-0')).length;
    assert.equal(await numLines(), 2);
    await page.locator('#lines input').nth(1).focus();
    await page.keyboard.press('Space');
    await drawn(page);
    assert.equal(await numLines(), 0);
    await page.keyboard.press('Space');
    await drawn(page);
    assert.equal(await numLines(), 2);
  });
});

test('the focus goes through the page in order, and is seen', { skip }, async () => {
  await withPage(browser(), recordedPage, WIDE, async ({ page }) => {
    const seen: string[] = [];
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press('Tab');
      const { name, outline } = await page.evaluate(() => {
        const active = document.activeElement!;
        const details = active.tagName === 'SUMMARY' ? active.parentElement!.id || active.textContent! : '';
        const label = active.getAttribute('aria-labelledby') ?? active.closest('label')?.textContent ?? '';
        return {
          name: active === document.body ? '' : active.id || details || label,
          outline: getComputedStyle(active).outlineWidth,
        };
      });
      if (name === '') break;
      assert.equal(outline, '3px', name);
      seen.push(name);
    }
    assert.deepEqual(seen, [
      ...['summary-about', 'static', 'default', 'over-time-figures', 'costs-figures', 'saved-figures'],
      ...['All plans, promised and realised', 'policy', 'layer', 'step', 'slowest', 'heat-map-figures'],
      ...[
        'rank-loads-figures',
        'facts-about',
        'settings-about',
        'Licences of the charting code in this page',
      ],
    ]);
  });
});

test('every chart has its figures as a table, that follow the choice', { skip }, async () => {
  await withPage(browser(), recordedPage, WIDE, async ({ page }) => {
    const rows = async (id: string) => {
      await page.locator(`#${id}-figures summary`).click();
      // The event that fills the table comes after the click.
      await page.locator(`#${id}-figures tr`).first().waitFor();
      return page
        .locator(`#${id}-figures tr`)
        .evaluateAll((found) => found.map((row) => [...row.children].map((cell) => cell.textContent)));
    };
    const overTime = await rows('over-time');
    assert.equal(overTime.length, 1 + 131);
    assert.deepEqual(overTime[0], ['step', 'static', 'default']);
    const means = recorded.replays.map(({ series }) => series.balancedness.mean[7]!.toFixed(4));
    assert.deepEqual(overTime[8], ['7', ...means]);
    assert.equal((await rows('heat-map')).length, 1 + 2 * 26);
    assert.deepEqual(
      (await rows('costs')).map(([name]) => name),
      ['policy', 'static', 'default'],
    );
    assert.equal((await rows('saved')).length, 1 + 131);
    const before = await rows('rank-loads');
    assert.equal(before.length, 1 + 16);
    assert.equal(before[0]!.at(-1), 'tokens without balancing');
    await page.focus('#layer');
    await page.keyboard.press('ArrowRight');
    const now = await page.locator('#rank-loads-figures td').allTextContents();
    assert.notDeepEqual(
      now,
      before.slice(1).flatMap((row) => row.slice(1)),
    );
    assert.deepEqual(await page.locator('[role="img"]:not([aria-label])').count(), 0);
  });
});
