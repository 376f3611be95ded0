/**
 * Runs every *.test.ts under test/, each in a process of its own:
 * `tsx test/run.ts [parts of paths under test/]`. Node 20 finds no files by patterns, and a run that finds
 * none passes on any Node: hence the least number of tests.
 */
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { bundleTests } from './bundle.ts';

const LEAST_TESTS = 800;
// A file that hangs fails, and does not hold up the run. No file takes a tenth of this.
const FILE_TIMEOUT_MS = 300_000;

const folder = fileURLToPath(new URL('.', import.meta.url));
const parts = process.argv.slice(2);
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)))
  .sort();
const leastTests = parts.length === 0 ? LEAST_TESTS : 1;

// The processes of the tests are started with this process's own flags. It needs tsx; they do not.
process.execArgv = ['--enable-source-maps'];

// The run ends with lines such as 'tests 60', which count tests and not the files that hold them.
const totals = new Map<string, number>();
const stream = run({
  files: await bundleTests(files),
  concurrency: availableParallelism(),
  timeout: FILE_TIMEOUT_MS,
});
stream.on('test:diagnostic', ({ message, nesting }) => {
  const total = /^(tests|pass|fail|cancelled) (\d+)$/.exec(message);
  if (nesting === 0 && total) totals.set(total[1]!, Number(total[2]));
});
stream.on('test:fail', () => {
  process.exitCode = 1;
});
stream.on('end', () => {
  if (totals.get('fail') !== 0 || totals.get('cancelled') !== 0) process.exitCode = 1;
  const passed = totals.get('pass') ?? 0;
  if (passed >= leastTests) return;
  console.error(`${passed} tests passed, but there are at least ${leastTests}: were files left out?`);
  process.exitCode = 1;
});
stream.compose(new spec()).pipe(process.stdout);
