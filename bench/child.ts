import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/**
 * Runs a script of children/ in a Node of its own, without any loader or flag of this one. And without
 * further certificates: reading them takes half of the time in which Node starts, and more at times.
 *
 * @param job given to the script as JSON, its first argument
 * @param loads given as bytes on its standard input
 * @returns the JSON it printed
 */
export function runChild<T>(
  script: string,
  job: unknown = null,
  loads: Float32Array = new Float32Array(0),
): T {
  const { NODE_OPTIONS: _, NODE_EXTRA_CA_CERTS: __, ...env } = process.env;
  const path = fileURLToPath(new URL(`children/${script}`, import.meta.url));
  const input = new Uint8Array(loads.buffer, loads.byteOffset, loads.byteLength);
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [path, JSON.stringify(job)], {
    env,
    input,
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${script} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as T;
}
