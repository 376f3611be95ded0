import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram } from '../helpers/cli.ts';
import { assertShown, testPage, WATCHDOG_MS } from '../helpers/doc-page.ts';
import { blocksOf, pages, ROOT } from '../helpers/markdown.ts';

// Every block of code in the README and in docs/ is run or compiled; those of docs/engines/ in
// docs-engines.test.ts.

const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');

for (const page of pages()) if (!page.path.startsWith('docs/engines/')) testPage(page);

test('npm start prints what the README shows of the first command', { timeout: WATCHDOG_MS }, async () => {
  const readme = pages().find(({ path }) => path === 'README.md')!;
  const shown = blocksOf(readme).find(({ language }) => language === 'text')!.code;
  // Neither the build before it, nor the settings of the npm that runs the tests.
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('npm_')));
  const run = await runProgram('npm', ['start', '--silent', '--ignore-scripts'], { cwd: ROOT, env });
  assert.equal(run.code, 0, run.stderr);
  assertShown(run.stdout, shown);
});

test('the TypeScript of all pages compiles under strict', { timeout: WATCHDOG_MS }, async () => {
  const dir = await mkdtemp(join(ROOT, 'build', 'docs-'));
  try {
    const files = pages().flatMap((page) =>
      blocksOf(page)
        .filter(({ language }) => language === 'ts')
        .map(({ line, code }) => ({ name: `${page.path.replaceAll(/\W/g, '-')}-${line}.ts`, code })),
    );
    assert.ok(files.length > 0);
    for (const { name, code } of files) await writeFile(join(dir, name), code);
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2022',
      lib: ['es2022', 'esnext.disposable'],
      types: ['node'],
      strict: true,
      noEmit: true,
    };
    const config = { compilerOptions, files: files.map(({ name }) => name) };
    await writeFile(join(dir, 'tsconfig.json'), JSON.stringify(config));
    const run = await runProgram(process.execPath, [TSC, '-p', dir]);
    assert.deepEqual(run, { code: 0, stdout: '', stderr: '' });
  } finally {
    await rm(dir, { recursive: true });
  }
});
