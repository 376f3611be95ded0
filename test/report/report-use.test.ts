import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { compactReport } from '../../src/report/compact.ts';
import { unpackNumbers } from '../../src/report/packed.ts';
import { reportPage } from '../../src/report/page.ts';
import { chromiumForTests, skipWithoutChromium } from '../helpers/chromium.ts';
import { builtAssets, recordedReport } from '../helpers/report.ts';
import { drawn, drawnLines, pageForTests, WIDE } from '../helpers/report-page.ts';

const assets = await builtAssets();
const recorded = await recordedReport();
const recordedPage = reportPage(recorded, assets);
const skip = skipWithoutChromium;
const browser = chromiumForTests();
/** One page for all tests here, in which each chooses what it needs. */
const open = pageForTests(browser, recordedPage, WIDE);

const textOf = async (id: string) => (await open()).page.locator(`#${id}`).textContent();
const setRange = async (id: string, value: number) =>
  (await open()).page.locator(`#${id}`).evaluate((input: HTMLInputElement, to) => {
    input.value = String(to);
    input.dispatchEvent(new Event('input'));
  }, value);

/**
 * Lets no time be enough, as on a machine under load: what draws for so long and goes on with the next frame
 * does so after each mark.
 */
async function hurry(page: Page): Promise<void> {
  await page.evaluate(() => {
    const { now } = Date;
    let looks = 0;
    Date.now = () => now() + 20 * looks++;
  });
}

/** Presses a button that saves a file. */
async function saved(label: string): Promise<{ readonly name: string; readonly bytes: Buffer }> {
  const { page } = await open();
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: label, exact: true }).click(),
  ]);
  return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
}

test('the focus goes through the page in order, and is seen', { skip }, async () => {
  const { page } = await open();
  const seen: string[] = [];
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press('Tab');
    const { name, outline } = await page.evaluate(() => {
      const active = document.activeElement!;
      const details = active.tagName === 'SUMMARY' ? active.parentElement!.id || active.textContent! : '';
      const label =
        active.getAttribute('aria-labelledby') ??
        active.getAttribute('aria-label') ??
        active.closest('label')?.textContent ??
        active.textContent!;
      return {
        name: active === document.body ? '' : active.id || details || label,
        outline: getComputedStyle(active).outlineWidth,
      };
    });
    if (name === '') break;
    assert.equal(outline, '3px', name);
    seen.push(name.trim());
  }
  const files = (chart: string, ...pictures: string[]) => [
    `${chart}: save the figures as CSV`,
    ...(pictures.length === 0 ? [chart] : pictures).map((id) => `${id}: save the picture as PNG`),
    `${chart}-figures`,
  ];
  assert.deepEqual(seen, [
    ...['Summary', 'Balancedness over time', 'Modelled time and moves', 'Traffic between ranks'],
    ...['When a rank or node fails', 'Rank loads, moves and experts'],
    ...['Configuration and versions', 'summary-about', 'static', 'default', 'zoom-from', 'zoom-to'],
    ...[...files('over-time'), ...files('costs'), ...files('saved'), 'All plans, promised and realised'],
    ...['traffic-about', 'failures-about'],
    ...['policy', 'layer', 'step', 'slowest', 'link', '95th percentile of steps'],
    ...[...files('heat-map', 'heat-before', 'heat-after'), ...files('rank-loads'), 'plan'],
    ...[...files('traffic'), 'Moves', 'Hottest ranks, by the 95th percentile of steps'],
    ...['Hottest experts, with their ranks at the end', 'facts-about', 'settings-about'],
    'Licences of the charting code in this page',
  ]);
});

test('layer, step and policy are chosen by keyboard, and the picture and its text follow', {
  skip,
}, async () => {
  const { page, complaints } = await open();
  const chosen = async () => ({
    layer: Number(await textOf('layer-value')),
    step: Number(await textOf('step-value')),
    finding: await textOf('rank-finding'),
    text: await page.locator('#rank-loads').getAttribute('aria-label'),
    bars: await page.locator('#rank-loads svg').innerHTML(),
  });
  await setRange('layer', 3);
  await drawn(page);
  const first = await chosen();
  await page.focus('#layer');
  await page.keyboard.press('ArrowRight');
  await drawn(page);
  const second = await chosen();
  assert.equal(second.layer, 4);
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
  assert.match((await textOf('rank-finding'))!, / with static$/);
  assert.match((await textOf('heat-finding'))!, /^Without balancing/);
  assert.equal(await textOf('moves-finding'), 'static moves nothing');
  assert.equal(await page.locator('#traffic-figure').isVisible(), false);
  await page.focus('#slowest');
  await page.keyboard.press('Enter');
  assert.equal(Number(await textOf('step-value')), recorded.replays[0]!.rankLoads.slowestStep);
  await page.locator('#policy').selectOption('default');
  assert.deepEqual(complaints, []);
});

