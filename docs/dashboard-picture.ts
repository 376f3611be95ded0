/**
 * Takes the pictures of the dashboard, in light and in dark: `npx tsx docs/dashboard-picture.ts`. A service
 * gets the recording that ships, a step a second, so that it takes a minute. Needs Chromium and a build.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openRecording } from 'expert-load-balancer/formats';
import { startService } from 'expert-load-balancer/serve';
import { startChromium } from '../test/helpers/chromium.ts';
import { RECORDING } from '../test/helpers/cli.ts';
import { indexedPng } from './indexed-png.ts';
import { pixelsOf } from './screenshot.ts';

const WIDTH = 1200;
const STEPS = 48;
/** After these the engine asks for a plan. */
const PLANS = [12, 30];
/** The loads of a batch of many tokens are those of a few, so many times. */
const TIMES = 100;

const SIZES = { numLayers: 26, numLogicalExperts: 64, numPhysicalExperts: 80, numRanks: 16, numNodes: 2 };

const running = await startService({ listen: '127.0.0.1:0' });
const browser = await startChromium();
try {
  await serveRecording(running.address);
  for (const colorScheme of ['light', 'dark'] as const) {
    const page = await browser.newPage({ viewport: { width: WIDTH, height: 3000 }, colorScheme });
    await page.goto(`${running.address}/#group=decode`);
    await page.locator('#balance-chart svg text').first().waitFor();
    // Until the charts are as wide as the page.
    await pause(1000);
    const { y, height } = (await page.locator('#time-shown figure').first().boundingBox())!;
    const png = await page.screenshot({ clip: { x: 0, y: 0, width: WIDTH, height: y + height } });
    const path = fileURLToPath(new URL(`dashboard-${colorScheme}.png`, import.meta.url));
    await writeFile(path, indexedPng(await pixelsOf(await browser.newPage(), png)));
  }
} finally {
  await browser.close();
  await running.close();
}

/** Reports loads as an engine does, and goes live with the plans that it asks for. */
async function serveRecording(address: string): Promise<void> {
  const ask = async (method: string, path: string, body: object) => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${address}/v1/groups/decode${path}`, {
      ...{ method, headers },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(await response.text());
    return (await response.json()) as { status: string; digest: string };
  };
  await ask('PUT', '', { ...SIZES, policy: 'adaptive', cost: 'h200:deepseek-v3', windowSize: 12 });
  const recording = await openRecording(RECORDING, { numExperts: 64, tokensPerStep: 64 });
  let step = 0;
  let epoch = 0;
  for await (const { loads } of recording.steps()) {
    step++;
    const whole = Array.from({ length: SIZES.numLayers }, (_, layer) =>
      Array.from(loads.slice(64 * layer, 64 * (layer + 1)), (load) => TIMES * load),
    );
    await ask('POST', '/loads', { step, epoch, loads: whole });
    if (PLANS.includes(step)) {
      const { status, digest } = await ask('POST', '/plan', { planId: step });
      if (status === 'planned') await ask('POST', '/loads', { epoch: ++epoch, digest });
    }
    if (step === STEPS) break;
    await pause(1050);
  }
  await recording.close();
}
