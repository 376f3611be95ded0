import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { inTempDir, type Run, sharedEplb } from '../helpers/cli.ts';
import { npyFile } from '../helpers/npy.ts';
import { assertRefused } from '../helpers/refusal.ts';
import { type ZipMember, zipFile } from '../helpers/zip.ts';

const eplb = sharedEplb();

const STEPS = 6;
const data = npyFile({
  descr: '<f4',
  shape: [STEPS, 2, 4],
  values: Array.from({ length: STEPS * 8 }, (_, i) => 1 + ((i * 5) % 7)),
});
const archive = (more: Partial<ZipMember> = {}) => zipFile([{ name: 'a.npy', data, ...more }]);

const SIZES = ['--replicas', '6', '--ranks', '2'];
/** Every command that reads loads, and what it writes. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  plan: ['plan', 'a.npz', ...SIZES, '-o', 'out.json'],
  convert: ['convert', 'a.npz', 'out.npy'],
  inspect: ['inspect', 'a.npz', '--json', 'out.json'],
  replay: ['replay', 'a.npz', ...SIZES, '--json', 'out.json'],
  compare: ['compare', 'a.npz', ...SIZES, '--policies', 'static,default', '--json', 'out.json'],
};

const NOTE = /only a part of it was read, so that the file's checksums could not be looked at/;

function run(args: readonly string[], bytes: Uint8Array, check: (run: Run, files: string[]) => void) {
  return inTempDir(async (dir) => {
    await writeFile(join(dir, 'a.npz'), bytes);
    check(await eplb(args, { cwd: dir }), await readdir(dir));
  });
}

describe('a damaged archive', { concurrency: 2 }, () => {
  for (const [name, args] of Object.entries(COMMANDS)) {
    test(`ends eplb ${name}, which writes nothing`, () =>
      run(args, archive({ central: { checksum: 1 }, local: { checksum: 1 } }), (result, files) => {
        assertRefused(
          result,
          'FORMAT',
          /^recording: "(\/.*\/)?a\.npz": member "a\.npy": damaged: its checksum is [\da-f]{8}, .* 00000001$/,
        );
        assert.deepEqual(files, ['a.npz']);
      }));

    test(`read in part by eplb ${name} is not told, and a note says so`, async () => {
      await run([...args, '--steps', ':5'], archive(), ({ stdout, code }) => {
        assert.equal(code, 0);
        assert.match(stdout, NOTE);
      });
      await run([...args, '--steps', ':'], archive(), ({ stdout, code }) => {
        assert.equal(code, 0);
        assert.doesNotMatch(stdout, NOTE);
      });
    });
  }
});
