import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eplbMany, inTempDir } from '../helpers/cli.ts';
import { SIZES, writeLoads } from '../helpers/replay-files.ts';

const SAID =
  /Too short to say: no plan every 32 steps took effect whole within the 20 steps replayed\. Record more/;

test('a recording too short for a plan says so, once, in place of rows that are all the same', () =>
  inTempDir(async (dir) => {
    await writeLoads(dir, 'a.npy', 20);
    const sweep = ['sweep', 'a.npy', '--slots', '20', '--ranks', '4', '--interval'];
    const replay = ['replay', 'a.npy', ...SIZES];
    const lines = [
      ['compare', 'a.npy', ...SIZES],
      [...sweep, '32,20'],
      [...replay, '--json'],
      [...sweep, '8,32,20', '--json'],
      // What plans in time, or by what it sees, is not meant.
      [...replay, '--interval', '8', '--json'],
      [...replay, '--interval', '32', '--threshold', '1.01', '--json'],
    ];
    const runs = await eplbMany(
      lines.map((args) => ({ args })),
      dir,
    );
    assert.deepEqual(
      runs.map(({ code, stderr }) => [code, stderr]),
      lines.map(() => [0, '']),
    );
    const [compared, allShort] = runs.map(({ stdout }) => stdout) as [string, string];
    assert.match(compared, SAID);
    assert.match(compared, /^ all +0\.\d{4}/m);
    assert.doesNotMatch(compared, /^ (static|default|adaptive) /m);
    assert.equal(compared.match(/took effect/g)?.length, 1);
    assert.match(
      allShort,
      /\n Too short to say: no plan every 20 or 32 steps took effect whole within the steps that/,
    );
    assert.equal(allShort.match(/took effect/g)?.length, 1);

    const [replayed, swept, inTime, seen] = runs.slice(2).map(({ stdout }) => JSON.parse(stdout));
    assert.equal(replayed.advice.kind, 'too short');
    assert.match(replayed.advice.sentence, SAID);
    // Some are too short: the advice is of the others, and counts no more.
    assert.match(
      swept.recording.notes.join(),
      /too short for some: no plan every 20 or 32 steps took effect/,
    );
    assert.match(
      swept.sweep.advice,
      /^(Balance with|Do not balance: of 1 configurations? that plan in time, )/,
    );
    for (const { recording, advice } of [inTime, seen]) {
      assert.doesNotMatch(recording.notes.join(), /too short/);
      assert.notEqual(advice.kind, 'too short');
    }
  }));
