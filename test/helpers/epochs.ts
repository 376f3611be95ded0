import { mkdir, rm } from 'node:fs/promises';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

type Parts = typeof import('./epoch-parts.ts');

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));

let loaded: Promise<Parts> | undefined;

/** The parts of the service that epochs are, without HTTP, in a file of their own: classes are one in it. */
export function loadEpochs(): Promise<Parts> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Parts> {
  await mkdir(path('../../build'), { recursive: true });
  const outfile = path(`../../build/epochs-${process.pid}.mjs`);
  await build({
    entryPoints: [path('epoch-parts.ts')],
    ...{ outfile, bundle: true, format: 'esm', platform: 'node', target: 'node20', packages: 'external' },
    loader: { '.wasm': 'base64' },
    logLevel: 'error',
  });
  try {
    return await import(pathToFileURL(outfile).href);
  } finally {
    await rm(outfile);
  }
}
