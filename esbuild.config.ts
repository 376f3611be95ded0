/**
 * Builds everything into dist/: the kernels, the library, the worker, the command and the type declarations.
 * With `--sourcemap` also the maps from there to src/.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';
import { buildParts, writeBundled } from './scripts/build-parts.ts';
import { ADAPTIVE_KERNELS, KERNELS, kernelMismatch } from './scripts/kernel-contract.ts';
import { MAX_MEMORY_PAGES } from './src/memory/constants.ts';

const run = promisify(execFile);
const tool = (path: string) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));
const manifest: { readonly version: string } = JSON.parse(await readFile('package.json', 'utf8'));

/**
 * Compiles kernels to `build/`, and holds them to what the library knows of them. Each new instance writes
 * its data segments over the shared memory, so there may be none.
 */
async function buildKernels(
  source: string,
  name: string,
  contract: Parameters<typeof kernelMismatch>[1],
): Promise<void> {
  const file = `build/${name}`;
  await mkdir('build', { recursive: true });
  await run(process.execPath, [
    tool('assemblyscript/bin/asc.js'),
    ...[source, '--outFile', `${file}.wasm`, '--textFile', `${file}.wat`],
    ...['-O3', '--runtime', 'stub', '--noAssert'],
    ...['--importMemory', '--sharedMemory', '--maximumMemory', String(MAX_MEMORY_PAGES)],
    ...['--enable', 'simd', '--enable', 'threads'],
  ]);
  const text = await readFile(`${file}.wat`, 'utf8');
  if (text.includes('(data')) throw new Error(`${file}.wat has a data segment: keep statics out of kernels/`);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: MAX_MEMORY_PAGES, shared: true });
  const { instance } = await WebAssembly.instantiate(await readFile(`${file}.wasm`), {
    env: { memory },
  });
  const mismatch = kernelMismatch(instance.exports, contract);
  if (mismatch !== undefined) throw new Error(`${file}.wasm ${mismatch}`);
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
  // Node prints the whole line of an error that nobody catches.
  lineLimit: 4000,
  chunkNames: '[name]-[hash]',
  logLevel: 'warning',
  define: { PACKAGE_VERSION: JSON.stringify(manifest.version) },
};

/** Packages that the library takes along, and the file that is taken. */
const TAKEN_ALONG: ReadonlyMap<string, string> = new Map([
  ['typed-array-utils', 'typed-array-utils/index.js'],
  ['yaml', 'yaml/browser/dist/index.js'],
  ['yauzl', 'yauzl/index.js'],
  ['pend', 'pend/index.js'],
  ['yazl', 'yazl/index.js'],
  ['buffer-crc32', 'buffer-crc32/dist/index.cjs'],
  ['hono', 'hono/dist/index.js'],
  ['hono/ws', 'hono/dist/helper/websocket/index.js'],
  ['@hono/node-server', '@hono/node-server/dist/index.mjs'],
  ['@hono/node-server/utils/response', '@hono/node-server/dist/utils/response.mjs'],
]);
const LICENCES = [
  ...['piscina', 'yaml', 'yauzl', 'pend', 'yazl', 'buffer-crc32'],
  ...['hono', '@hono/node-server'],
].map((name) => `${name}/LICENSE`);

/**
 * Takes packages along, as modules that bundlers can put into one file: those in CommonJS `require` modules
 * of Node, which becomes `import` here, as a module has no `require`. And piscina's threads begin with a file
 * of
 * its own, which bundlers lose: here it is handed one as an option. The command, which nobody bundles, takes
 * piscina as it is installed.
 */
