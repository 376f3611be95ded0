import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { reportPage } from '../../src/report/page.ts';
import { chromiumForTests, skipWithoutChromium } from '../helpers/chromium.ts';
import { exampleReport } from '../helpers/replay-report.ts';
import { builtAssets, recordedReport } from '../helpers/report.ts';
import { badlyPlacedTexts, checkOpened, NARROW, WIDE, withPage } from '../helpers/report-page.ts';

const assets = await builtAssets();
const recorded = await recordedReport();
const recordedPage = reportPage(recorded, assets);
const skip = skipWithoutChromium;
const browser = chromiumForTests();

const LONG = ['static', 'default', 'adaptive', './policies/of-a-long-name/round-robin.js'];
const LARGE = { numSteps: 20_000, numLayers: 58, numRanks: 64, policies: LONG, withSweep: true };

/** Nothing is cut where the window is so wide. */
async function checkTexts(page: Page, width: number): Promise<void> {
  assert.deepEqual(await badlyPlacedTexts(page), []);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
}

/** Gives a page another window, and waits until its charts are as wide. */
async function resize(page: Page, { viewport }: typeof WIDE): Promise<void> {
  await page.setViewportSize(viewport);
  await page.waitForFunction((width) => {
    const chart = document.querySelector('#over-time')!;
    return chart.clientWidth < width && chart.querySelector('svg')!.clientWidth === chart.clientWidth;
  }, viewport.width);
}

test('no text of a chart is cut or overlaps another, in a narrow window and when it gets wider', {
  skip,
}, async () => {
  await withPage(browser(), recordedPage, NARROW, async ({ page }) => {
    await checkTexts(page, NARROW.viewport.width);
    await resize(page, WIDE);
    await checkTexts(page, WIDE.viewport.width);
    // It is noticed when one is put over another.
    await page.locator('#over-time svg').evaluate((svg) => {
      const [first, second] = svg.querySelectorAll('text[text-anchor="end"]');
      first!.setAttribute('transform', second!.getAttribute('transform')!);
    });
    assert.equal((await badlyPlacedTexts(page)).length, 1);
  });
});

test('nor of a large report, in a wide window and when it gets narrower', { skip }, async () => {
  await withPage(browser(), reportPage(exampleReport(LARGE), assets), WIDE, async ({ page, complaints }) => {
    await checkTexts(page, WIDE.viewport.width);
    await resize(page, NARROW);
    await checkTexts(page, NARROW.viewport.width);
    assert.deepEqual(complaints, []);
  });
});

test('a dark page opens as a light one does; on paper it is light, as wide as paper, and without controls', {
  skip,
}, async () => {
  await withPage(browser(), recordedPage, { ...WIDE, colorScheme: 'dark' }, async (open) => {
    const { page, complaints } = open;
    await checkOpened(open);
    const ink = () => page.locator('#over-time svg text').first().getAttribute('fill');
    assert.equal(await ink(), '#a3adb8');
    await page.emulateMedia({ media: 'print' });
    await page.waitForFunction(() => document.querySelector('#over-time svg')!.clientWidth === 660);
    assert.equal(await ink(), '#57606a');
    assert.equal(await page.locator('.controls').isVisible(), false);
    const maps = await page.locator('.printed').evaluateAll((canvases: HTMLCanvasElement[]) =>
      canvases.map((canvas) => {
        const { width, height, clientWidth } = canvas;
        const pixels = canvas.getContext('2d')!.getImageData(0, 0, width, height).data;
        const colours = new Set<number>();
        for (let i = 0; i < pixels.length; i += 4)
          colours.add((pixels[i]! << 16) | (pixels[i + 1]! << 8) | pixels[i + 2]!);
        return { clientWidth, isDrawn: colours.size > 50 };
      }),
    );
    assert.deepEqual(maps, [
      { clientWidth: 318, isDrawn: true },
      { clientWidth: 318, isDrawn: true },
    ]);
    assert.equal(await page.locator('#heat-before > div').first().isVisible(), false);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 1400);
    assert.equal(
      await page.evaluate(() => getComputedStyle(document.body).backgroundColor),
      'rgb(255, 255, 255)',
    );
    await page.emulateMedia({ media: 'screen' });
    await page.waitForFunction(() => document.querySelector('#over-time svg')!.clientWidth > 1000);
    assert.equal(await ink(), '#a3adb8');
    assert.equal(await page.locator('.printed').count(), 0);
    assert.ok((await page.pdf()).byteLength > 10_000);
    assert.deepEqual(complaints, []);
  });
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`colours are far enough from the background in ${colorScheme}`, { skip }, async () => {
    // The style sheet alone is all that this is about.
    await withPage(browser(), `<style>${assets.style}</style>`, { colorScheme }, async ({ page }) => {
      const colours = await page.evaluate(() => {
        const style = getComputedStyle(document.documentElement);
        const series = Array.from({ length: 8 }, (_, i) => `series-${i}`);
        const names = [
          'surface',
          'ink',
          'muted',
          'accent',
          'baseline',
          'diverging-3',
          'diverging-4',
          ...series,
        ];
        return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
      });
      const { surface, ink, muted, ...others } = colours as Record<string, string>;
      const { 'diverging-3': fewest, 'diverging-4': most, ...marks } = others;
      // Counts stand on cells from one to the other.
      for (const cell of [fewest, most]) {
        assert.ok(contrast(ink!, cell!) >= 4.5, `ink on ${cell}: ${contrast(ink!, cell!)}`);
      }
      for (const [name, colour] of Object.entries({ ink, muted })) {
        assert.ok(contrast(colour!, surface!) >= 4.5, `${name}: ${contrast(colour!, surface!)}`);
      }
      for (const [name, colour] of Object.entries(marks)) {
        assert.ok(contrast(colour, surface!) >= 3, `${name}: ${contrast(colour, surface!)}`);
      }
    });
  });
}

/** Contrast of two colours as WCAG defines it, 1 to 21. */
function contrast(a: string, b: string): number {
  const luminance = (colour: string) => {
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const channel = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}
