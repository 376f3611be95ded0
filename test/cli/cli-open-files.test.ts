/** No command ends with a file open. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { eplb, inTempDir } from '../helpers/cli.ts';
import { COST, SIZES, writeLoads } from '../helpers/replay-files.ts';

/** Reports, when the process ends, the files that were left open. */
const TRACK_FILES = new URL('../helpers/track-files.mjs', import.meta.url).href;

const COMMANDS: readonly (readonly string[])[] = [
  ['inspect', 'a.npy'],
  ['plan', 'a.npy', ...SIZES, '-o', 'placement.json'],
  ['plan', 'a.npy', ...SIZES, '--start-from', 'placement.json'],
  ['convert', 'a.npy', 'a.jsonl'],
  ['convert', 'placement.json', 'placement.yaml'],
  ['validate', 'placement.json', '--ranks', '4', '--against', 'a.npy'],
  ['replay', 'a.npy', ...SIZES, '--cost', './cost.json', '--start-from', 'placement.json'],
  ['replay', 'a.jsonl', ...SIZES, '--steps', '2:9', '--cost', './cost.json'],
];

const REFUSED: readonly (readonly string[])[] = [
  ['replay', 'a.npy', ...SIZES, '--cost', './broken.json'],
  ['plan', 'a.npy', ...SIZES, '--start-from', 'broken.json'],
  ['inspect', 'broken.json'],
  ['convert', 'broken.json', 'b.npy'],
];

describe('files that commands open', () => {
  test('are closed when they end, whether they could be read or not', async () => {
    await inTempDir(async (dir) => {
      await writeLoads(dir, 'a.npy', 12);
      await writeFile(join(dir, 'cost.json'), JSON.stringify(COST));
      await writeFile(join(dir, 'broken.json'), '{"logical_count": ');
      const env = { ...process.env, NODE_OPTIONS: `--import ${TRACK_FILES}` };
      for (const [commands, code] of [
        [COMMANDS, 0],
        [REFUSED, 2],
      ] as const) {
        for (const args of commands) {
          const run = await eplb(args, { cwd: dir, env });
          assert.doesNotMatch(run.stderr, /left open/, args.join(' '));
          assert.equal(run.code, code, `${args.join(' ')}: ${run.stderr}`);
        }
      }
    });
  });
});
