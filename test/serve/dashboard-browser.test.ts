/** The dashboard in a browser: what it shows of groups that live, and how. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { chromiumForTests, skipWithoutChromium } from '../helpers/chromium.ts';
import { badlyPlacedTexts, drawnLines, NARROW, WIDE } from '../helpers/report-page.ts';
import { ask, serve } from '../helpers/service.ts';

const skip = skipWithoutChromium;
const browser = chromiumForTests();

const SIZES = { numLayers: 3, numLogicalExperts: 8, numPhysicalExperts: 12, numRanks: 4, windowSize: 4 };
const LOADS = [
  [9000, 1000, 4000, 2000, 100, 200, 300, 400],
  [1000, 2000, 3000, 40_000, 100, 200, 300, 400],
  [5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000],
];

/** The watchdog's clock, in milliseconds. */
let watchMs = 0;
const running = await serve.startService({ listen: '127.0.0.1:0' }, { clock: () => watchMs });
after(() => running.close());
const base = running.address;
const put = (name: string, more = {}) => ask(base, 'PUT', `/v1/groups/${name}`, { ...SIZES, ...more });
const post = (path: string, body?: unknown) => ask(base, 'POST', `/v1/groups/${path}`, body);

interface Opened {
  readonly page: Page;
  /** Errors of scripts, and all that the console got: refusals of the content policy are among it. */
  readonly complaints: readonly string[];
  readonly loads: readonly string[];
}

/** Opens the dashboard, and closes it afterwards. */
async function withDashboard(
  address: string,
  options: BrowserContextOptions,
  work: (open: Opened) => Promise<void>,
): Promise<void> {
  const context = await browser().newContext(options);
  try {
    const page = await context.newPage();
    const complaints: string[] = [];
    const loads: string[] = [];
    page.on('pageerror', (error) => complaints.push(String(error.stack)));
    page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on('request', (request) => loads.push(request.url()));
    await page.goto(address);
    await work({ page, complaints, loads });
  } finally {
    await context.close();
  }
}

/** Waits for a text. */
async function shows(page: Page, selector: string, text: string | RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: text, visible: true }).first().waitFor();
}

test('groups are listed, and one of them is watched live: loads, a plan that goes live, what is flagged', {
  skip,
}, async () => {
  await put('decode', { policy: 'adaptive', cost: 'h200:deepseek-v3' });
  await put('<b>odd</b>'.replaceAll(/[<>/]/g, '.').replace(/^\.+/, ''));
  await withDashboard(base, { ...WIDE, colorScheme: 'light' }, async ({ page, complaints, loads }) => {
    await shows(page, '#groups-finding', '2 groups, nothing is flagged');
    await page.getByRole('link', { name: 'decode' }).click();
    await shows(page, '#group-finding', 'No loads yet');
    await shows(page, '#ranks-finding', 'Nothing to show: no rank has reported loads');
    await shows(page, '#live-finding', 'None since the service started: ranks serve epoch 0');
    await shows(page, '#plans-finding', 'Nobody has asked for one');
    assert.equal(await page.locator('#rank-map').isVisible(), false);

    await post('decode/loads', { step: 1, epoch: 0, loads: LOADS });
    await shows(page, '#ranks-finding', /^.*Rank 3 has \d\.\d\d times the mean in layer 1, in step 1/);
    await shows(page, '#group-finding', /^Balancedness 0\.\d{4}: a step waits for \d\.\d\d times the mean/);
    assert.equal(await page.locator('#rank-map').isVisible(), true);
    await page.locator('#balance-chart svg').waitFor();

    const { digest, moves } = (await post('decode/plan', { loads: LOADS })).json;
    await shows(page, '#plans-table td', 'planned');
    await post('decode/loads', { step: 2, epoch: 1, digest, loads: LOADS });
    await shows(
      page,
      '#live-finding',
      /Epoch 1: balancedness went from 0\.\d+ to 0\.\d+ in 1 measured step; /,
    );
    const row = page.locator('#live-table tbody tr');
    const [epoch, , moved, , predicted, realised] = await row.locator('th, td').allTextContents();
    assert.deepEqual([epoch, moved, realised], ['1', String(moves), predicted]);
    await shows(page, '#tiles div:has-text("Epoch")', '1');
    // It is drawn where it went live, on both charts; and the history as a line.
    for (const chart of ['#balance-chart', '#lost-chart']) {
      await page.waitForFunction(
        (id) => document.querySelectorAll(`${id} svg path[stroke-dasharray="4,3"]`).length > 0,
        chart,
      );
    }
    assert.ok((await drawnLines(page, '#balance-chart', '--series-0')).length > 0);

    // Two intervals without loads.
    watchMs += 600_000;
    await shows(page, '#watchdog li.bad', 'flagged LoadsArrive: no loads for');
    await shows(page, '#watchdog-finding', '1 cause flagged');
    await post('decode/pause');
    await shows(page, '#group-notice', 'Paused: every plan is kept');
    await page.getByRole('link', { name: 'All groups' }).click();
    await shows(page, '#groups-table tr:has-text("decode") td', /flagged: LoadsArrive; paused/);
    await post('decode/loads', { step: 3, epoch: 1, loads: LOADS });
    await shows(page, '#groups-table tr:has-text("decode") td', /^paused$/);
    await ask(base, 'DELETE', '/v1/groups/decode');
    await shows(page, '#groups-finding', '1 group,');

    assert.deepEqual(complaints, []);
    assert.deepEqual(
      loads.filter((url) => !url.startsWith(`${base}/`) && !url.startsWith('data:')),
      [],
      'nothing of another origin',
    );
    watchMs = 0;
  });
});

