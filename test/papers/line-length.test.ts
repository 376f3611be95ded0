import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../helpers/markdown.ts';

// The formatter breaks code, but neither comments nor the names of tests. Other literals may be longer than a
// line: a message is found by its text only while it is in one piece.

const MOST_COLUMNS = 110;
const FOLDERS = ['bench', 'docs', 'kernels', 'scripts', 'src', 'test', 'workers'];
const LITERAL = /(['"`])(?:\\.|(?!\1).)*\1|\/\^?[^/* ].*?[^\\]\/[dgimsuvy]*/g;
const COMMENT = /^\s*(?:\/\*|\*)|(?:^|\s)\/\/ /;
const TITLE = /^\s*(?:test|describe)\(/;

/** The numbers of the lines of a source that are too long. */
function longLines(text: string): number[] {
  return text.split('\n').flatMap((line, i) => {
    const isLong = line.length > MOST_COLUMNS;
    return isLong && (TITLE.test(line) || COMMENT.test(line.replace(LITERAL, ''))) ? [i + 1] : [];
  });
}

test('no comment and no name of a test is longer than a line', () => {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  );
  files.push('esbuild.config.ts');
  const sources = files.filter(
    (file) => /\.(ts|mjs|css)$/.test(file) && !/\/fixtures\/|node_modules/.test(file),
  );
  assert.ok(sources.length > 500);
  const long = sources.flatMap((file) =>
    longLines(readFileSync(join(ROOT, file), 'utf8')).map((line) => `${file}:${line}`),
  );
  assert.ok(long.length === 0, `over ${MOST_COLUMNS} columns:\n${long.join('\n')}`);
});

test('long comments of every kind are found, and long literals are not', () => {
  const long = 'x'.repeat(MOST_COLUMNS);
  const found = [
    `// ${long}`,
    ` * ${long}`,
    `/** ${long} */`,
    `f(); // ${long}`,
    `  test('${long}', () => {`,
  ];
  const free = [`  'https://a // ${long}',`, `/${long}/.test(text)`, `\`\${a} // ${long}\``, '// short'];
  assert.deepEqual(longLines(found.join('\n')), [1, 2, 3, 4, 5]);
  assert.deepEqual(longLines(free.join('\n')), []);
});
