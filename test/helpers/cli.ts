import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

/**
 * Runs many command lines of the built `eplb` in one process, in order. Once one of them had standard output
 * for a file, what is for people goes to standard error: let these be the last.
 */
export async function eplbMany(lines: readonly Line[], cwd: string): Promise<LineRun[]> {
  const args = [RUN_MANY, pathToFileURL(CLI).href, JSON.stringify(lines)];
  const run = await runProgram(process.execPath, args, { cwd });
  if (run.code !== 0) throw new Error(run.stderr + run.stdout);
  return run.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
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
