import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eplb, inTempDir } from '../helpers/cli.ts';
import { SIZES, writeLoads } from '../helpers/replay-files.ts';

const SAID = /20 steps are too few for plans every 32 steps: none takes effect.*--interval of 19 or fewer/;

describe('a recording that is too short for a plan', { concurrency: 2 }, () => {
  const json = async (args: readonly string[]) =>
    inTempDir(async (dir) => {
      await writeLoads(dir, 'a.npy', 20);
      const { stdout, code, stderr } = await eplb([...args, '--json'], { cwd: dir });
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout);
    });

  test('says so in place of rows that are all the same', () =>
    inTempDir(async (dir) => {
      await writeLoads(dir, 'a.npy', 20);
      const { stdout } = await eplb(['compare', 'a.npy', ...SIZES], { cwd: dir });
      assert.match(stdout, SAID);
      assert.match(stdout, /^ all +0\.\d{4}/m);
      assert.doesNotMatch(stdout, /^ (static|default|adaptive) /m);
    }));

  test('is noted in the JSON of replay and sweep, for what is too long alone', async () => {
    const replayed = await json(['replay', 'a.npy', ...SIZES]);
    assert.match(replayed.recording.notes.join(), SAID);
    const sweep = ['sweep', 'a.npy', '--slots', '20', '--ranks', '4', '--interval', '8,32,20'];
    const swept = await json(sweep);
    assert.match(swept.recording.notes.join(), /plans every 20, 32 steps/);
    // What plans in time, or by what it sees, is not meant.
    for (const more of [
      ['--interval', '19'],
      ['--interval', '32', '--threshold', '2'],
    ]) {
      const { recording } = await json(['replay', 'a.npy', ...SIZES, ...more]);
      assert.doesNotMatch(recording.notes.join(), /too few/);
    }
  });
});
