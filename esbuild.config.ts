/** Builds everything into dist/: the kernels, the library, the worker, the command and the type declarations. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
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
 * The worker is an entry of its own. Shared code goes to chunks, so that a thread has one instance of the library; they lie
 * beside the entries, so that a URL relative to the module finds the worker from either.
 */
async function bundle(): Promise<void> {
  await build({
    entryPoints: { index: 'src/index.ts', worker: 'workers/plan-worker.ts', cli: 'src/cli/main.ts' },
    outdir: 'dist',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    loader: { '.wasm': 'binary' },
    chunkNames: '[name]-[hash]',
    logLevel: 'warning',
  });
  await chmod('dist/cli.js', 0o755);
}

await rm('dist', { recursive: true, force: true });
await buildKernels();
await Promise.all([
  bundle(),
  run(process.execPath, [tool('typescript/bin/tsc'), '-p', 'tsconfig.build.json']),
]);
