import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

interface Metafile {
  readonly outputs: Record<string, { readonly inputs: Record<string, unknown> }>;
}

test('each module of the library, its parts and the command is in one file of dist/', () => {
  const { outputs } = JSON.parse(
    readFileSync(new URL('../../build/library.json', import.meta.url), 'utf8'),
  ) as Metafile;
  const places = new Map<string, string[]>();
  for (const [output, { inputs }] of Object.entries(outputs)) {
    for (const input of Object.keys(inputs)) places.set(input, [...(places.get(input) ?? []), output]);
  }
  assert.ok(places.size > 150, `${places.size} modules`);
  assert.deepEqual(
    [...places].filter(([, files]) => files.length > 1),
    [],
  );
});

test('no string goes on over the end of a line: a bundler that indents would change it', () => {
  const dist = new URL('../../dist/', import.meta.url);
  const files = readdirSync(dist).filter((name) => /\.c?js$/.test(name));
  assert.ok(files.length > 40, `${files.length} files`);
  const broken = files.filter((name) =>
    /(?<!\\)(?:\\\\)*\\\n/.test(readFileSync(new URL(name, dist), 'utf8')),
  );
  assert.deepEqual(broken, []);
});
