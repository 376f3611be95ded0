/** Completion in the shells themselves: bash is everywhere, zsh and fish where they are installed. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { eplbMany, inTempDir, type Run, runProgram } from '../helpers/cli.ts';

/** What is typed up to the cursor, as words, and what has to be offered for the last. */
const CASES: readonly (readonly [
  words: readonly string[],
  offered: readonly string[],
  not?: readonly string[],
])[] = [
  [['co'], ['compare', 'completion', 'convert'], ['plan']],
  [['plan', '--s'], ['--slots', '--slots-per-rank', '--start-from', '--steps'], ['--ranks']],
  [
    ['plan', 'loads.npy', '--policy', ''],
    ['static', 'default', 'locality', 'adaptive'],
  ],
  [['plan', '--policy', 'ad'], ['adaptive'], ['default']],
  [['plan', '--start-from', 'a '], ['a map.json']],
  [['plan', 'lo'], ['loads.npy'], ['a map.json']],
  [['plan', '--slots', ''], [], ['loads.npy']],
  [['validate', 'a map.json', '--for', 's'], ['sglang'], ['vllm']],
  [['convert', 'loads.npy', 'out', '--to', 'csv'], ['csv-counts']],
  [['synth', '--model', 'deepseek'], ['deepseek-v3']],
  [['synth', '--nu'], ['--num-steps']],
  [
    ['completion', ''],
    ['bash', 'zsh', 'fish'],
  ],
];

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

describe('completion', () => {
  const scripts: Record<string, string> = {};

  before(() =>
    inTempDir(async (dir) => {
      const shells = ['bash', 'zsh', 'fish'];
      const runs = await eplbMany(
        shells.map((shell) => ({ args: ['completion', shell] })),
        dir,
      );
      for (const [i, { code, stdout, stderr }] of runs.entries()) {
        assert.deepEqual([code, stderr], [0, '']);
        scripts[shells[i]!] = stdout;
      }
    }),
  );

  /** Runs a program of a shell with the script beside it, in a folder with two files. */
  const inShell = (shell: string, args: (script: string) => readonly string[]): Promise<Run> =>
    inTempDir(async (dir) => {
      for (const file of ['loads.npy', 'a map.json']) await writeFile(join(dir, file), '');
      const script = join(dir, '.eplb');
      await writeFile(script, scripts[shell]!);
      // A shell that waits for more than it gets would wait for ever.
      return runProgram('timeout', ['20', shell, ...args(script)], {
        cwd: dir,
        env: { ...process.env, HOME: dir },
      });
    });

  const check = (stdout: string) => {
    const blocks = stdout.split('---\n').slice(1);
    assert.equal(blocks.length, CASES.length, stdout);
    for (const [i, [words, offered, not = []]] of CASES.entries()) {
      const lines = blocks[i]!.split('\n').map((line) => line.split('\t')[0]!.replaceAll('\\ ', ' ').trim());
      for (const one of offered)
        assert.ok(lines.includes(one), `${words.join(' ')}: no ${one} in ${blocks[i]}`);
      for (const one of not) assert.ok(!lines.includes(one), `${words.join(' ')}: ${one} in ${blocks[i]}`);
    }
  };

  test('in bash', async () => {
    const calls = CASES.map(([words]) => {
      const all = ['eplb', ...words].map(quoted).join(' ');
      return `COMP_WORDS=(${all}); COMP_CWORD=${words.length}; _eplb; echo ---; printf '%s\\n' "\${COMPREPLY[@]}"`;
    });
    const run = await inShell('bash', (script) => ['--norc', '-euc', `. ${script}\n${calls.join('\n')}`]);
    assert.deepEqual([run.code, run.stderr], [0, '']);
    check(run.stdout);
  });

  test('in fish', async (t) => {
    if ((await isThere('fish')) === false) return t.skip('no fish');
    const lines = CASES.map(([words]) => {
      const typed = ['eplb', ...words].map(fishWord).join(' ');
      return `echo ---; complete -C ${quoted(typed).replaceAll(`'\\''`, `\\'`)}`;
    });
    const run = await inShell('fish', (script) => [
      '--no-config',
      '-c',
      `source ${script}\n${lines.join('\n')}`,
    ]);
    assert.deepEqual([run.code, run.stderr], [0, '']);
    check(run.stdout);
  });

  test('in zsh', async (t) => {
    if ((await isThere('zsh')) === false) return t.skip('no zsh');
    const run = await inShell('zsh', (script) => ['-fc', zshProgram(script)]);
    assert.deepEqual([run.code, run.stderr], [0, '']);
    check(run.stdout);
  });
});

/** A word as it is typed. */
function fishWord(word: string): string {
  return word.replaceAll(' ', '\\ ');
}

async function isThere(shell: string): Promise<boolean> {
  return runProgram(shell, ['-c', 'true']).then(
    () => true,
    () => false,
  );
}

/**
 * zsh completes at a terminal only: one of its own, in which each line is typed and its completion asked for.
 * What compadd is called with is written down in place of what is shown.
 */
function zshProgram(script: string): string {
  const typed = CASES.map(([words]) => `eplb ${words.map(fishWord).join(' ')}`);
  return `
zmodload zsh/zpty
zpty z zsh -f -i
say() { zpty -w z "$1" }
wait_for() { local text all=; while zpty -r z text; do all+=$text; [[ $all == *$1* ]] && break; done }
say 'PS1=; autoload -Uz compinit; compinit -D; source ${script}'
say 'compadd() { local -a found; if [[ $* == *-[ODA]* ]]; then builtin compadd "$@"; else builtin compadd -O found "$@"; print -rl -- $found >> .found; fi }'
say 'show() { print -r -- --- >> .found; zle complete-word 2>/dev/null; print -r -- "d"one; zle kill-whole-line }'
say 'zle -C complete-word complete-word _main_complete; zle -N show; bindkey "^T" show'
${typed.map((line) => `zpty -nw z ${quoted(line)}; zpty -nw z $'\\C-t'; wait_for done`).join('\n')}
zpty -d z
cat .found
`;
}
