import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** Nothing that is tried takes a tenth of this: who is not done by then never is. */
const WATCHDOG_MS = 30_000;

/**
 * Runs a module in a process of its own, which is killed when it does not end: what blocks a thread for ever
 * cannot be stopped in it.
 *
 * @param code an ES module, with the library's exports in `library`
 * @returns what it printed
 */
export function runInChild(code: string): string {
  const module = `import * as library from 'expert-load-balancer';\n${code}`;
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', module],
    {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      timeout: WATCHDOG_MS,
      killSignal: 'SIGKILL',
      encoding: 'utf8',
    },
  );
  if (signal !== null) throw new Error(`did not end within ${WATCHDOG_MS} ms: ${stdout}${stderr}`);
  if (status !== 0) throw new Error(stderr);
  return stdout;
}
