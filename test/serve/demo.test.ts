/** What `npm run demo` shows, on any machine: also while its service is killed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { ROOT } from '../helpers/markdown.ts';

/** It is found there too that nothing is left running: what has its output keeps that open. */
async function demo(
  args: readonly string[],
  onLine: (line: string, stop: (signal?: NodeJS.Signals) => void) => void = () => {},
  env: NodeJS.ProcessEnv = process.env,
) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'scripts/demo.ts', ...args], {
    ...{ cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], env },
  });
  const lines: string[] = [];
  createInterface(child.stdout!).on('line', (line) => {
    lines.push(line);
    onLine(line, (signal = 'SIGINT') => child.kill(signal));
  });
  let errors = '';
  child.stderr!.setEncoding('utf8').on('data', (text) => {
    errors += text;
  });
  const [code] = await once(child, 'close');
  return { code, errors, text: lines.join('\n') };
}

test('the demo shows a plan, a death, its return, and another domain, and survives its service', async () => {
  let pid = 0;
  let [isBack, isOther] = [false, false];
  const { code, text, errors } = await demo(['--steps-per-second', '40'], (line, stop) => {
    pid = Number(/^service +process (\d+)/.exec(line)?.[1] ?? pid);
    if (pid > 0 && /epoch 1 weights verified/.test(line)) {
      process.kill(pid, 'SIGKILL');
      pid = -1;
    }
    // Which of both comes first depends on the machine.
    isBack ||= /rank 3 serves again/.test(line);
    isOther ||= /the load has changed/.test(line);
    if (isBack && isOther) stop();
  });
  assert.equal(code, 0, `${text}\n${errors}`);
  const shown = [
    /^dashboard +http:\/\/127\.0\.0\.1:\d+$/,
    /^step 0: 4 ranks serve epoch 0$/,
    /^step \d+: epoch 1 activated on 4 ranks: \d+ experts from other ranks/,
    /^step 100: rank 3 died: SIGKILL$/,
    /^step \d+: repaired without rank 3: /,
    /^step \d+: rank 3 serves again/,
    /^ steps +\d+ served$/,
    /^ gain +.* predicted, .* realised a step$/,
    /^ death +rank 3 at step 100: .* repaired after .*, back after .*$/,
    /^ verified +[\d,]+ slots by content, 0 wrong; 0 steps at two epochs$/,
  ];
  assert.match(text, /^step 210: the load has changed: since step 200 [\d.]+% of the tokens go to other/m);
  assert.match(text, /^the service has died, and is started again$/m);
  const lines = text.split('\n');
  let at = 0;
  for (const wanted of shown) {
    const found = lines.slice(at).findIndex((line) => wanted.test(line));
    assert.ok(found >= 0, `${wanted} is not in, from line ${at} on:\n${text}`);
    at += found + 1;
  }
});

test('the demo ends by itself after some seconds, and refuses what is no number of them', async () => {
  const { code, text, errors } = await demo(['--seconds', '1']);
  assert.equal(code, 0, errors);
  assert.match(text, /^ verified /m);
  const wrong = await demo(['--seconds', 'soon']);
  assert.deepEqual([wrong.code, wrong.text], [2, '']);
  assert.match(wrong.errors, /^demo: --seconds: soon is not a number of seconds\n$/);
});

test('a demo that is killed leaves no process and no file behind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'eplb-demo-test-'));
  try {
    let address = '';
    let wasKilled = false;
    const { text } = await demo(
      [],
      (line, stop) => {
        address = /^dashboard +(http\S+)$/.exec(line)?.[1] ?? address;
        if (!/ranks serve epoch 0$/.test(line)) return;
        stop('SIGKILL');
        wasKilled = true;
      },
      { ...process.env, TMPDIR: folder },
    );
    // All that had its output have ended by now.
    assert.ok(wasKilled, text);
    await assert.rejects(fetch(`${address}/healthz`));
    const left = await readdir(folder);
    assert.deepEqual(
      left.filter((name) => !name.startsWith('tsx-')),
      [],
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
