import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { jsonBeforeFiles, spelledAnew } from '../../src/cli/old-spellings.ts';

const words = (line: string) => line.split(' ');

describe('options that had another name', () => {
  const cases: readonly [typed: string, now: string, notes: readonly RegExp[]][] = [
    ['plan a --replicas 6', 'plan a --slots 6', []],
    ['sweep a --replicas=6,7 --ranks 2', 'sweep a --slots=6,7 --ranks 2', []],
    ['plan a --from p.json', 'plan a --start-from p.json', [/^--from: .*--start-from now/]],
    ['replay a --from=docs', 'replay a --start-from=docs', [/^--from: /]],
    ['compare a --from -', 'compare a --start-from -', [/^--from: /]],
    ['plan a --from excel', 'plan a --from excel', []],
    ['plan a --from npy', 'plan a --from npy', []],
    ['plan a --format npy --format=npz', 'plan a --from npy --from=npz', [/^--format: .*--from now/]],
    ['validate a --format npy --from sglang', 'validate a --format npy --from sglang', []],
    ['convert a b --from p.json', 'convert a b --from p.json', []],
    ['synth --tokens 4', 'synth --tokens-per-step 4', [/^--tokens: .*--tokens-per-step now/]],
    ['plan -- --replicas', 'plan -- --replicas', []],
    ['inspect a --replicas 6', 'inspect a --replicas 6', []],
    ['--replicas 6', '--replicas 6', []],
  ];
  for (const [typed, now, notes] of cases) {
    test(typed, async () => {
      const spelled = await spelledAnew(words(typed));
      assert.equal(spelled.args.join(' '), now);
      assert.equal(spelled.notes.length, notes.length, spelled.notes.join());
      for (const [i, note] of notes.entries()) assert.match(spelled.notes[i]!, note);
    });
  }

  test('are named in messages as they were typed', async () => {
    const old = await spelledAnew(words('plan a --replicas 6 --from p.json'));
    assert.equal(old.asTyped('--slots: 6; --slots-per-rank'), '--replicas: 6; --slots-per-rank');
    assert.equal(old.asTyped('--start-from: no'), '--from: no');
    const both = await spelledAnew(words('plan a --replicas 6 --slots=7'));
    assert.equal(both.asTyped('--slots: 7'), '--slots: 7');
    assert.equal((await spelledAnew(['plan'])).asTyped('--slots: 6'), '--slots: 6');
  });

  test('--json took no file: one that follows it is read where one is missing', () => {
    assert.deepEqual(jsonBeforeFiles(words('plan --json a.npy')), words('plan --json=- a.npy'));
    for (const line of ['plan a.npy', 'plan a.npy --json', 'plan --json -o b', 'plan --json - a.npy']) {
      assert.equal(jsonBeforeFiles(words(line)), undefined, line);
    }
  });
});
