import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');

test('the first program of the README stands in its first 40 lines and prints what the README says', () => {
  const [, program, output] = /```js\n([\s\S]*?)```\s*```text\n([\s\S]*?)```/.exec(readme) ?? [];
  assert.ok(program !== undefined && output !== undefined);
  const end = readme.indexOf(output) + output.length;
  assert.ok(readme.slice(0, end).split('\n').length <= 40);
  // Inside the project, so that the package finds itself by its name.
  const folder = mkdtempSync(join(root, 'build', 'readme-'));
  try {
    const file = join(folder, 'program.mjs');
    writeFileSync(file, program);
    assert.equal(execFileSync(process.execPath, [file], { encoding: 'utf8' }), output);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the README shows the real output of npm start', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const [, ...args] = scripts.start.split(' ');
  const out = execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  const shown = /The end of `npm start`:\s*```text\n([\s\S]*?)```/.exec(readme)?.[1];
  assert.ok(shown !== undefined);
  // The planning time differs from run to run.
  const plain = (text: string) => text.replace(/planning time .*/g, 'planning time').trim();
  assert.ok(plain(out).includes(plain(shown)), `the output is\n${out}`);
});
