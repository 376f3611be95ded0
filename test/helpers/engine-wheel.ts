import assert from 'node:assert/strict';
import { cp, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { runProgram } from './cli.ts';
import { type Block, blocksOf, ROOT } from './markdown.ts';
import { commandsOf, type ShellCommand } from './shell.ts';

/** Debian's, which has its python3-torch. */
export const PYTHON = '/usr/bin/python3';

/** Found, not imported: that takes a second. */
const FIND = `import importlib.util as u, sys
sys.exit(not all(map(u.find_spec, ('torch', 'setuptools', 'wheel', 'pip'))))`;

/** Whether the plug-ins can be built and run here. Where NEED_TORCH is set, they have to be. */
export async function canRunPlugins(): Promise<boolean> {
  const hasTorch = (await runProgram(PYTHON, ['-c', FIND])).code === 0;
  assert.ok(hasTorch || process.env.NEED_TORCH === undefined, 'python3-torch has to be here');
  return hasTorch;
}

/** Builds the wheel of the plug-ins. @returns the folder that it is unpacked in */
export async function unpackedWheel(dir: string, wheelName: string): Promise<string> {
  // Built from a copy: setuptools writes beside its sources.
  await cp(join(ROOT, 'plugins/python/eplb_engine'), join(dir, 'source'), { recursive: true });
  const pip = ['-m', 'pip', '-q', 'wheel', '--no-build-isolation', '--no-deps', '--no-index'];
  const built = await runProgram(PYTHON, [...pip, '-w', dir, join(dir, 'source')]);
  assert.equal(built.code, 0, built.stderr);
  const unpacked = await runProgram(PYTHON, [
    '-m',
    'zipfile',
    '-e',
    join(dir, wheelName),
    join(dir, 'package'),
  ]);
  assert.equal(unpacked.code, 0, unpacked.stderr);
  return join(dir, 'package');
}

/** What a page says of a plug-in. */
export interface Recipe {
  /** The file's name of the wheel that is installed. */
  readonly wheelName: string;
  /** What `eplb serve` is started with. */
  readonly serveArgs: readonly string[];
  /** `EPLB_ENGINE_URL=unix:$PWD/eplb.sock` */
  readonly variables: string;
  /** What is started last. */
  readonly last: ShellCommand;
}

/** The recipe of a page for an engine that plans while it serves. */
export async function recipeOf(engine: string): Promise<Recipe> {
  const path = `docs/engines/${engine}.md`;
  const text = await readFile(join(ROOT, path), 'utf8');
  const section = text.slice(text.search(/^## Plan (while it serves|again and again)$/m));
  const blocks = blocksOf({ path, text: section });
  const commands = blocks.flatMap(({ code }: Block) => commandsOf(code));
  const only = (pattern: RegExp) => {
    const found = commands.filter((command) => pattern.test(command.text));
    assert.equal(found.length, 1, `${path}: ${pattern}`);
    return found[0]!.text;
  };
  assert.match(only(/^python3 -m pip wheel/), / plugins\/python\/eplb_engine$/);
  return {
    wheelName: basename(only(/^python3 -m pip install/)),
    serveArgs: only(/^eplb serve/)
      .split(' ')
      .slice(2),
    variables: only(/^export EPLB_ENGINE_URL/).replace('export ', ''),
    last: commands.at(-1)!,
  };
}
