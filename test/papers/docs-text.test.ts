import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { RECORDING, sharedEplb } from '../helpers/cli.ts';
import { anchorsOf, blocksOf, linksOf, type Page, pages, proseOf, ROOT } from '../helpers/markdown.ts';
import { commandsOf } from '../helpers/shell.ts';

const eplb = sharedEplb();

const MOST_README_LINES = 220;
const MOST_COLUMNS = 110;
const TYPES = join(ROOT, 'dist', 'types');

/** Interfaces whose every field is to be in docs/: what people set. */
const OPTIONS = [
  'ExpertLoadBalancerOptions',
  'AsyncExpertRebalancerOptions',
  'AdaptiveEplbPolicyOptions',
  'AdaptiveCostModel',
  'LocalityAwarePolicyOptions',
  'PlanOptions',
  'RebalanceOptions',
  'CommitOptions',
  'ConnectOptions',
  'ReplayCost',
  'TransferOptions',
  'CoordinatorMachineOptions',
  'MigrationCoordinatorOptions',
  'RankMachineOptions',
  'MigrationRankOptions',
  'ObserveOptions',
  'WatchdogOptions',
  'MetricsTextOptions',
  'EtcdOptions',
];

const all = pages();
const docs = all.filter(({ path }) => path === 'README.md' || path.startsWith('docs/'));
const textOfDocs = docs.map(({ text }) => text).join('\n');

/** All declarations of the built library. */
function declarations(): string {
  const files = readdirSync(TYPES, { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => file.endsWith('.d.ts'))
    .map((file) => readFileSync(join(TYPES, file), 'utf8'))
    .join('\n');
}

/** What is wrong with the links of a page. */
function brokenLinks(page: Page): string[] {
  return linksOf(page).flatMap((link) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [file = '', anchor] = link.split('#');
    const path = file === '' ? page.path : normalize(join(dirname(page.path), file));
    if (!existsSync(join(ROOT, path))) return [`${page.path}: ${link}: there is no ${path}`];
    if (anchor === undefined) return [];
    const text = file === '' ? page.text : readFileSync(join(ROOT, path), 'utf8');
    const anchors = anchorsOf({ path, text });
    return anchors.includes(anchor) ? [] : [`${page.path}: ${link}: ${path} has no such heading`];
  });
}

test('links lead to files and headings that are there', () => {
  assert.deepEqual(all.flatMap(brokenLinks), []);
  assert.ok(all.flatMap(linksOf).length > 50);
  const text =
    '# A `b`, c\n\n[1](#a-b-c) [2](#a-b) [3](missing.md) [4](docs/metrics.md#nothing)\n```sh\n[5](no)\n```\n';
  assert.equal(brokenLinks({ path: 'README.md', text }).length, 3);
});

test('the README is short, and a reader with a recording comes before one who writes code', () => {
  const { text } = all.find(({ path }) => path === 'README.md')!;
  assert.ok(text.split('\n').length <= MOST_README_LINES);
  const order = [
    '<picture>',
    '## Install',
    '## Two commands',
    '## A program',
    '## What it does',
    '## Where to read on',
  ];
  const places = order.map((part) => text.indexOf(part));
  assert.ok(places[0]! > text.indexOf('eplb compare'));
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
  );
});

