import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inTempDir } from '../helpers/cli.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Has the check of the code look at files that are planted in a folder of their own, and returns what it
 * says.
 */
async function lint(files: ReadonlyMap<string, string>): Promise<string> {
  const { vcs: _, $schema: _schema, ...config } = JSON.parse(readFileSync(join(ROOT, 'biome.json'), 'utf8'));
  return inTempDir(async (dir) => {
    writeFileSync(join(dir, 'biome.json'), JSON.stringify(config));
    for (const [path, text] of files) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), text);
    }
    const biome = join(ROOT, 'node_modules/@biomejs/biome/bin/biome');
    const args = [biome, 'lint', '--colors=off', '--max-diagnostics=none', '.'];
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: dir, encoding: 'utf8' });
    return stdout + stderr;
  });
}

/** The rooms of src/, the ground first, as docs/ARCHITECTURE.md has them. */
function rooms(): string[] {
  const text = readFileSync(join(ROOT, 'docs/ARCHITECTURE.md'), 'utf8');
  const line = /^ {4}(cli(?: > [\w-]+)+)$/m.exec(text)?.[1];
  assert.ok(line !== undefined);
  return line.split(' > ').reverse();
}

test('an import from a room above is refused, of types too, and one from below is not', async () => {
  const order = rooms();
  const planted = new Map<string, { text: string; isUp: boolean }>();
  for (const [i, room] of order.entries()) {
    if (room === 'index') continue;
    for (const [k, other] of order.entries()) {
      if (k === i) continue;
      const from = other === 'index' ? '../index.ts' : `../${other}/any.ts`;
      const text = `import type { Any } from '${from}';\nexport type Other = Any;\n`;
      planted.set(`src/${room}/from-${other}.ts`, { text, isUp: k > i });
    }
  }
  const said = await lint(new Map([...planted].map(([path, { text }]) => [path, text])));
  for (const [path, { isUp }] of planted) {
    assert.equal(said.includes(`${path}:1:`), isUp, `${path}\n${said.slice(0, 2000)}`);
  }
});

test('a circle of imports is refused, of types too', async () => {
  const files = new Map([
    ['src/core/a.ts', "import type { B } from './b.ts';\nexport type A = B | 1;\n"],
    ['src/core/b.ts', "import type { A } from './a.ts';\nexport type B = A | 2;\n"],
    ['src/core/c.ts', "import type { A } from './a.ts';\nexport type C = A;\n"],
  ]);
  const said = await lint(files);
  assert.match(said, /src\/core\/a\.ts:1:.*noImportCycles/);
  assert.match(said, /src\/core\/b\.ts:1:.*noImportCycles/);
  assert.doesNotMatch(said, /src\/core\/c\.ts:/);
});

test('every folder of src/ is one of the rooms', () => {
  const folders = readdirSync(join(ROOT, 'src'), { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  );
  assert.deepEqual(
    folders.map(({ name }) => name).sort(),
    rooms()
      .filter((room) => room !== 'index')
      .sort(),
  );
});

/** The policies that code names, comments left out. */
function policiesNamed(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return code.match(/\b(adaptive|locality)|(Adaptive|Locality)[A-Z]\w*/g) ?? [];
}

test('engine and balancer name no policy but the one that is taken when none is given', () => {
  assert.deepEqual(policiesNamed("/** As 'adaptive'. */\nif (request.kernel === 'adaptive') plan();"), [
    'adaptive',
  ]);
  assert.deepEqual(policiesNamed("import { LocalityAwarePolicy } from '../policy/locality.ts';"), [
    'LocalityAwarePolicy',
    'locality',
  ]);
  for (const room of ['engine', 'balancer']) {
    for (const file of readdirSync(join(ROOT, 'src', room))) {
      const text = readFileSync(join(ROOT, 'src', room, file), 'utf8');
      assert.deepEqual(policiesNamed(text), [], `${room}/${file}`);
    }
  }
});
