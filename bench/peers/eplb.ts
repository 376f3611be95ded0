import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Workload } from '../workloads.ts';

const DRIVER = fileURLToPath(new URL('eplb_driver.py', import.meta.url));
/** The system's first: the one that packages of the system are for. */
const PYTHONS = ['/usr/bin/python3', 'python3'];

/** The published eplb.py, in a Python process of its own. */
export class EplbPeer {
  /** Versions, and torch's threads. */
  readonly description: string;
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #folder: string;

  private constructor(
    process: ChildProcessWithoutNullStreams,
    lines: AsyncIterator<string>,
    description: string,
  ) {
    this.#process = process;
    this.#lines = lines;
    this.#folder = mkdtempSync(join(tmpdir(), 'eplb-peer-'));
    this.description = description;
  }

  /**
   * @param python the command; one of the usual ones when left out
   * @returns why it cannot be run, if it cannot
   */
  static async start(file: string, python?: string): Promise<EplbPeer | string> {
    if (!existsSync(file)) return `there is no file ${file}`;
    const candidates = python === undefined ? PYTHONS : [python];
    const command = candidates.find(
      (candidate) => spawnSync(candidate, ['-c', 'import torch, numpy'], { stdio: 'ignore' }).status === 0,
    );
    if (command === undefined) return `torch and NumPy are not installed for ${candidates.join(' or ')}`;
    const child = spawn(command, [DRIVER, file]);
    child.stderr.pipe(process.stderr);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const about = await nextLine<{ python: string; torch: string; threads: number }>(lines);
    const text = `Python ${about.python}, torch ${about.torch} with ${about.threads} threads`;
    return new EplbPeer(child, lines, text);
  }

  /** Plans some times: the milliseconds of each, and the last placement [layers x slots]. */
  async plan(
    { loads, topology }: Workload,
    runs: number,
  ): Promise<{ times: readonly number[]; phyToLog: Int32Array }> {
    const files = { loads: join(this.#folder, 'loads'), placement: join(this.#folder, 'placement') };
    writeFileSync(files.loads, loads.data);
    const job = { ...topology, ...files, numExperts: loads.numExperts, runs };
    this.#process.stdin.write(`${JSON.stringify(job)}\n`);
    const { times } = await nextLine<{ times: number[] }>(this.#lines);
    return { times, phyToLog: new Int32Array(Uint8Array.from(readFileSync(files.placement)).buffer) };
  }

  async close(): Promise<void> {
    const ended = once(this.#process, 'close');
    this.#process.stdin.end();
    await ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function nextLine<T>(lines: AsyncIterator<string>): Promise<T> {
  const { value, done } = await lines.next();
  if (done) throw new Error('the Python process ended: see above');
  return JSON.parse(value) as T;
}
