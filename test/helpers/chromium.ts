import { existsSync } from 'node:fs';
import process from 'node:process';
import { after, before } from 'node:test';
import { type Browser, chromium } from 'playwright-core';

const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/**
 * Why browser tests are skipped; false when they run. Users need no browser: only where `NEED_CHROMIUM` is
 * set, as in `.ci/run`, they run in any case, and fail without one.
 */
export const skipWithoutChromium: string | false =
  existsSync(PROGRAM) || process.env.NEED_CHROMIUM === '1'
    ? false
    : `no Chromium at ${PROGRAM}: install Debian's package chromium, or set CHROMIUM to another's path`;

/** Starts Chromium, with a new profile that is removed when it ends. */
export function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: PROGRAM,
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ],
  });
}

/** Starts a browser before the tests of a file, if they are not skipped, and closes it after them. */
export function chromiumForTests(): () => Browser {
  let browser: Browser | undefined;
  before(async () => {
    if (skipWithoutChromium === false) browser = await startChromium();
  });
  after(() => browser?.close());
  return () => browser!;
}
