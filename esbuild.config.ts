/**
 * Builds everything into dist/: the kernels, the library, the worker, the command and the type declarations.
 * With `--sourcemap` also the maps from there to src/.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type BuildOptions, build, type Metafile } from 'esbuild';
import { MAX_MEMORY_PAGES } from './src/memory/constants.ts';

const run = promisify(execFile);
const tool = (path: string) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));

/**
 * Compiles the kernels. Each new instance writes its data segments over the shared memory, so there may be
 * none.
 */
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

// Of use to `npm run coverage` alone, as it is to know which line of src/ was run.
const sourcemap = process.argv.includes('--sourcemap');

const common: BuildOptions = {
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  sourcemap,
  loader: { '.wasm': 'base64' },
  // Less to read at an import. Names stay, for stack traces and profiles.
  minifyWhitespace: !sourcemap,
  minifySyntax: !sourcemap,
  chunkNames: '[name]-[hash]',
  logLevel: 'warning',
};

/**
 * The library, its parts and the command, in one build: a module is in one output alone, so that its classes
 * are one everywhere. The simulator's worker and the part of the planning worker that a policy's module
 * shares with the library are entries too: a URL relative to any of these files finds the workers beside
 * them.
 */
async function bundleLibrary(): Promise<void> {
  const entryPoints = {
    index: 'src/index.ts',
    formats: 'src/formats/index.ts',
    replay: 'src/replay/index.ts',
    report: 'src/report/index.ts',
    cli: 'src/cli/main.ts',
    'custom-policy': 'workers/custom-policy.ts',
    'replay-worker': 'workers/replay-worker.ts',
  };
  const { metafile } = await build({
    ...common,
    entryPoints,
    format: 'esm',
    splitting: true,
    packages: 'external',
    metafile: true,
  });
  await writeFile('build/library.json', JSON.stringify(metafile));
  await joinChunks(metafile.outputs);
  await chmod('dist/cli.js', 0o755);
}

/**
 * Makes one file, library.js, of the chunks that an import of the library reads: each file more costs a tenth
 * of it. esbuild keeps them apart, as the report and the start of the command need less than all.
 */
async function joinChunks(outputs: Metafile['outputs']): Promise<void> {
  const chunks = outputs['dist/index.js']!.imports.filter(({ external }) => !external).map(
    ({ path }) => path,
  );
  const names = chunks.flatMap((chunk) => outputs[chunk]!.exports);
  if (new Set(names).size < names.length) throw new Error('two chunks of the library export the same name');
  const files = chunks.map((chunk) => `./${basename(chunk)}`);
  await build({
    ...common,
    entryNames: 'library',
    stdin: { contents: files.map((file) => `export * from '${file}';`).join(''), resolveDir: 'dist' },
    format: 'esm',
    packages: 'external',
  });
  for (const output of Object.keys(outputs).filter((path) => path.endsWith('.js'))) {
    if (chunks.includes(output)) await Promise.all([rm(output), rm(`${output}.map`, { force: true })]);
    else {
      const text = await readFile(output, 'utf8');
      await writeFile(
        output,
        files.reduce((joined, file) => joined.replaceAll(`"${file}"`, '"./library.js"'), text),
      );
    }
  }
}

/**
 * The planning worker is one file, in CommonJS: it takes nothing from the others until a policy's module
 * needs it.
 */
async function bundleWorker(): Promise<void> {
  const entryPoints = { worker: 'workers/plan-worker.ts' };
  const external = ['./custom-policy.js'];
  await build({ ...common, entryPoints, format: 'cjs', outExtension: { '.js': '.cjs' }, external });
}

/**
 * What is put into every page of a report: the script with its charting library, the style sheet, and the
 * library's licences.
 */
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
    bundle: true,
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
  bundlePage(),
  run(process.execPath, [tool('typescript/bin/tsc'), '-p', 'tsconfig.build.json']),
]);