test('no line of prose is longer than it can be read', () => {
  const ours = all.filter(({ path }) => !path.startsWith('recordings/'));
  const long = ours.flatMap((page) =>
    proseOf(page)
      .split('\n')
      .map((line, i) => ({ line, place: `${page.path}:${i + 1}` }))
      .filter(({ line }) => line.length > MOST_COLUMNS && !/^ *(\||<)|^ {4}|^ *\S+$|\(https?:/.test(line)),
  );
  assert.deepEqual(
    long.map(({ place }) => place),
    [],
  );
});

test('docs/ has every option of the library', () => {
  const declared = declarations();
  const missing = OPTIONS.flatMap((name) => {
    const body = new RegExp(`interface ${name}(?: extends [^{]+)? \\{\\n(.*?)\\n\\}`, 's').exec(
      declared,
    )?.[1];
    assert.ok(body, `there is no ${name}`);
    const fields = [...body.matchAll(/^ {4}readonly (\w+)\??:/gm)].map(([, field]) => field!);
    assert.ok(fields.length > 0, name);
    return fields
      .filter((field) => !new RegExp(`\\b${field}\\b`).test(textOfDocs))
      .map((field) => `${name}.${field}`);
  });
  assert.deepEqual(missing, []);
});

test('docs/errors.md has every code, and no other', () => {
  const union = /type EplbErrorCode =([^;]*);/.exec(declarations())?.[1];
  const codes = [...union!.matchAll(/EPLB_\w+/g)].map(([code]) => code).sort();
  const { text } = docs.find(({ path }) => path === 'docs/errors.md')!;
  const rows = [...text.matchAll(/^\| `(EPLB_\w+)` \|/gm)].map(([, code]) => code!).sort();
  assert.deepEqual(rows, codes);
});

test('docs/ has every command and option of eplb', async () => {
  const help = async (...args: string[]) => (await eplb([...args, '--help'])).stdout;
  const commands = [...(await help()).matchAll(/^ {2}(\w+) {2,}/gm)].map(([, name]) => name!);
  const missing: string[] = [];
  for (const command of commands.filter((name) => name !== 'help')) {
    if (!textOfDocs.includes(`eplb ${command}`)) missing.push(command);
    for (const [, option] of (await help(command)).matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)) {
      if (option !== '--help' && !textOfDocs.includes(option!)) missing.push(`${command} ${option}`);
    }
  }
  assert.ok(commands.length > 5);
  assert.deepEqual(missing, []);
});

test('docs/ARCHITECTURE.md has every folder of src/', () => {
  const { text } = docs.find(({ path }) => path === 'docs/ARCHITECTURE.md')!;
  const order = /^ {4}cli > .*$/m.exec(text)?.[0].trim().split(' > ') ?? [];
  const entries = readdirSync(join(ROOT, 'src'), { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  assert.deepEqual(
    folders.filter((name) => !order.includes(name)),
    [],
  );
  for (const name of folders) assert.ok(text.includes(`src/${name}/`), name);
});

test('the first figure of the README is what inspect says of the recording', async () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const [, shown] = /on average (\d\.\d\d) times the mean load/.exec(readme)!;
  const run = await eplb(['inspect', RECORDING, '--experts', '64', '--ranks', '16', '--json']);
  assert.equal(JSON.parse(run.stdout).noise.peakToAverage.toFixed(2), shown);
});

test('commands are told apart as a shell does', () => {
  const code = [
    'export A=1 B=2   # a comment',
    'vllm serve --config \'{"a": {',
    '  "b # no comment": 1}}\'',
    'eplb plan a.npy \\',
    '  -o b.json    # exit code 2',
    'cat > c.yaml <<EOF',
    'eplb: no command',
    'EOF',
    'A=1 eplb formats',
    '# nothing but a comment',
  ].join('\n');
  const commands = commandsOf(code);
  assert.deepEqual(
    commands.map(({ program }) => program),
    ['export', 'vllm', 'eplb', 'cat', 'eplb'],
  );
  assert.equal(commands[2]!.comment, 'exit code 2');
  assert.ok(commands[1]!.text.includes('# no comment'));
  assert.throws(() => commandsOf("eplb 'plan"), /has no end/);
});

test('blocks of code are told from prose', () => {
  const text = 'a\n\n<!-- prelude -->\n```js\n1;\n```\n- b\n\n  ```sh\n  eplb formats\n  ```\n';
  const blocks = blocksOf({ path: 'a.md', text });
  assert.deepEqual(blocks, [
    { line: 5, language: 'js', code: '1;\n', isPrelude: true },
    { line: 10, language: 'sh', code: 'eplb formats\n', isPrelude: false },
  ]);
  assert.ok(!proseOf({ path: 'a.md', text }).includes('formats'));
});

test('each guarantee in docs/limits.md names a test that is there', () => {
  const limits = readFileSync(join(ROOT, 'docs', 'limits.md'), 'utf8');
  const rows = limits.split('\n').filter((line) => /^\| (?!guarantee|-)/.test(line));
  assert.ok(rows.length >= 20, `${rows.length} guarantees`);
  for (const row of rows) {
    const [, file, name] = /`(test\/[\w/-]+\.test\.ts)`: '([^']+)'/.exec(row) ?? [];
    assert.ok(file !== undefined && name !== undefined, row);
    const titles = [
      ...readFileSync(join(ROOT, file), 'utf8').matchAll(/^\s*(?:test|describe)\(\s*(['`])(.*?)\1,/gms),
    ];
    const isThere = titles.some(([, , title]) => title!.includes(name));
    assert.ok(isThere, `${file} has no test ${name}`);
  }
});