test('cells of the map have the colours of what ranks did', { skip }, async () => {
  await put('map');
  // Of each layer one expert has it all, which lies on another rank each time.
  const loads = [0, 3, 6].map((hot) => SIZES_ROW.map((_, expert) => (expert === hot ? 1000 : 0)));
  await post('map/loads', { step: 1, epoch: 0, loads });
  const ranks = (await ask(base, 'GET', '/v1/groups/map/rank-loads')).json;
  await withDashboard(`${base}/#group=map`, WIDE, async ({ page, complaints }) => {
    await shows(page, '#ranks-finding', 'times the mean');
    // A pixel a cell: 4 ranks, a gap, and the column beside it.
    const warmth = await page.waitForFunction(() => {
      const canvas = document.querySelector<HTMLCanvasElement>('#rank-map canvas')!;
      if (canvas.hidden || canvas.width !== 6 || canvas.height !== 3) return undefined;
      const { data } = canvas.getContext('2d', { willReadFrequently: true })!.getImageData(0, 0, 6, 3);
      return Array.from({ length: 18 }, (_, i) => data[4 * i]! - data[4 * i + 2]!);
    });
    const cells = (await warmth.jsonValue()) as number[];
    for (const [layer, row] of (ranks.loads as number[][]).entries()) {
      const shares = row.map((load) => load / ranks.means[layer]);
      for (const [rank, share] of [...shares, 1, Math.max(...shares)].entries()) {
        assert.equal(cells[6 * layer + rank]! > 0, share > 1, `layer ${layer}, rank ${rank}: ${share}`);
      }
    }
    // Over it a cell says what it is; it is drawn in line with the axes.
    const { width, height } = (await page.locator('#rank-map canvas').boundingBox())!;
    const [x, y] = [(1.5 / 6) * width, (2.5 / 3) * height];
    await page.locator('#rank-map canvas').hover({ position: { x, y } });
    await shows(page, '#rank-map .cell-tip', /layer 2, rank 1load/);
    const label = page.locator('#rank-map svg text', { hasText: /^1$/ }).last();
    const [at, own] = [(await label.boundingBox())!, (await page.locator('#rank-map canvas').boundingBox())!];
    assert.ok(Math.abs(at.x + at.width / 2 - own.x - x) < 2);
    await page.locator('summary', { hasText: 'hottest' }).click();
    assert.ok((await page.locator('#hottest tbody tr').count()) >= 3);
    assert.deepEqual(complaints, []);
  });
});

