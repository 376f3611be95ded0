import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { type App, type Consumer, run } from './kit.ts';

/** A bundle in a folder, by how it has to behave without node_modules. */
interface Bundle {
  readonly entry: string;
  /** Whether it has all that it needs; else files are copied beside it, as docs/bundlers.md says. */
  readonly isWhole?: boolean;
}

/**
 * A bundle does where the package is installed, and elsewhere with what it needs beside it. Without that, it
 * says what is lacking, and where it is told what to do.
 */
function tryBundle(app: App, { entry, isWhole = false }: Bundle): void {
  app.expectRight(process.execPath, [entry]);
  const elsewhere = mkdtempSync(join(tmpdir(), 'eplb-bundle-'));
  try {
    cpSync(app.path(dirname(entry)), elsewhere, { recursive: true });
    const moved = join(elsewhere, entry.slice(dirname(entry).length + 1));
    if (!isWhole) {
      expectRefusal(moved, elsewhere);
      const dist = app.path('node_modules/expert-load-balancer/dist');
      for (const part of ['worker.cjs', 'report'])
        cpSync(join(dist, part), join(elsewhere, part), { recursive: true });
    }
    app.expectRight(process.execPath, [moved], { cwd: elsewhere });
  } finally {
    rmSync(elsewhere, { recursive: true, force: true });
  }
}

function expectRefusal(entry: string, cwd: string): void {
  let said = '';
  try {
    said = run(process.execPath, [entry], { cwd });
  } catch (error) {
    said = String(error);
  }
  if (/EplbError EPLB_RUNTIME: dist\/worker\.cjs .* docs\/bundlers\.md/.test(said)) return;
  throw new Error(`without the worker's file it is not said what is lacking, but: ${said}`);
}

const ROLLUP_CONFIG = `
import commonjs from '@rollup/plugin-commonjs';
import resolve from '@rollup/plugin-node-resolve';
const plugins = [resolve({ preferBuiltins: true, exportConditions: ['node'] }), commonjs()];
export default ['es', 'cjs'].map((format) => ({
  input: 'src/run.mjs',
  plugins,
  output: {
    ...{ dir: 'out/rollup-' + format, format },
    entryFileNames: format === 'es' ? '[name].mjs' : '[name].cjs',
    chunkFileNames: format === 'es' ? '[name]-[hash].mjs' : '[name]-[hash].cjs',
  },
}));
`;

const WEBPACK_CONFIG = `
const common = { mode: 'development', devtool: false, target: 'node20', entry: './src/run.mjs' };
const path = (folder) => require('node:path').join(__dirname, 'out', folder);
module.exports = [
  { ...common, output: { path: path('webpack-cjs'), filename: 'run.cjs' } },
  {
    ...common,
    experiments: { outputModule: true },
    output: { path: path('webpack-es'), filename: 'run.mjs', module: true, chunkFormat: 'module' },
  },
];
`;

const VITE_CONFIG = `
export default {
  build: { ssr: 'src/run.mjs', outDir: process.env.OUT, rollupOptions: { output: { entryFileNames: '[name].mjs' } } },
  ssr: process.env.OUT.includes('whole') ? { noExternal: true } : {},
};
`;