test('what layers wait for is said: the mean over layers, and the worst', { skip }, async () => {
  const { maximumBefore, maximumAfter } = recorded.replays[1]!.heatMap;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [before, after] = [mean(maximumBefore), mean(maximumAfter)].map((value) => value.toFixed(2));
  const [worstBefore, worstAfter] = [maximumBefore, maximumAfter].map((all) => Math.max(...all).toFixed(2));
  assert.equal(
    await textOf('heat-finding'),
    `default takes what a layer waits for from ${before} to ${after} times its mean load, in the worst ` +
      `layer from ${worstBefore} to ${worstAfter}`,
  );
});

test('a layer is chosen by a click on a heat map, a step by one on the chart over time', {
  skip,
}, async () => {
  const { page } = await open();
  const map = (await page.locator('#heat-after').boundingBox())!;
  const rowHeight = (map.height - 24 - 44) / 26;
  await page.locator('#heat-after').click({ position: { x: 300, y: 24 + 20.5 * rowHeight } });
  await drawn(page);
  assert.equal(await textOf('layer-value'), '20');
  assert.match((await textOf('rank-finding'))!, /^In layer 20,/);

  const [line] = await drawnLines(page, '#over-time', '--series-0');
  await page.locator('#over-time').click({ position: { x: line![77]![0], y: 100 } });
  await drawn(page);
  const { steps } = compactReport(recorded).runs[1]!.rankLoads;
  const distance = (step: number) => Math.abs(step - 77);
  const nearest = steps.reduce((a, b) => (distance(b) < distance(a) ? b : a));
  assert.equal(Number(await textOf('step-value')), nearest);
});