const SIZES_ROW = Array.from({ length: SIZES.numLogicalExperts }, () => 0);

for (const colorScheme of ['light', 'dark'] as const) {
  test(`in ${colorScheme}, in a narrow window nothing is cut and nothing scrolls sideways`, {
    skip,
  }, async () => {
    const name = `narrow-${colorScheme}`;
    await put(name, { policy: 'adaptive', cost: 'h200:deepseek-v3' });
    await post(`${name}/loads`, { step: 1, epoch: 0, loads: LOADS });
    const { digest } = (await post(`${name}/plan`, { loads: LOADS })).json;
    await post(`${name}/loads`, { step: 2, epoch: 1, digest, loads: LOADS });
    const options = { ...NARROW, colorScheme };
    await withDashboard(`${base}/#group=${name}`, options, async ({ page, complaints }) => {
      await shows(page, '#live-table td', '→');
      await page.locator('#lost-chart svg text').first().waitFor();
      const width = () => page.evaluate(() => document.documentElement.scrollWidth);
      assert.equal(await width(), 360);
      assert.deepEqual(await badlyPlacedTexts(page), []);
      const surface = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(surface, colorScheme === 'light' ? 'rgb(255, 255, 255)' : 'rgb(18, 22, 28)');
      await page.goto(`${base}/#`);
      await shows(page, '#groups-finding', 'group');
      assert.equal(await width(), 360);
      assert.deepEqual(complaints, []);
    });
  });
}

