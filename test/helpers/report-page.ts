import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after } from 'node:test';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';

/** The windows that pages are looked at in. */
export const WIDE = { viewport: { width: 1400, height: 900 } };
export const NARROW = { viewport: { width: 360, height: 740 } };

/** Waits until charts are drawn again after a change: they are with the next frame. */
export async function drawn(page: Page): Promise<void> {
  await page.evaluate(
    () => new Promise<void>((done) => requestAnimationFrame(() => requestAnimationFrame(() => done()))),
  );
}

/** A page that is open, and what happened on it. */
export interface OpenPage {
  readonly page: Page;
  /** Errors of scripts, and all that the console got: refusals of the content policy are among it. */
  readonly complaints: readonly string[];
  /** What was asked of the server, the page itself first. */
  readonly requests: readonly string[];
  /** What the page tried to load from anywhere. */
  readonly loads: readonly string[];
}

/** Opens a page from a server of its own, as a browser opens any other, and closes both afterwards. */
export async function withPage(
  browser: Browser,
  markup: string,
  options: BrowserContextOptions,
  work: (open: OpenPage) => Promise<void>,
): Promise<void> {
  const { close, ...open } = await openPage(browser, markup, options);
  try {
    await work(open);
  } finally {
    await close();
  }
}

/**
 * One page for several tests of a file, that look at it or choose in it: opening it takes longer than most of
 * them. What a test chooses stays for the next.
 */
export function pageForTests(
  browser: () => Browser,
  markup: string,
  options: BrowserContextOptions,
): () => Promise<OpenPage> {
  let opened: ReturnType<typeof openPage> | undefined;
  after(async () => (await opened)?.close());
  return () => {
    opened ??= openPage(browser(), markup, options);
    return opened;
  };
}

async function openPage(
  browser: Browser,
  markup: string,
  options: BrowserContextOptions,
): Promise<OpenPage & { readonly close: () => Promise<void> }> {
  const requests: string[] = [];
  const server = createServer(({ url = '' }, response) => {
    requests.push(url);
    response.setHeader('content-type', 'text/html');
    response.end(markup);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const context = await browser.newContext(options);
  const close = async () => {
    await context.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  const page = await context.newPage();
  const complaints: string[] = [];
  const loads: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error.stack)));
  page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => loads.push(request.url()));
  const { port } = server.address() as AddressInfo;
  await page.goto(`http://127.0.0.1:${port}/report.html`);
  return { page, complaints, requests, loads, close };
}

/** What an opened page has to be. */
export async function checkOpened({ page, complaints, requests, loads }: OpenPage): Promise<void> {
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

/** A line of a chart: its corners, in the chart's pixels. */
type DrawnLine = readonly (readonly [x: number, y: number])[];

/**
 * The lines that a chart drew in a colour of the page's style sheet, such as `--series-0`; the longest first.
 */
export async function drawnLines(page: Page, chart: string, colour: string): Promise<DrawnLine[]> {
  const paths = await page.locator(`${chart} svg path[fill="none"]`).evaluateAll((found, name) => {
    const wanted = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    return found.flatMap((path) =>
      path.getAttribute('stroke') === wanted ? [path.getAttribute('d') ?? ''] : [],
    );
  }, colour);
  return paths
    .map((path) =>
      [...path.matchAll(/[ML](-?[\d.]+) (-?[\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)] as const),
    )
    .sort((a, b) => b.length - a.length);
}

/**
 * Turns a height in a chart of balancedness, in its pixels, into the value there, by the labels beside the
 * axis.
 */
export async function valueScale(page: Page, chart: string): Promise<(y: number) => number> {
  const labels = await page.locator(`${chart} svg text[text-anchor="end"]`).evaluateAll((found) =>
    found.map((text) => ({
      value: Number(text.textContent),
      y: Number(/,? ?(-?[\d.]+)\)$/.exec(text.getAttribute('transform') ?? '')?.[1]),
    })),
  );
  const numbers = labels.filter(({ value, y }) => Number.isFinite(value) && Number.isFinite(y));
  const top = numbers.reduce((a, b) => (b.y < a.y ? b : a));
  const bottom = numbers.reduce((a, b) => (b.y > a.y ? b : a));
  return (y) => bottom.value + ((y - bottom.y) / (top.y - bottom.y)) * (top.value - bottom.value);
}

/** Texts of the page's SVG charts that overlap each other or stand out of their chart. */
export function badlyPlacedTexts(page: Page): Promise<string[]> {
  return page.locator('.chart').evaluateAll((charts) =>
    charts.flatMap((chart) => {
      const frame = chart.getBoundingClientRect();
      const texts = [...chart.querySelectorAll('svg text')].map((text) => ({
        name: `${chart.id} "${text.textContent}"`,
        box: text.getBoundingClientRect(),
      }));
      const outside = texts
        .filter(
          ({ box }) =>
            box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1,
        )
        .map(({ name }) => `${name} is cut`);
      const overlapping = texts.flatMap(({ name, box }, i) =>
        texts
          .slice(i + 1)
          .filter(
            (other) =>
              box.left < other.box.right - 1 &&
              other.box.left < box.right - 1 &&
              box.top < other.box.bottom - 3 &&
              other.box.top < box.bottom - 3,
          )
          .map((other) => `${name} overlaps ${other.name}`),
      );
      return [...outside, ...overlapping];
    }),
  );
}