const takenAlong: Plugin = {
  name: 'taken-along',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[a-z@]/ }, ({ path }) =>
      TAKEN_ALONG.has(path) ? { path: tool(TAKEN_ALONG.get(path)!) } : null,
    );
    onResolve({ filter: /^piscina$/ }, ({ importer }) =>
      importer.includes('engine') ? { path: tool('piscina/dist/esm-wrapper.mjs') } : null,
    );
    onLoad({ filter: /piscina.dist.index\.js$/ }, async ({ path }) => {
      const ownFile = "(0, node_path_1.resolve)(__dirname, 'worker.js')";
      const [before, after, ...more] = (await readFile(path, 'utf8')).split(ownFile);
      if (after === undefined || more.length > 0) throw new Error(`${path} does not have ${ownFile} once`);
      return { contents: `${before}this.options.workerFile${after}`, resolveDir: dirname(path) };
    });
    onResolve({ filter: /^(node:|fs$|zlib$|stream$|events$|util$|buffer$)/ }, ({ kind, path }) =>
      kind === 'require-call' ? { path, namespace: 'builtin' } : null,
    );
    // All of it as the default alone: the names of a module of Node are not there in every bundle.
    onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = require('import:${path}').default;`,
    }));
    onResolve({ filter: /^import:/, namespace: 'builtin' }, ({ path }) => ({
      path: path.slice('import:'.length),
      namespace: 'imported',
    }));
    onLoad({ filter: /./, namespace: 'imported' }, ({ path }) => ({
      contents: `export { default } from '${path}';`,
    }));
  },
};

/** Packages that the command alone needs: it brings them, and who installs the library does not. */
const COMMAND_PACKAGES = ['cli-progress', 'cli-table3'];

/** They stand beside the chunks, as they are: CommonJS. */
const commandPackages: Plugin = {
  name: 'command-packages',
  setup({ onResolve }) {
    const filter = new RegExp(`^(?:${COMMAND_PACKAGES.join('|')})$`);
    onResolve({ filter }, ({ path }) => ({ path: `./${path}.cjs`, external: true }));
  },
};

/** {@link COMMAND_PACKAGES} with what they need, and the licences of all. */
async function bundleCommandPackages(): Promise<void> {
  const { metafile } = await build({
    ...common,
    entryPoints: COMMAND_PACKAGES,
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    sourcemap: false,
    // For styles that the command does not use.
    external: ['@colors/colors'],
    metafile: true,
  });
  const folders = Object.keys(metafile.inputs).map(
    (path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)![0],
  );
  const licences = await Promise.all([...new Set(folders)].sort().map(licenceOf));
  await writeLicences('dist/cli-LICENCES.txt', licences);
}

/** Where the licence of a package in `node_modules` is, from there. */
async function licenceOf(folder: string): Promise<string> {
  const file = (await readdir(folder)).find((one) => /^licen[cs]e/i.test(one));
  if (file === undefined) throw new Error(`${folder} has no licence`);
  return `${folder.replace(/^.*node_modules\//, '')}/${file}`;
}

/**
 * The library, its parts and the command, in one build: a module is in one output alone, so that its classes
 * are one everywhere. The simulator's worker and the part of the planning worker that a policy's module
 * shares with the library are entries too: a URL relative to any of these files finds the workers beside
 * them. What an import leaves out are parts of their own.
 */
async function bundleLibrary(): Promise<void> {
  const exported = {
    index: 'src/index.ts',
    formats: 'src/formats/index.ts',
    migration: 'src/migration/index.ts',
    replay: 'src/replay/index.ts',
    report: 'src/report/index.ts',
    serve: 'src/serve/index.ts',
  };
  const entryPoints = {
    ...exported,
    parts: 'all-parts',
    cli: 'src/cli/main.ts',
    'custom-policy': 'workers/custom-policy.ts',
    'replay-worker': 'workers/replay-worker.ts',
    'fake-rank': 'workers/fake-rank.ts',
  };
  const parts = await buildParts(common);
  const { metafile } = await build({
    ...common,
    entryPoints,
    format: 'esm',
    splitting: true,
    packages: 'external',
    plugins: [parts.plugin, takenAlong, commandPackages],
    metafile: true,
  });
  await writeFile(
    'build/library.json',
    JSON.stringify({ outputs: { ...metafile.outputs, ...parts.outputs } }),
  );
  await writeLicences('dist/LICENCES.txt', [...LICENCES, 'typed-array-utils/LICENSE.md']);
  await joinChunks(metafile.outputs);
  await writeBundled(Object.keys(exported));
  await chmod('dist/cli.js', 0o755);
}

/** Leaves the files that are loaded when they are first needed out of the one that is loaded at once. */
const loadedLater: Plugin = {
  name: 'loaded-later',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\// }, ({ kind, path }) =>
      kind === 'dynamic-import' ? { path, external: true } : null,
    );
  },
};

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
    plugins: [loadedLater],
  });
  for (const output of Object.keys(outputs).filter((path) => path.endsWith('.js'))) {
    if (chunks.includes(output)) await Promise.all([rm(output), rm(`${output}.map`, { force: true })]);
    else {
      const text = await readFile(output, 'utf8');
      const joined = files.reduce((all, file) => all.replaceAll(`"${file}"`, '"./library.js"'), text);
      await writeFile(output, output === 'dist/index.js' && !sourcemap ? passedOn(joined) : joined);
    }
  }
}

