import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';
import * as library from 'expert-load-balancer';

const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url));
// Examples that need nothing but the library: they are run. The others have to be TypeScript at least.
const SELF_CONTAINED = [
  'loads/balancedness.ts',
  'balancer/expert-load-balancer.ts',
  'mapping/expert-mapping.ts',
  'policy/compute.ts',
  'policy/default.ts',
  'transfer/plan-transfer.ts',
];
/** Files are more than the library: what this would do is run in docs/library.md. */
const NEEDS_FILES = /\b(?:read|write)File\(/;
const AsyncFunction = (async () => {}).constructor as new (
  ...args: string[]
) => (...args: unknown[]) => Promise<void>;

interface Example {
  readonly file: string;
  readonly code: string;
}

/** The code of all examples in the comments of the library. */
function examples(): Example[] {
  const files = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  return files.sort().flatMap((file) => {
    const text = readFileSync(SOURCES + file, 'utf8');
    return [...text.matchAll(/^ *\* ```ts\n(.*?)^ *\* ```$/gms)].map((match) => ({
      file,
      code: match[1]!.replace(/^ *\* ?/gm, ''),
    }));
  });
}

/** The value that a comment states: JSON, a fraction such as 2 / 3, or named arrays such as `rank [0, 1]`. */
function statedValue(comment: string): unknown {
  if (/^[[\d][^a-z/]*$/.test(comment)) return JSON.parse(comment);
  const fraction = /^(\d+) \/ (\d+)$/.exec(comment);
  if (fraction) return Number(fraction[1]) / Number(fraction[2]);
  const named = [...comment.matchAll(/(\w+) (\[[\d, -]*\])/g)];
  return named.length === 0
    ? undefined
    : Object.fromEntries(named.map((match) => [match[1], JSON.parse(match[2]!)]));
}

/** Typed arrays as plain ones, at any depth. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, part) => (ArrayBuffer.isView(part) ? Array.from(part as Int32Array) : part)),
  );

test('the library has examples', () => {
  const files = new Set(examples().map(({ file }) => file));
  for (const file of SELF_CONTAINED) assert.ok(files.has(file), `${file} has none`);
});

for (const { file, code } of examples()) {
  test(`the example of ${file} is TypeScript: ${code.split('\n')[0]}`, async () => {
    await transform(code, { loader: 'ts', target: 'node20' });
  });

  if (!SELF_CONTAINED.includes(file) || NEEDS_FILES.test(code)) continue;
  test(`the example of ${file} does what it says: ${code.split('\n')[0]}`, async () => {
    const checked = code.replace(/^(.*); \/\/ (.*)$/gm, (_, expression: string, comment: string) =>
      /^(const|await using) /.test(expression)
        ? `${expression};`
        : `check(${expression}, ${JSON.stringify(comment)});`,
    );
    const check = (value: unknown, comment: string) => {
      const stated = statedValue(comment);
      if (stated === undefined) return;
      assert.deepEqual(plain(value), stated);
    };
    const { code: script } = await transform(checked, { loader: 'ts', target: 'node20' });
    const run = new AsyncFunction('check', ...Object.keys(library), script);
    await run(check, ...Object.values(library));
  });
}
