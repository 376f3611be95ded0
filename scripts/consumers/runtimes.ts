import { existsSync, readdirSync } from 'node:fs';
import process from 'node:process';
import { type App, type Consumer, emptyApp, RIGHT, run, SkipError } from './kit.ts';

/** Runs the consumer as a module, and as CommonJS that requires the package. */
function tryNode(app: App, node: string): void {
  app.expectRight(node, ['src/run.mjs']);
  const flags = ['--bundle', '--packages=external', '--platform=node', '--format=cjs', '--log-level=error'];
  app.bin('esbuild', ['src/run.mjs', ...flags, '--outfile=out/node/run.cjs']);
  app.expectRight(node, ['out/node/run.cjs']);
}

export const THIS_NODE: Consumer = {
  name: `Node ${process.versions.node}, as module and CommonJS`,
  packages: ['esbuild@0.28.2'],
  run: (app) => tryNode(app, process.execPath),
};

const NODE = `node-${process.platform}-${process.arch}`;

/** Another version of Node. */
function nodeConsumer(version: string): Consumer {
  return {
    name: `Node ${version}, as module and CommonJS`,
    // The package that the package node would fetch in a script.
    packages: [`${NODE}@${version}`, 'esbuild@0.28.2'],
    isAlone: true,
    run: (app) => {
      const node = app.path('node_modules', NODE, 'bin/node');
      if (!existsSync(node)) throw new SkipError(`the package ${NODE}@${version} brings no binary`);
      const found = run(node, ['--version'], { cwd: app.folder }).trim();
      if (found !== `v${version}`) throw new Error(`it is ${found}`);
      tryNode(app, node);
    },
  };
}

/** The binary that an optional dependency brings for this platform. */
function platformBinary(app: App, scope: string, name: string): string {
  for (const folder of readdirSync(app.path('node_modules', scope))) {
    for (const path of [`${folder}/bin/${name}`, `${folder}/${name}`]) {
      const binary = app.path('node_modules', scope, path);
      if (existsSync(binary)) return binary;
    }
  }
  throw new SkipError(`no package of ${scope} has a binary for this platform`);
}

export const RUNTIMES: readonly Consumer[] = [
  ...['20.20.2', '22.23.3', '24.21.0', '26.10.0'].map(nodeConsumer),
  {
    name: 'Bun 1.4.5',
    packages: ['bun@1.4.5'],
    isAlone: true,
    run: (app) => app.expectRight(platformBinary(app, '@oven', 'bun'), ['src/run.mjs']),
  },
  {
    name: 'Deno 2.9.6',
    packages: ['deno@2.9.6'],
    isAlone: true,
    run: (app) =>
      app.expectRight(platformBinary(app, '@deno', 'deno'), ['run', '--allow-all', 'src/run.mjs']),
  },
];

const VITEST = `
import { expect, test } from 'vitest';
import { main } from './app.mjs';
test('plans', async () => expect(await main()).toBe('planned in the pool and inline alike'));
`;
const JEST = `
import { main } from './app.mjs';
test('plans', async () => expect(await main()).toBe('planned in the pool and inline alike'));
`;
const JEST_CONFIG = {
  testMatch: ['**/*.jest.mjs'],
  transform: {},
  moduleFileExtensions: ['mjs', 'js', 'cjs'],
};

export const TEST_RUNNERS: readonly Consumer[] = [
  {
    name: 'vitest 5.1.2',
    packages: ['vitest@5.1.2'],
    isAlone: true,
    run: (app) => {
      app.write('src/plan.test.mjs', VITEST);
      for (const pool of ['forks', 'threads']) app.bin('vitest', ['run', '--pool', pool]);
    },
  },
  {
    name: 'jest 30.5.2, with --experimental-vm-modules',
    packages: ['jest@30.5.2'],
    isAlone: true,
    run: (app) => {
      app.write('src/plan.jest.mjs', JEST);
      app.write('jest.config.json', JSON.stringify(JEST_CONFIG));
      app.bin('jest', ['--config', 'jest.config.json'], { NODE_OPTIONS: '--experimental-vm-modules' });
    },
  },
];

/** Two more managers of packages, which are installed by npm: neither lays them out as it does. */
export const MANAGERS: readonly Consumer[] = [
  {
    name: 'pnpm 12.21.0, from a bundle too',
    packages: ['pnpm@12.21.0', 'esbuild@0.28.2'],
    isAlone: true,
    run: (tools) => {
      const app = emptyApp(tools.tarball);
      const pnpm = ['add', tools.tarball, '--ignore-scripts', '--store-dir', app.path('store')];
      run(tools.path('node_modules/.bin/pnpm'), pnpm, { cwd: app.folder, env: { CI: '1' } });
      app.expectRight(process.execPath, ['src/run.mjs']);
      const flags = ['--bundle', '--platform=node', '--format=esm', '--outfile=out/pnpm/run.mjs'];
      const esbuild = tools.path('node_modules/.bin/esbuild');
      run(esbuild, ['src/run.mjs', ...flags, '--log-level=error'], { cwd: app.folder });
      app.expectRight(process.execPath, ['out/pnpm/run.mjs']);
      app.remove();
    },
  },
  {
    name: 'Yarn 4.18.1, with Plug and Play',
    packages: ['@yarnpkg/cli-dist@4.18.1'],
    isAlone: true,
    run: (tools) => {
      const app = emptyApp(tools.tarball);
      app.write('yarn.lock', '');
      app.write('.yarnrc.yml', 'nodeLinker: pnp\nenableGlobalCache: false\nenableTelemetry: false\n');
      const yarn = (...args: readonly string[]) => {
        const cli = tools.path('node_modules/@yarnpkg/cli-dist/bin/yarn.js');
        return run(process.execPath, [cli, ...args], { cwd: app.folder, env: YARN });
      };
      yarn('add', `expert-load-balancer@file:${tools.tarball}`);
      if (existsSync(app.path('node_modules/expert-load-balancer')))
        throw new Error('it is not Plug and Play');
      const printed = yarn('node', 'src/run.mjs');
      if (printed.trim() !== RIGHT) throw new Error(`yarn node printed: ${printed}`);
      app.remove();
    },
  },
];

const YARN = { YARN_ENABLE_IMMUTABLE_INSTALLS: 'false', YARN_ENABLE_HARDENED_MODE: 'false' };