export const BUNDLERS: readonly Consumer[] = [
  {
    name: 'esbuild, as module and CommonJS',
    packages: ['esbuild@0.28.2'],
    run: (app) => {
      for (const [format, entry] of [
        ['esm', 'out/esbuild-esm/run.mjs'],
        ['cjs', 'out/esbuild-cjs/run.cjs'],
      ] as const) {
        const flags = ['--bundle', '--platform=node', `--format=${format}`, '--log-level=error'];
        app.bin('esbuild', ['src/run.mjs', ...flags, `--outfile=${entry}`]);
        tryBundle(app, { entry });
      }
    },
  },
  {
    name: 'Rollup, as module and CommonJS',
    packages: ['rollup@4.68.8', '@rollup/plugin-node-resolve@16.0.3', '@rollup/plugin-commonjs@29.0.3'],
    run: (app) => {
      app.write('rollup.config.mjs', ROLLUP_CONFIG);
      app.bin('rollup', ['-c', '--silent']);
      tryBundle(app, { entry: 'out/rollup-es/run.mjs' });
      tryBundle(app, { entry: 'out/rollup-cjs/run.cjs' });
    },
  },
  {
    name: 'webpack, as module and CommonJS',
    packages: ['webpack@5.113.0', 'webpack-cli@7.3.1'],
    run: (app) => {
      app.write('webpack.config.cjs', WEBPACK_CONFIG);
      app.bin('webpack', ['--no-color']);
      tryBundle(app, { entry: 'out/webpack-cjs/run.cjs', isWhole: true });
      tryBundle(app, { entry: 'out/webpack-es/run.mjs', isWhole: true });
    },
  },
  {
    name: 'Vite SSR, with the package outside and inside',
    packages: ['vite@8.3.8'],
    run: (app) => {
      app.write('vite.config.mjs', VITE_CONFIG);
      app.bin('vite', ['build', '--logLevel', 'error'], { OUT: 'out/vite-outside' });
      app.expectRight(process.execPath, ['out/vite-outside/run.mjs']);
      app.bin('vite', ['build', '--logLevel', 'error'], { OUT: 'out/vite-whole' });
      tryBundle(app, { entry: 'out/vite-whole/run.mjs' });
    },
  },
];

const NEXT_ROUTE = `
import { main } from '../../src/app.mjs';
export const dynamic = 'force-dynamic';
export const GET = async () => new Response(await main().catch((error) => error.code + ': ' + error.message));
`;

const NEXT_PAGE = `
export default function Page() { return null; }
`;
const NEXT_LAYOUT = `
export default function Layout({ children }) { return <html><body>{children}</body></html>; }
`;

/** Builds and starts an application of Next, and asks its route. */
async function tryNext(app: App, config: string, flags: readonly string[], port: number): Promise<void> {
  app.write('next.config.mjs', config);
  app.write('app/plan/route.js', NEXT_ROUTE);
  app.write('app/page.jsx', NEXT_PAGE);
  app.write('app/layout.jsx', NEXT_LAYOUT);
  const quiet = { NEXT_TELEMETRY_DISABLED: '1' };
  rmSync(app.path('.next'), { recursive: true, force: true });
  app.bin('next', ['build', ...flags], quiet);
  const script = `
    const { spawn } = require('node:child_process');
    const server = spawn(process.execPath, ['node_modules/next/dist/bin/next', 'start', '-p', '${port}'], { stdio: 'ignore' });
    (async () => {
      for (let tries = 0; ; tries++) {
        const text = await fetch('http://127.0.0.1:${port}/plan').then((answer) => answer.text(), () => undefined);
        if (text === undefined && tries < 100) { await new Promise((resolve) => setTimeout(resolve, 200)); continue; }
        console.log(text);
        break;
      }
      server.kill();
    })();`;
  app.expectRight(process.execPath, ['-e', script]);
}

const NEXT_PACKAGES = ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1'];
const OUTSIDE = `export default { serverExternalPackages: ['expert-load-balancer'] };`;
const INSIDE = 'export default {};';

/** Each builds for a minute and more. */
export const NEXT: readonly Consumer[] = [
  { by: 'Turbopack', flags: [], where: 'outside', config: OUTSIDE, port: 3911 },
  { by: 'webpack', flags: ['--webpack'], where: 'outside', config: OUTSIDE, port: 3912 },
  { by: 'Turbopack', flags: [], where: 'inside', config: INSIDE, port: 3913 },
  { by: 'webpack', flags: ['--webpack'], where: 'inside', config: INSIDE, port: 3914 },
].map(({ by, flags, where, config, port }) => ({
  name: `Next.js 16.4.6 by ${by}, with the package ${where}`,
  packages: NEXT_PACKAGES,
  isAlone: true,
  run: (app) => tryNext(app, config, flags, port),
}));