test('a policy can be taken out of the picture and back, by keyboard', { skip }, async () => {
  const { page } = await open();
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

test('the charts over time zoom by fields and by a drag, and back by a double click', { skip }, async () => {
  const { page } = await open();
  const range = async () => [
    Number(await page.locator('#zoom-from').inputValue()),
    Number(await page.locator('#zoom-to').inputValue()),
  ];
  assert.deepEqual(await range(), [0, 130]);
  assert.equal(await page.locator('#zoom-whole').isDisabled(), true);
  const [before] = await drawnLines(page, '#over-time', '--series-0');
  const [left, right] = [before![0]![0], before![130]![0]];

  await page.locator('#zoom-from').fill('40');
  await page.keyboard.press('Enter');
  await page.locator('#zoom-to').fill('60');
  await page.keyboard.press('Tab');
  await drawn(page);
  assert.deepEqual(await range(), [40, 60]);
  const [zoomed] = await drawnLines(page, '#over-time', '--series-0');
  assert.ok(Math.abs(zoomed![40]![0] - left) < 0.5);
  assert.ok(Math.abs(zoomed![60]![0] - right) < 0.5);
  assert.match((await page.locator('#over-time').getAttribute('aria-label'))!, /over steps 40 to 60\./);

  // A field that is emptied, turned round or far out chooses what there is.
  await page.locator('#zoom-from').fill('999');
  await page.keyboard.press('Tab');
  assert.deepEqual(await range(), [129, 130]);
  await page.locator('#zoom-to').fill('');
  await page.keyboard.press('Tab');
  assert.deepEqual(await range(), [129, 130]);
  await page.focus('#zoom-whole');
  await page.keyboard.press('Enter');
  await drawn(page);
  assert.deepEqual(await range(), [0, 130]);

  const box = (await page.locator('#over-time').boundingBox())!;
  await page.locator('#over-time').scrollIntoViewIfNeeded();
  const at = (step: number) => box.x + before![step]![0];
  const y = (await page.locator('#over-time').boundingBox())!.y + 100;
  await page.mouse.move(at(50), y);
  await page.mouse.down();
  await page.mouse.move(at(60), y, { steps: 3 });
  assert.equal(await page.locator('#over-time .band').isVisible(), true);
  await page.mouse.move(at(70), y, { steps: 3 });
  await page.mouse.up();
  await drawn(page);
  const [from, to] = await range();
  assert.ok(Math.abs(from! - 50) <= 1 && Math.abs(to! - 70) <= 1, `${from} to ${to}`);
  assert.equal(await page.locator('#over-time .band').isVisible(), false);
  await page.locator('#over-time').dblclick({ position: { x: 400, y: 100 } });
  assert.deepEqual(await range(), [0, 130]);
});

test('every chart has its figures as a table, that follow the choice', { skip }, async () => {
  const { page } = await open();
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
  const maps = await rows('heat-map');
  assert.equal(maps.length, 1 + 2 * 26);
  // As the page holds them: packed, a load may come to lie on the other side of half of the last place.
  const { p95, maximum } = compactReport(recorded).runs[1]!.heatMap.after;
  const held = [unpackNumbers(maximum)[25]!, ...unpackNumbers(p95).subarray(25 * 16)];
  const shown = held.map((value) => value.toFixed(2));
  assert.deepEqual(maps.at(-1), ['layer 25, after', ...shown]);
  const costs = await rows('costs');
  assert.deepEqual(
    costs.map(([name]) => name),
    ['policy', 'static', 'default'],
  );
  assert.equal(costs[0]![4], 'planning');
  assert.equal(costs[2]![4], '8.00 ms');
  assert.equal((await rows('saved')).length, 1 + 131);
  const traffic = await rows('traffic');
  assert.deepEqual(traffic[0], ['from node', 'to node 0', 'to node 1']);
  const before = await rows('rank-loads');
  assert.equal(before.length, 1 + 16);
  assert.equal(before[0]!.at(-1), 'tokens without balancing');
  await setRange('layer', 11);
  const now = await page.locator('#rank-loads-figures td').allTextContents();
  assert.notDeepEqual(
    now,
    before.slice(1).flatMap((row) => row.slice(1)),
  );
  assert.deepEqual(await page.locator('[role="img"]:not([aria-label])').count(), 0);
});

test('moves are listed plan by plan, and counted from node to node', { skip }, async () => {
  const { page } = await open();
  const { plans } = recorded.replays[1]!;
  const moving = plans.filter(({ moves }) => moves > 0);
  const rows = () =>
    page
      .locator('#moves-list tbody tr')
      .evaluateAll((found) => found.map((row) => [...row.children].map((cell) => cell.textContent)));
  const cells = () => page.locator('#traffic svg text[text-anchor="middle"]').allTextContents();
  const sum = moving.reduce((all, { moves }) => all + moves, 0);
  assert.match(
    (await textOf('moves-finding'))!,
    new RegExp(`moves ${sum.toLocaleString('en-US')} experts in`),
  );
  await page.locator('#plan').selectOption('1');
  await drawn(page);
  const { moved, startedAfterStep, moves } = moving[1]!;
  const between = moved.nodeMoves[0]![1]! + moved.nodeMoves[1]![0]!;
  assert.match(
    (await textOf('moves-finding'))!,
    new RegExp(`^After step ${startedAfterStep} default moves ${moves.toLocaleString('en-US')} experts, `),
  );
  assert.ok((await textOf('moves-finding'))!.includes(`, ${between} of them`));
  const listed = await rows();
  assert.deepEqual(listed[0], [
    ...[startedAfterStep, moved.layers[0]!, moved.experts[0]!].map(String),
    listed[0]![3],
    ...[moved.fromRanks[0]!, moved.toRanks[0]!].map(String),
    Math.floor(moved.fromRanks[0]! / 8) === Math.floor(moved.toRanks[0]! / 8)
      ? 'the same node'
      : 'another node',
  ]);
  assert.equal(listed.length, 256);
  const shown = await cells();
  const short = (count: number) =>
    count < 1000 ? String(count) : `${Number((count / 1000).toPrecision(2))}k`;
  for (const count of moved.nodeMoves.flat()) assert.ok(shown.includes(short(count)), `${count}: ${shown}`);
  await page.locator('#plan').selectOption('');
});

test('the hottest experts and ranks are ranked', { skip }, async () => {
  const { page } = await open();
  const rows = (id: string) =>
    page
      .locator(`#${id} tbody tr`)
      .evaluateAll((found) => found.map((row) => [...row.children].map((cell) => cell.textContent)));
  const { hotExperts, heatMap } = recorded.replays[1]!;
  const [hottest] = hotExperts;
  assert.deepEqual((await rows('hottest-experts'))[0], [
    ...['1', String(hottest!.layer), String(hottest!.expert), hottest!.timesMean.toFixed(2)],
    ...[String(hottest!.ranks.length), hottest!.ranks.join(', ')],
  ]);
  const highest = Math.max(...heatMap.p95After.flat());
  const ranks = await rows('hottest-ranks');
  assert.equal(ranks.length, 10);
  assert.equal(ranks[0]![3], highest.toFixed(2));
  const [, layer, rank] = ranks[0]!.map(Number);
  assert.equal(heatMap.p95After[layer!]![rank!]!.toFixed(2), highest.toFixed(2));
});

test("a chart's figures are saved as CSV, and its picture as PNG", { skip }, async () => {
  const { page, complaints, requests } = await open();
  await hurry(page);
  const { name, bytes } = await saved('over-time: save the figures as CSV');
  assert.equal(name, 'over-time.csv');
  const lines = bytes.toString('utf8').split('\r\n');
  assert.equal(lines[0], '\uFEFFstep,static,default');
  assert.equal(lines.length, 1 + 131 + 1);
  const [step, none, one] = lines[8]!.split(',').map(Number);
  assert.equal(step, 7);
  recorded.replays.forEach(({ series }, i) => {
    assert.ok(Math.abs([none!, one!][i]! - series.balancedness.mean[7]!) < 1e-4);
  });
  const costs = (await saved('costs: save the figures as CSV')).bytes.toString('utf8').split('\r\n');
  assert.match(costs[0]!, /moving weights \(s\),planning \(s\),modelled time \(s\),slots moved$/);
  for (const id of ['over-time', 'heat-after', 'costs']) {
    const picture = await saved(`${id}: save the picture as PNG`);
    assert.equal(picture.name, `${id}.png`);
    const read = await page.evaluate(async (base64) => {
      const data = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      const image = await createImageBitmap(new Blob([data], { type: 'image/png' }));
      // A fourth of the size is enough to see that it is not an empty picture.
      const [width, height] = [Math.floor(image.width / 4), Math.floor(image.height / 4)];
      const context = new OffscreenCanvas(width, height).getContext('2d')!;
      context.drawImage(image, 0, 0, width, height);
      const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
      return { width: image.width, colours: new Set(pixels).size };
    }, picture.bytes.toString('base64'));
    const width = (await page.locator(`#${id}`).boundingBox())!.width;
    assert.ok(Math.abs(read.width - 2 * (width + 32)) <= 4, `${id}: ${read.width} pixels of ${width}`);
    assert.ok(read.colours > 50, `${id}: ${read.colours} colours`);
  }
  await drawn(page);
  assert.deepEqual(complaints, []);
  assert.deepEqual(requests, ['/report.html']);
});

test('the address keeps policy, layer, step and zoom, and gives them back', { skip }, async () => {
  const { page, complaints } = await open();
  await setRange('layer', 17);
  await page.locator('#over-time').scrollIntoViewIfNeeded();
  await page.locator('#zoom-from').fill('30');
  await page.locator('#zoom-to').fill('90');
  await page.keyboard.press('Tab');
  const step = Number(await textOf('step-value'));
  const wanted = `#policy=default&layer=17&step=${step}&steps=30-90`;
  await page.waitForFunction((hash) => location.hash === hash, wanted);
  assert.equal(await page.locator('#link').getAttribute('href'), wanted);
  const finding = await textOf('rank-finding');

  const { origin } = new URL(page.url());
  await page.goto('about:blank');
  await page.goto(`${origin}/report.html${wanted}`);
  assert.equal(await textOf('rank-finding'), finding);
  assert.equal(await page.locator('#zoom-to').inputValue(), '90');
  // The choice is in sight.
  const topOf = (id: string) =>
    page.locator(`#${id}`).evaluate((heading) => heading.getBoundingClientRect().top);
  const top = await topOf('look-heading');
  assert.ok(top >= 0 && top < 300, `${top}`);
  // In an open page too; and what makes no sense is passed over.
  await page.evaluate(() => {
    location.hash = '#policy=static&layer=2&step=x';
  });
  await page.waitForFunction(() => document.querySelector('#layer-value')!.textContent === '2');
  assert.match((await textOf('rank-finding'))!, / with static$/);
  await page.evaluate(() => {
    location.hash = '#policy=nobody&layer=-1&layer=1e9&steps=5';
  });
  await page.locator('.contents a', { hasText: 'Configuration' }).click();
  assert.equal(await textOf('layer-value'), '2');
  assert.ok((await topOf('configuration-heading')) < 900);
  assert.deepEqual(complaints, []);
});
