import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The built command. */
export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** The recording that ships with the package. */
export const RECORDING = fileURLToPath(
  new URL('../../recordings/deepseek-v2-lite.law.routes.npy', import.meta.url),
);

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, without a terminal. */
export function runProgram(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Runs the built `eplb`. */
export function eplb(
  args: readonly string[],
  options?: { cwd?: string; env?: NodeJS.ProcessEnv },
): Promise<Run> {
  return runProgram(process.execPath, [CLI, ...args], options);
}

/** A command line, and the columns that COLUMNS tells it. */
export interface Line {
  readonly args: readonly string[];
  readonly columns?: number;
}

/** What came of a line of {@link eplbMany}, and the files that there were then. */
export interface LineRun extends Run {
  readonly files: readonly string[];
}

const RUN_MANY = fileURLToPath(new URL('./run-many.mjs', import.meta.url));

/** A process in which command lines run in order, each when the one before is done. */
class SharedProcess {
  readonly #child = fork(RUN_MANY, [pathToFileURL(CLI).href], {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  #last: Promise<unknown> = Promise.resolve();
  #stderr = '';

  constructor() {
    // What a process says that cannot go on: what the command says comes as a message.
    this.#child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text;
    });
  }

  run(line: Line, cwd: string): Promise<LineRun> {
    const run = this.#last.then(() => this.#runNext({ ...line, cwd }));
    this.#last = run.catch(() => {});
    return run;
  }

  #runNext(line: Line & { readonly cwd: string }): Promise<LineRun> {
    return new Promise((resolve, reject) => {
      const closed = () => reject(new Error(`${line.args.join(' ')}: the process ended: ${this.#stderr}`));
      if (!this.#child.connected) return closed();
      this.#child.once('close', closed).once('message', (run: LineRun) => {
        this.#child.off('close', closed);
        resolve(run);
      });
      this.#child.send(line);
    });
  }

  async close(): Promise<void> {
    await this.#last;
    if (!this.#child.connected) return;
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}

/**
 * Runs many command lines of the built `eplb` in one process, in order. Once one of them had standard output
 * for a file, what is for people goes to standard error: let these be the last.
 */
export async function eplbMany(lines: readonly Line[], cwd: string): Promise<LineRun[]> {
  const shared = new SharedProcess();
  try {
    return await Promise.all(lines.map((line) => shared.run(line, cwd)));
  } finally {
    await shared.close();
  }
}

/** Whether a line has standard output for a file: `-`, or `--json` without one. */
function takesOutput(args: readonly string[]): boolean {
  return args.some((arg, at) => arg === '-' || (arg === '--json' && (args[at + 1] ?? '-').startsWith('-')));
}

/**
 * The built `eplb` as {@link eplb} runs it, but in a process that all tests of a file share: for what
 * commands say and write. How a process starts and ends, and its streams and environment, are for
 * {@link eplb}. Lines that have standard output for a file are in a second process, see {@link eplbMany}.
 */
export function sharedEplb(): (args: readonly string[], options?: { cwd?: string }) => Promise<Run> {
  const processes = new Map<boolean, SharedProcess>();
  after(() => Promise.all([...processes.values()].map((shared) => shared.close())));
  return async (args, { cwd = process.cwd() } = {}) => {
    const takes = takesOutput(args);
    const shared = processes.get(takes) ?? new SharedProcess();
    processes.set(takes, shared);
    const { code, stdout, stderr } = await shared.run({ args }, cwd);
    return { code, stdout, stderr };
  };
}

/** Runs `work` with a directory that is gone afterwards. */
export async function inTempDir<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'eplb-test-'));
  try {
    return await work(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
