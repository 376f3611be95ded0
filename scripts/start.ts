/**
 * What `npm start` shows: the README's first commands, a batch with which balancing does not pay and one with
 * which it does. Further options are added to both: `npm start -- --policies static,adaptive`.
 */
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const compare = [
  ...['compare', 'recordings/deepseek-v2-lite.law.routes.npy'],
  ...['--experts', '64', '--slots', '80', '--ranks', '16', '--nodes', '2'],
  ...['--interval', '8', '--layers-per-step', '26', '--policies', 'static,default,adaptive'],
  ...['--device', 'h200', '--model', 'deepseek-v2-lite', '--tokens-per-rank'],
];
const batches = [['8'], ['2048', '--report', 'report.html']];
for (const batch of batches) {
  const args = ['dist/cli.js', ...compare, ...batch, ...process.argv.slice(2)];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  process.exitCode = status ?? 1;
  if (status !== 0) break;
}
