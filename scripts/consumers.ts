/**
 * Compiles what a user of TypeScript would write against the package as it is packed:
 * `npm run test:consumers`. All blocks of TypeScript in the README and in docs/, and an import of everything,
 * under strict, by the oldest compiler that is promised, the last one of version 5, and the one that the
 * project uses. Libraries are checked too. The two old compilers come from npm for this run alone, so that no
 * other install has to wait for them.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { blocksOf, pages, ROOT } from '../test/helpers/markdown.ts';

const OLD_COMPILERS = ['5.4', '5.9'];

const IMPORTS = ['', '/formats', '/replay', '/report']
  .map((part, i) => `export * as part${i} from 'expert-load-balancer${part}';\n`)
  .join('');

const COMPILER_OPTIONS = {
  module: 'nodenext',
  target: 'es2022',
  lib: ['es2022', 'esnext.disposable'],
  types: ['node'],
  strict: true,
  noEmit: true,
};

/** A nested npm would take this package for the one to work on. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(config_local_prefix|package|lifecycle)/.test(name)),
);

/** Runs a program to its end. @returns what it printed, or throws it when it fails */
function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

/** Installs the package as it is packed, beside the compilers and the types of Node, in a folder. */
function install(app: string): void {
  const [packed] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', app], ROOT),
  );
  writeFileSync(join(app, 'package.json'), '{"name": "consumer", "private": true, "type": "module"}');
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const packages = [
    join(app, packed.filename),
    `@types/node@${devDependencies['@types/node']}`,
    ...OLD_COMPILERS.map((version) => `typescript-${version}@npm:typescript@${version}`),
  ];
  run(
    'npm',
    ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', ...packages],
    app,
  );
}

/** Writes what is compiled. @returns how many files there are */
function writeSources(app: string): number {
  mkdirSync(join(app, 'src'));
  const blocks = pages().flatMap((page) =>
    blocksOf(page)
      .filter(({ language }) => language === 'ts')
      .map(({ line, code }) => ({ name: `${page.path.replaceAll(/\W/g, '-')}-${line}.ts`, code })),
  );
  if (blocks.length === 0) throw new Error('no page has a block of TypeScript');
  for (const { name, code } of blocks) writeFileSync(join(app, 'src', name), code);
  writeFileSync(join(app, 'src', 'all.ts'), IMPORTS);
  writeFileSync(
    join(app, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ['src'] }),
  );
  return blocks.length + 1;
}

const app = mkdtempSync(join(tmpdir(), 'eplb-consumer-'));
try {
  install(app);
  const numFiles = writeSources(app);
  const compilers = [
    ...OLD_COMPILERS.map((version) => join(app, 'node_modules', `typescript-${version}`)),
    join(ROOT, 'node_modules/typescript'),
  ];
  for (const compiler of compilers) {
    const { version } = JSON.parse(readFileSync(join(compiler, 'package.json'), 'utf8'));
    try {
      run(process.execPath, [join(compiler, 'bin/tsc')], app);
      console.log(`TypeScript ${version} compiles ${numFiles} files`);
    } catch (error) {
      console.error(`TypeScript ${version} does not: ${error instanceof Error ? error.message : error}`);
      process.exitCode = 1;
    }
  }
} finally {
  rmSync(app, { recursive: true, force: true });
}
