/** Builds everything into dist/: the kernels, the library, the worker, the command and the type declarations. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { MAX_MEMORY_PAGES } from './src/engine/constants.ts';

const run = promisify(execFile);
const tool = (path: string) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));

/** Compiles the kernels. Each new instance writes its data segments over the shared memory, so there may be none. */
async function buildKernels(): Promise<void> {
  await mkdir('build', { recursive: true });
  await run(process.execPath, [
    tool('assemblyscript/bin/asc.js'),
    ...['kernels/index.ts', '--outFile', 'build/kernels.wasm', '--textFile', 'build/kernels.wat'],
    ...['-O3', '--runtime', 'stub', '--noAssert'],
    ...['--importMemory', '--sharedMemory', '--maximumMemory', String(MAX_MEMORY_PAGES)],
    ...['--enable', 'simd', '--enable', 'threads'],
  ]);
  const text = await readFile('build/kernels.wat', 'utf8');
  if (text.includes('(data'))
    throw new Error('build/kernels.wat has a data segment: keep statics out of kernels/');
}

const common: BuildOptions = {
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  loader: { '.wasm': 'binary' },
  chunkNames: '[name]-[hash]',
  logLevel: 'warning',
};

/**
 * The library, and the part of the worker that shares its modules: they lie beside each other, so that a URL relative to
 * either finds the worker. Nothing else is in this build: each file more costs half a millisecond when the library is imported.
 */
async function bundleLibrary(): Promise<void> {
  const entryPoints = { index: 'src/index.ts', 'custom-policy': 'workers/custom-policy.ts' };
  await build({ ...common, entryPoints, format: 'esm', splitting: true, packages: 'external' });
}

/** The worker is one file, in CommonJS. */
async function bundleWorker(): Promise<void> {
  const entryPoints = { worker: 'workers/plan-worker.ts' };
  const external = ['./custom-policy.js'];
  await build({ ...common, entryPoints, format: 'cjs', outExtension: { '.js': '.cjs' }, external });
}

/**
 * Takes what matches from the library in dist/, as anybody does, so that its classes are one everywhere; and the kernel memory, so
 * that a thread has one.
 */
function libraryBeside(filter: RegExp): Plugin {
  return {
    name: 'library',
    setup({ onResolve }) {
      onResolve({ filter }, () => ({ path: './index.js', external: true }));
      onResolve({ filter: /\/kernel-memory\.ts$/ }, () => ({ path: './custom-policy.js', external: true }));
    },
  };
}

/** The readers and writers of engines' files. */
async function bundleFormats(): Promise<void> {
  await build({
    ...common,
    entryPoints: { formats: 'src/formats/index.ts' },
    format: 'esm',
    splitting: true,
    packages: 'external',
    plugins: [libraryBeside(/^(\.\.\/)+(index|errors)\.ts$/)],
  });
}

/** The simulator, and the report of what it gives. */
async function bundleReplay(): Promise<void> {
  await build({
    ...common,
    entryPoints: { replay: 'src/replay/index.ts', report: 'src/report/index.ts' },
    format: 'esm',
    splitting: true,
    packages: 'external',
    plugins: [libraryBeside(/^(\.\.?\/)+(index|errors)\.ts$/)],
  });
}

/** The command, and the worker that it replays in. It has errors of its own, so that `eplb --help` loads no library. */
async function bundleCommand(): Promise<void> {
  await build({
    ...common,
    entryPoints: { cli: 'src/cli/main.ts', 'replay-worker': 'workers/replay-worker.ts' },
    format: 'esm',
    splitting: true,
    packages: 'external',
    plugins: [libraryBeside(/^(\.\.\/)+(src\/)?index\.ts$/)],
  });
  await chmod('dist/cli.js', 0o755);
}

/** What is put into every page of a report: the script with its charting library, the style sheet, and the library's licences. */
async function bundlePage(): Promise<void> {
  await build({
    outdir: 'dist/report',
    entryPoints: { page: 'src/report/browser/main.ts' },
    bundle: true,
    platform: 'browser',
    target: 'es2022',
    format: 'iife',
    minify: true,
    legalComments: 'none',
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'warning',
  });
  await build({
    outdir: 'dist/report',
    entryPoints: { page: 'src/report/page.css' },
    minify: true,
    logLevel: 'warning',
  });
  const files = [
    'echarts/NOTICE',
    'echarts/LICENSE',
    'echarts/licenses/LICENSE-d3',
    'zrender/LICENSE',
    'tslib/LICENSE.txt',
  ];
  const texts = files.map(async (path) => `${path}\n\n${(await readFile(tool(path), 'utf8')).trim()}\n`);
  await writeFile('dist/report/LICENCES.txt', (await Promise.all(texts)).join(`\n${'-'.repeat(80)}\n\n`));
}

await rm('dist', { recursive: true, force: true });
await buildKernels();
await Promise.all([
  bundleLibrary(),
  bundleWorker(),
  bundleFormats(),
  bundleReplay(),
  bundleCommand(),
  bundlePage(),
  run(process.execPath, [tool('typescript/bin/tsc'), '-p', 'tsconfig.build.json']),
]);
