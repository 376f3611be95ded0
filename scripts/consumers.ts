/**
 * Has the package, as it is packed, used as its users do: `npm run test:consumers` for what CI has the time
 * for, `npm run test:consumers:long` for all the others. `-- NAME` runs those of a name. A consumer whose
 * tool cannot be had is skipped, and that is said. Versions are exact: runs repeat.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { BUNDLERS, NEXT } from './consumers/bundlers.ts';
import { type App, type Consumer, firstLine, makeApp, pack, SkipError } from './consumers/kit.ts';
import { MANAGERS, RUNTIMES, TEST_RUNNERS, THIS_NODE } from './consumers/runtimes.ts';
import { TYPESCRIPT } from './consumers/typescript.ts';

const SHORT: readonly Consumer[] = [...TYPESCRIPT, THIS_NODE, ...BUNDLERS];
const LONG: readonly Consumer[] = [...RUNTIMES, ...TEST_RUNNERS, ...MANAGERS, ...NEXT];

const isLong = process.argv.includes('--long');
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const consumers = (isLong ? LONG : SHORT).filter(
  ({ name }) => wanted.length === 0 || wanted.some((part) => name.toLowerCase().includes(part.toLowerCase())),
);

/** The folder of those that share one, which is installed when the first of them is tried. */
let shared: App | undefined;

function appFor({ isAlone, packages = [] }: Consumer, tarball: string): App {
  if (isAlone) return makeApp(tarball, packages);
  const together = consumers.filter((other) => !other.isAlone).flatMap((other) => other.packages ?? []);
  shared ??= makeApp(tarball, [...new Set(together)]);
  return shared;
}

const folder = mkdtempSync(join(tmpdir(), 'eplb-packed-'));
let numSkipped = 0;
try {
  const tarball = pack(folder);
  if (consumers.length === 0) throw new Error(`there is no consumer ${wanted.join(' or ')}`);
  for (const consumer of consumers) {
    const start = performance.now();
    let app: App | undefined;
    try {
      app = appFor(consumer, tarball);
      await consumer.run(app);
      console.log(`${consumer.name}: right, in ${((performance.now() - start) / 1000).toFixed(1)} s`);
    } catch (error) {
      if (error instanceof SkipError) {
        numSkipped++;
        console.log(`${consumer.name}: SKIPPED, ${firstLine(error)}`);
      } else {
        console.error(`${consumer.name}: WRONG, ${error instanceof Error ? error.message : error}`);
        process.exitCode = 1;
      }
    }
    if (app !== shared) app?.remove();
  }
  if (numSkipped > 0) console.log(`${numSkipped} of ${consumers.length} consumers were skipped`);
} finally {
  shared?.remove();
  rmSync(folder, { recursive: true, force: true });
}
