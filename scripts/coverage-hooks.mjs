import { readFile } from 'node:fs/promises';
import { register } from 'node:module';

// tsx rewrites dynamic imports, in dist/ too, and hides the way from there to src/: this loads dist/ as it
// is.

const DIST = new URL('../dist/', import.meta.url).href;

export async function load(url, context, nextLoad) {
  if (!url.startsWith(DIST) || !url.endsWith('.js')) return nextLoad(url, context);
  return { format: 'module', source: await readFile(new URL(url)), shortCircuit: true };
}

// The hooks that are registered last are asked first.
if (!import.meta.url.includes('?hooks')) register(`${import.meta.url}?hooks`);
