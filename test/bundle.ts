/**
 * Makes JavaScript of the tests once, before they run. tsx would do it in each of their processes, and load
 * itself in each of their worker threads: that took more than half of the time of many files.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = `${ROOT}build/tests/`;

/** A test finds its fixtures from where its source is: that stays the address of its module. */
const ownAddresses: Plugin = {
  name: 'own-addresses',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      if (!source.includes('import.meta.url')) return undefined;
      // On the first line, so that no line gets another number.
      const address = JSON.stringify(pathToFileURL(path).href);
      return { contents: `const moduleAddress = ${address}; ${source}`, loader: 'ts' };
    });
  },
};

/**
 * Puts test files, with what they import of test/, bench/ and src/, into build/tests/. They take the
 * packages, the built library among them, from where they are. A build removes what was left there.
 *
 * @param files - paths from test/
 * @returns where each of them is now
 */
export async function bundleTests(files: readonly string[]): Promise<string[]> {
  await build({
    absWorkingDir: ROOT,
    entryPoints: files.map((file) => `test/${file}`),
    outbase: 'test',
    outdir: FOLDER,
    bundle: true,
    splitting: true,
    packages: 'external',
    loader: { '.wasm': 'base64' },
    // The library has no side effects, but its tests may.
    ignoreAnnotations: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    // Of a failure, and of what was run, the sources are shown.
    sourcemap: true,
    define: { 'import.meta.url': 'moduleAddress' },
    plugins: [ownAddresses],
    logLevel: 'warning',
  });
  return files.map((file) => `${FOLDER}${file.replace(/\.ts$/, '.js')}`);
}
