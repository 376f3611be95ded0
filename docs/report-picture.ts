/**
 * Takes the README's pictures of a report, in light and in dark:
 * `npx tsx docs/report-picture.ts report.html`, where `eplb compare` wrote `report.html` with the options
 * that the README gives. Needs Chromium, as the tests of reports do.
 */
import { writeFile } from 'node:fs/promises';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import { startChromium } from '../test/helpers/chromium.ts';
import { indexedPng } from './indexed-png.ts';
import { pixelsOf } from './screenshot.ts';

const WIDTH = 1200;
/** Space above and below, in pixels, as at the sides. */
const MARGIN = 16;

/** The pictures: from the top of one element to the bottom of another. */
const PICTURES = {
  summary: ['header', 'figure:has(#over-time)'],
  ranks: ['#look-heading', 'figure:has(#rank-loads)'],
} as const;

const [report] = process.argv.slice(2);
if (report === undefined) throw new Error('give the path of a report');
const browser = await startChromium();
try {
  for (const colorScheme of ['light', 'dark'] as const) await takePictures(browser, report, colorScheme);
} finally {
  await browser.close();
}

async function takePictures(browser: Browser, report: string, colorScheme: 'light' | 'dark'): Promise<void> {
  // So high that nothing scrolls.
  const page = await browser.newPage({ viewport: { width: WIDTH, height: 5000 }, colorScheme });
  await page.goto(pathToFileURL(report).href);
  const blank = await browser.newPage();
  for (const [name, [from, to]] of Object.entries(PICTURES)) {
    const top = (await page.locator(from).boundingBox())!.y - MARGIN;
    const bottom = (await page.locator(to).boundingBox())!;
    const height = bottom.y + bottom.height + MARGIN - top;
    const png = await page.screenshot({ clip: { x: 0, y: Math.max(top, 0), width: WIDTH, height } });
    const path = fileURLToPath(new URL(`report-${name}-${colorScheme}.png`, import.meta.url));
    await writeFile(path, indexedPng(await pixelsOf(blank, png)));
  }
}
