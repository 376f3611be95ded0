/**
 * What `npm start` shows: the first of the README's two commands. Further options are added to it:
 * `npm start -- --json`.
 */
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const compare = [
  ...['compare', 'recordings/deepseek-v2-lite.law.routes.npy'],
  ...['--experts', '64', '--slots', '80', '--ranks', '16', '--nodes', '2', '--groups', '8'],
  ...['--tokens-per-step', '64', '--interval', '16', '--layers-per-step', '26'],
  ...['--policies', 'static,default,locality,adaptive'],
  ...['--planning-seconds', '0.001', '--cost', 'competition'],
  ...['--report', 'report.html'],
];
const args = ['dist/cli.js', ...compare, ...process.argv.slice(2)];
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
process.exitCode = status ?? 1;
