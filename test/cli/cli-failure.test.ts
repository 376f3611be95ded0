import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { failureOf } from '../../src/cli/failure.ts';
import { EplbError, EplbRangeError, EplbTypeError } from '../../src/core/errors.ts';
import { CLI, RECORDING, runProgram } from '../helpers/cli.ts';

const HELP = 'eplb --help';

describe('how the command ends', () => {
  test('wrong input: one line with the code, exit code 2', () => {
    const errors = [
      new EplbRangeError('EPLB_LOAD', 'recording: load -1'),
      new EplbTypeError('EPLB_KIND', 'recording: load -1'),
      new EplbError('EPLB_FILE', 'recording: load -1'),
    ];
    for (const error of errors) {
      assert.deepEqual(failureOf(error, HELP, false), {
        exitCode: 2,
        text: `eplb: recording: load -1 (${error.code})\n`,
      });
    }
  });

  test('a fault that is not the input: exit code 1', () => {
    for (const code of [
      'EPLB_THREADS',
      'EPLB_RUNTIME',
      'EPLB_WORKER_LOST',
      'EPLB_CLOSED',
      'EPLB_TIMEOUT',
      'EPLB_CANCELLED',
    ] as const) {
      assert.equal(failureOf(new EplbError(code, 'gone'), HELP, false).exitCode, 1);
    }
  });

  test('what the machine or Node does not give: exit code 1, one line with what it is and a code', () => {
    const cases = [
      ['EAGAIN', 'THREADS', /no more threads or processes can be had \(ulimit -u\)/],
      ['ERR_ACCESS_DENIED', 'RUNTIME', /the permission model forbids it/],
      ['ENOMEM', 'MEMORY', /no more memory can be had/],
      ['ENOSPC', 'FILE', /no space is left on the device/],
      ['EMFILE', 'FILE', /too many files are open/],
    ] as const;
    for (const [system, code, what] of cases) {
      const { exitCode, text } = failureOf(
        Object.assign(new Error('spawn\nx'), { code: system }),
        HELP,
        false,
      );
      assert.equal(exitCode, 1);
      assert.match(text, new RegExp(`^eplb: .*: spawn\\\\nx \\(EPLB_${code}\\)\n$`));
      assert.match(text, what);
    }
  });

  test('a fault of the program: exit code 1, the stack only when asked for', () => {
    const error = new Error('one\ntwo\u001b[31m');
    const { exitCode, text } = failureOf(error, HELP, false);
    assert.equal(exitCode, 1);
    assert.equal(
      text,
      'eplb: unexpected error: one\\ntwo\\u001b[31m; EPLB_DEBUG=1 shows where (EPLB_INTERNAL)\n',
    );
    assert.match(failureOf(error, HELP, true).text, /cli-failure\.test\.ts/);
    for (const thrown of ['text', undefined, null, 7])
      assert.equal(failureOf(thrown, HELP, true).exitCode, 1);
  });
});

test('a reader that has seen enough is not an error', async () => {
  const args = [CLI, 'plan', RECORDING, '--experts', '64', '--replicas', '80', '--ranks', '16'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  assert.deepEqual(await once(child, 'close'), [0, null]);
  assert.equal(stderr, '');
});

test('without WebAssembly, that is what is said', async () => {
  const args = ['--jitless', CLI, 'plan', RECORDING, '--experts', '64', '--replicas', '80', '--ranks', '16'];
  const { code, stdout, stderr } = await runProgram(process.execPath, args);
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(
    stderr,
    /^(Warning: .*\n)?eplb: Node runs without WebAssembly, as with --jitless: .* \(EPLB_RUNTIME\)\n$/,
  );
});
