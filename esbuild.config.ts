/** Builds everything into dist/: the kernels, the library, the worker, the command and the type declarations. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type BuildOptions, build } from 'esbuild';
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

/**
 * The library's entries share their code in chunks, so that a thread has one instance of it; chunks lie beside the entries,
 * so that a URL relative to the module finds the worker from either. The worker is a file of its own, in CommonJS.
 */
async function bundle(): Promise<void> {
  const common: BuildOptions = {
    outdir: 'dist',
    bundle: true,
    platform: 'node',
    target: 'node20',
    loader: { '.wasm': 'binary' },
    logLevel: 'warning',
  };
  await build({
    ...common,
    entryPoints: {
      index: 'src/index.ts',
      cli: 'src/cli/main.ts',
      'custom-policy': 'workers/custom-policy.ts',
    },
    format: 'esm',
    splitting: true,
    packages: 'external',
    chunkNames: '[name]-[hash]',
  });
  await build({
    ...common,
    entryPoints: { worker: 'workers/plan-worker.ts' },
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    external: ['./custom-policy.js'],
  });
  await chmod('dist/cli.js', 0o755);
}

await rm('dist', { recursive: true, force: true });
await buildKernels();
await Promise.all([
  bundle(),
  run(process.execPath, [tool('typescript/bin/tsc'), '-p', 'tsconfig.build.json']),
]);