/** A module that only exports what it imports of library.js, in one statement: with no names of its own. */
function passedOn(text: string): string {
  const [, names] = /export\{([^}]*)\}/.exec(text) ?? [];
  const rest = text.replaceAll(/(?:import(?:\{[^}]*\}from)?"\.\/library\.js"|export\{[^}]*\});?\s*/g, '');
  if (names === undefined || names.includes(' as ') || rest !== '')
    throw new Error(`dist/index.js has more than what library.js exports: ${rest}`);
  return `export{${names}}from"./library.js";\n`;
}

/**
 * The planning worker is one file, in CommonJS, with piscina's side of it: it takes nothing from the others
 * until a policy's module needs it.
 */
async function bundleWorker(): Promise<void> {
  await build({
    ...common,
    entryPoints: { worker: 'workers/plan-worker.ts' },
    inject: [tool('piscina/dist/worker.js')],
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    external: ['./custom-policy.js', '@napi-rs/nice'],
    // It gets compiled modules of its host.
    loader: { '.wasm': 'empty' },
  });
}

/** How scripts of pages are bundled. */
const FOR_PAGES = {
  bundle: true,
  platform: 'browser',
  target: 'es2022',
  format: 'iife',
  minify: true,
  legalComments: 'none',
} as const;

/**
 * What is put into every page of a report: the script with its charting library, the style sheet, and the
 * library's licences.
 */
async function bundlePage(): Promise<void> {
  await build({
    outdir: 'dist/report',
    entryPoints: { page: 'src/report/browser/main.ts' },
    ...FOR_PAGES,
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
  const licences = ['echarts/NOTICE', 'echarts/LICENSE', 'echarts/licenses/LICENSE-d3', 'zrender/LICENSE'];
  await writeLicences('dist/report/LICENCES.txt', [...licences, 'tslib/LICENSE.txt']);
}

/** Takes the charts from the report's script, that the page has loaded before: they are shipped once. */
const chartsOfReports: Plugin = {
  name: 'charts-of-reports',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /report\/browser\/chart\.ts$/ }, ({ path }) => ({ path, namespace: 'charts' }));
    onLoad({ filter: /./, namespace: 'charts' }, () => ({
      contents: 'export const { Chart, followMedia } = globalThis.eplbCharts;',
    }));
  },
};

/** What the dashboard of the service loads, beside the script of reports. */
async function bundleDashboard(): Promise<void> {
  await build({
    outdir: 'dist/dashboard',
    entryPoints: ['src/serve/dashboard/browser/main.ts', 'src/serve/dashboard/page.css'],
    entryNames: 'page',
    ...FOR_PAGES,
    plugins: [chartsOfReports],
    logLevel: 'warning',
  });
}

/** The licences of what a file takes along, one after the other. */
async function writeLicences(file: string, licences: readonly string[]): Promise<void> {
  const texts = licences.map(async (path) => `${path}\n\n${(await readFile(tool(path), 'utf8')).trim()}\n`);
  await writeFile(file, (await Promise.all(texts)).join(`\n${'-'.repeat(80)}\n\n`));
}

/**
 * Has strings end on the line that they begin on. The limit of lines breaks strings too, with a backslash,
 * and a bundler that indents what it takes along, as Rollup does with CommonJS, puts its tabs into them.
 */
async function keepStringsWhole(): Promise<void> {
  for (const file of (await readdir('dist')).filter((name) => /\.c?js$/.test(name))) {
    const text = await readFile(`dist/${file}`, 'utf8');
    const whole = text.replaceAll(/(?<!\\)((?:\\\\)*)\\\n/g, '$1');
    // The kernels have a line of their own, which no error is in.
    await writeFile(`dist/${file}`, whole.replace(/="AGFz[^"]*"/, '\n$&\n'));
  }
}

for (const folder of ['dist', 'build/tests']) await rm(folder, { recursive: true, force: true });
await buildKernels('kernels/index.ts', 'kernels', KERNELS);
await buildKernels('kernels/adaptive/index.ts', 'adaptive', ADAPTIVE_KERNELS);
await Promise.all([
  bundleLibrary(),
  bundleCommandPackages(),
  bundleWorker(),
  bundlePage(),
  bundleDashboard(),
  run(process.execPath, [tool('typescript/bin/tsc'), '-p', 'tsconfig.build.json']),
]);
// Coverage counts lines as esbuild has written them.
if (!sourcemap) await keepStringsWhole();
