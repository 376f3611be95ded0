/**
 * Which lines of src/ the tests run: `npm run coverage`, or `npm run coverage -- mapping/ loads/` for some of
 * them. Prints a summary, and writes a page for each file into build/coverage/. Tests use what is built, in
 * processes and threads of their own: Node writes down what each of them ran, and source maps lead from there
 * to src/.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { CoverageReport } from 'monocart-coverage-reports';

const ROOT = new URL('..', import.meta.url);
const OUTPUT = 'build/coverage';
const RAW = 'build/coverage-raw';

/** Runs a Node program from the folder of the project. @returns its exit status */
function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): number {
  const options = { cwd: fileURLToPath(ROOT), stdio: 'inherit', env: { ...process.env, ...env } } as const;
  return spawnSync(process.execPath, ['--import', 'tsx', ...args], options).status ?? 1;
}

/** Of the whole program, only what is ours and built, or what tests imported of src/. */
function isOurs(url: string): boolean {
  return ['dist/', 'build/tests/'].some((folder) => url.startsWith(new URL(folder, ROOT).href));
}

process.chdir(fileURLToPath(ROOT));
const built = run(['esbuild.config.ts', '--sourcemap']);
if (built !== 0) process.exit(built);
rmSync(RAW, { recursive: true, force: true });
const raw = fileURLToPath(new URL(RAW, ROOT));
process.exitCode = run(['test/run.ts', ...process.argv.slice(2)], { NODE_V8_COVERAGE: raw });
const report = new CoverageReport({
  name: 'Coverage of src/',
  outputDir: OUTPUT,
  reports: ['v8', ['console-details', { metrics: ['statements', 'branches', 'functions', 'lines'] }]],
  entryFilter: ({ url }) => isOurs(url),
  // What runs in a browser is not seen here.
  sourceFilter: (path) => path.startsWith('src/') && !path.startsWith('src/report/browser/'),
});
await report.addFromDir(raw);
await report.generate();