test('everything is reached by keyboard, and keeps the focus while figures change', { skip }, async () => {
  await put('keys');
  await post('keys/loads', { step: 1, epoch: 0, loads: LOADS });
  await post('keys/plan', { loads: LOADS });
  await withDashboard(base, WIDE, async ({ page, complaints }) => {
    await shows(page, '#groups-table a', 'keys');
    const focused = () =>
      page.evaluate(() => {
        const { activeElement: at } = document;
        return at?.getAttribute('aria-label') ?? at?.getAttribute('name') ?? at?.textContent ?? '';
      });
    const tabTo = async (wanted: string) => {
      for (let tabs = 0; tabs < 40; tabs++) {
        await page.keyboard.press('Tab');
        if ((await focused()) === wanted) return;
      }
      assert.fail(`no tab gets to ${wanted}`);
    };
    await tabTo('All groups');
    await tabTo('keys');
    await post('keys/loads', { step: 2, epoch: 0, loads: LOADS.map((row) => [...row].reverse()) });
    await post('keys/pause');
    await shows(page, '#groups-table td', 'paused');
    assert.equal(await focused(), 'keys');
    await page.keyboard.press('Enter');
    await shows(page, '#group-name', 'keys');
    await tabTo('The hottest cells');
    await page.keyboard.press('Enter');
    await shows(page, '#hottest th', 'layer');
    await tabTo('span');
    await page.keyboard.press('ArrowRight');
    assert.equal(await page.locator('input[value="hours"]').isChecked(), true);
    await tabTo('Figures of these charts');
    await page.keyboard.press('Enter');
    await shows(page, '#time-figures th', 'balancedness');
    await tabTo('Plans');
    // Pictures have texts.
    const texts = await page
      .locator('[role="img"]')
      .evaluateAll((all) => all.map((one) => one.getAttribute('aria-label')));
    assert.match(texts[0]!, /^Rank loads now, 3 x 4 cells .* The highest is \d\.\d\d times its layer's mean/);
    assert.match(texts[1]!, /^Balancedness over time: \d+ points?, from /);
    assert.deepEqual(complaints, []);
  });
});

test('a stream that is cut comes back by itself, and goes on', { skip }, async () => {
  await put('again');
  await withDashboard(`${base}/#group=again`, WIDE, async ({ page }) => {
    await shows(page, '#connection', 'live');
    await page.context().setOffline(true);
    await page.evaluate(() => {
      // Offline ends no connection that is there: what hides a tab does.
      Object.defineProperty(document, 'hidden', { value: true, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
      Object.defineProperty(document, 'hidden', { value: false });
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await shows(page, '#connection', 'not connected: the service does not answer');
    await post('again/loads', { step: 7, epoch: 0, loads: LOADS });
    await page.context().setOffline(false);
    await shows(page, '#ranks-finding', 'in step 7');
    await shows(page, '#connection', 'live');
    await ask(base, 'DELETE', '/v1/groups/again');
    await shows(page, '#refused', "there is no group 'again'");
    await page.locator('#refused a').click();
    await shows(page, '#groups-finding', 'group');
  });
});

test('where there is a token it is asked for, kept in the tab, and sent to the service alone', {
  skip,
}, async () => {
  const token = 'a-token-of-some-length';
  const authorization = `Bearer ${token}`;
  const guarded = await serve.startService({ listen: '127.0.0.1:0', token });
  try {
    const own = guarded.address;
    for (const name of ['mine', 'yours']) {
      await ask(own, 'PUT', `/v1/groups/${name}`, SIZES, { authorization });
    }
    const path = '/v1/groups/mine/token';
    const ofGroup = (await ask(own, 'GET', path, undefined, { authorization })).json.token;
    await withDashboard(own, NARROW, async ({ page, loads }) => {
      const enter = async (text: string, group = '') => {
        await page.getByLabel('Token', { exact: true }).fill(text);
        await page.locator('#token-group').fill(group);
        await page.keyboard.press('Enter');
      };
      await page.locator('#token-form').waitFor();
      assert.equal(await page.locator('#groups').isVisible(), false);
      assert.equal(await page.locator('#token').getAttribute('type'), 'password');
      await enter('not-the-token-at-all');
      await shows(page, '#refused', 'the token is missing or wrong');
      await enter(token);
      await shows(page, '#groups-finding', '2 groups');
      assert.equal(await page.locator('#token-form').isVisible(), false);
      await page.reload();
      await shows(page, '#groups-finding', '2 groups');
      const kept = await page.evaluate(() => [localStorage.length, document.cookie, location.href]);
      assert.deepEqual(kept, [0, '', `${own}/`]);
      assert.ok(loads.every((url) => !url.includes(token)));

      await page.locator('#forget').click();
      await page.locator('#token-form').waitFor();
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
      // The token of a group shows that group.
      await enter(ofGroup, 'mine');
      await shows(page, '#group-name', 'mine');
      await page.getByRole('link', { name: 'All groups' }).click();
      await shows(page, '#refused', 'the token is missing or wrong');
      await page.goto(`${own}/#group=yours`);
      await shows(page, '#refused', 'the token is missing or wrong');
    });
  } finally {
    await guarded.close();
  }
});

test('what gets into the page runs nothing and reaches no other origin', { skip }, async () => {
  await withDashboard(base, WIDE, async ({ page, complaints }) => {
    await shows(page, '#groups-finding', /group|None/);
    await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'document.title = "run"';
      document.body.append(script);
      document.body.insertAdjacentHTML('beforeend', '<p style="color: red" onclick="x()">x</p>');
      const image = document.createElement('img');
      image.src = 'http://127.0.0.2:9/picture.png';
      document.body.append(image);
      return fetch('http://127.0.0.2:9/').catch(() => undefined);
    });
    assert.notEqual(await page.title(), 'run');
    for (const directive of ['script-src', 'style-src', 'img-src', 'connect-src']) {
      assert.ok(
        complaints.some((text) => text.includes(directive)),
        `${directive}: ${complaints.join('\n')}`,
      );
    }
  });
});
