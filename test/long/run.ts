/**
 * What takes hours: a million calls of the whole public surface, a million interleavings, 100,000 transfer
 * plans, a million schedules of migrations, 300 kills of their processes, 100,000 hostile requests, 20,000
 * schedules of a service's epochs, 150 kills of a service in migrations, 300 failures of services and etcd,
 * and a soak of a million cycles.
 */
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tsx = ['--import', 'tsx', '--expose-gc'];

const RUNS: readonly (readonly string[])[] = [
  ['test/long/soak.ts', '--cycles', '1000000'],
  ['--test', 'test/papers/public-surface.test.ts'],
  ['--test', 'test/papers/public-surface-files.test.ts'],
  ['--test', 'test/balancer/balancer-model.test.ts'],
  ['--test', 'test/transfer/plan-transfer.test.ts'],
  ['--test', 'test/migration/schedules.test.ts'],
  ['--test', 'test/migration/kill.test.ts'],
  ['--test', 'test/serve/fuzz.test.ts'],
  ['--test', 'test/serve/epochs-schedules.test.ts'],
  ['--test', 'test/serve/epochs-kill.test.ts'],
  ['--test', 'test/serve/cluster-kills.test.ts'],
];

for (const args of RUNS) {
  console.log(args.join(' '));
  const env = { ...process.env, EPLB_LONG_RUNS: '1000000' };
  const { status } = spawnSync(process.execPath, [...tsx, ...args], { cwd: root, env, stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
