import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Somebody who uses the package with a tool or a runtime. */
export interface Consumer {
  readonly name: string;
  /** What it takes from npm, in the one version that is tried: runs repeat. */
  readonly packages?: readonly string[];
  /** Whether it takes an own folder with the package installed by itself. */
  readonly isAlone?: boolean;
  /** Throws what went wrong. */
  readonly run: (app: App) => void | Promise<void>;
}

/** A tool that is not to be had here: its consumer is skipped, and it is said why. */
export class SkipError extends Error {}

/**
 * Settings of npm are passed on to what it runs; a nested npm would take this package for the one to work on.
 */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_OPTIONS)/.test(name)),
);

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program to its end. @returns what it printed to standard output; throws it all when it fails */
export function run(command: string, args: readonly string[], options: RunOptions): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: options.cwd,
    env: { ...env, ...options.env },
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')}: ${error ?? `ended with ${status}`}\n${stdout}${stderr}`);
}

/** A folder with what a consumer wrote, and installed. */
export class App {
  readonly folder: string;
  /** The package, as it is packed. */
  readonly tarball: string;

  constructor(folder: string, tarball: string) {
    this.folder = folder;
    this.tarball = tarball;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  path(...parts: readonly string[]): string {
    return join(this.folder, ...parts);
  }

  /** Writes a file, and the folders above it. */
  write(name: string, content: string): void {
    mkdirSync(join(this.path(name), '..'), { recursive: true });
    writeFileSync(this.path(name), content);
  }

  /** Runs what a package installed. */
  bin(name: string, args: readonly string[], more: Readonly<Record<string, string>> = {}): string {
    return run(this.path('node_modules/.bin', name), args, { cwd: this.folder, env: more });
  }

  /** Runs a file of the consumer, which has to say that all is right. */
  expectRight(command: string, args: readonly string[], more: Partial<RunOptions> = {}): void {
    const printed = run(command, args, { cwd: this.folder, ...more });
    if (printed.trim() !== RIGHT) throw new Error(`${command} ${args.join(' ')} printed: ${printed}`);
  }
}

/** What app.mjs says when all is right. */
export const RIGHT = 'planned in the pool and inline alike';

/** Packs the package into a folder. @returns the tarball */
export function pack(folder: string): string {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const [packed] = JSON.parse(run('npm', args, { cwd: ROOT }));
  return join(folder, packed.filename);
}

/**
 * Makes a folder with the package and others installed.
 * @throws SkipError when npm cannot install them
 */
export function makeApp(tarball: string, packages: readonly string[]): App {
  const app = emptyApp(tarball);
  const flags = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'];
  try {
    run('npm', ['install', ...flags, tarball, ...packages], { cwd: app.folder });
  } catch (error) {
    app.remove();
    throw new SkipError(`npm cannot install ${packages.join(', ')}: ${firstLine(error)}`);
  }
  return app;
}

/** Makes a folder with the consumer's own files. */
export function emptyApp(tarball: string): App {
  const app = new App(mkdtempSync(join(tmpdir(), 'eplb-consumer-')), tarball);
  app.write('package.json', '{"name": "consumer", "private": true, "type": "module"}');
  for (const file of ['app.mjs', 'run.mjs']) {
    mkdirSync(app.path('src'), { recursive: true });
    copyFileSync(join(ROOT, 'scripts/consumers', file), app.path('src', file));
  }
  return app;
}

/** The version of this project's own development package. */
export function ownVersion(name: string): string {
  return JSON.parse(readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8')).version;
}

export function firstLine(error: unknown): string {
  const lines = String(error instanceof Error ? error.message : error).split('\n');
  return lines.find((line) => /error|cannot|not found/i.test(line)) ?? lines[0]!;
}
