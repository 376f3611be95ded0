// What an engine waits for: round trips from Python to `eplb serve`, and questions while it is killed.
//
//   npm run bench:engine -- [--rounds 1000] [--steps 10000] [--kills 300] [--step-ms 15] [--timeout-ms 100]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1000' },
    steps: { type: 'string', default: '10000' },
    kills: { type: 'string', default: '300' },
    // From one question to the next: long enough for all kills.
    'step-ms': { type: 'string', default: '15' },
    'timeout-ms': { type: 'string', default: '100' },
  },
});
const path = (file) => fileURLToPath(new URL(file, import.meta.url));
const PACKAGE = path('../plugins/python/eplb_engine/src');

/** A program that says with its first line where it listens. */
async function startProgram(...args) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [address] = await once(createInterface(child.stdout), 'line');
  return { child, address };
}

const start = (args) => startProgram(path('../dist/cli.js'), 'serve', ...args);

/** Runs the questions. @returns what they print */
function ask(...args) {
  const child = spawn('/usr/bin/python3', ['-B', path('engine/questions.py'), PACKAGE, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part) => {
    text += part;
  });
  return once(child, 'close').then(([code]) => {
    if (code !== 0) throw new Error(`questions.py ended with ${code}`);
    return JSON.parse(text);
  });
}

async function kill({ child }) {
  const closed = once(child, 'close');
  child.kill('SIGKILL');
  await closed;
}

/** Milliseconds of processor time of a process and its threads so far. */
async function cpuOf({ child }) {
  const text = await readFile(`/proc/${child.pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

const folder = await mkdtemp(join(tmpdir(), 'eplb-bench-'));
const args = ['--listen', `unix:${join(folder, 's.sock')}`, '--state', join(folder, 'state')];
let service = await start(args);
const control = await startProgram(path('children/bare-server.mjs'), join(folder, 'control.sock'));
try {
  // Declares the group.
  await ask(service.address, 'times', '1', control.address);
  if (Number(values.rounds) > 0) {
    const before = await cpuOf(service);
    const times = await ask(service.address, 'times', values.rounds, control.address);
    const used = (await cpuOf(service)) - before;
    for (const [kind, list] of Object.entries(times)) {
      const sorted = list.sort((a, b) => a - b);
      const [p1, p50, p90, p99] = [0.01, 0.5, 0.9, 0.99].map((share) => at(sorted, share).toFixed(2));
      console.log(`${kind}: p1 ${p1} ms, p50 ${p50} ms, p90 ${p90} ms, p99 ${p99} ms of ${sorted.length}`);
    }
    const each = used / (2 * Number(values.rounds) + 50);
    console.log(`${each.toFixed(2)} ms of processor time of the service a question, both kinds together`);
  }
  if (Number(values.steps) > 0) {
    let isDone = false;
    const asked = ask(
      service.address,
      'steps',
      values.steps,
      values['timeout-ms'],
      values['step-ms'],
    ).finally(() => {
      isDone = true;
    });
    let kills = 0;
    for (; kills < Number(values.kills) && !isDone; kills++) {
      await sleep(100 + ((kills * 37) % 300));
      await kill(service);
      service = await start(args);
    }
    const { plans, refused, late, longestMs } = await asked;
    console.log(`${values.steps} questions, ${kills} kills: ${plans} plans, ${JSON.stringify(refused)}`);
    console.log(
      `longest wait ${longestMs.toFixed(1)} ms of ${values['timeout-ms']} ms; ${late} over 1.5 times that`,
    );
  }
} finally {
  await kill(service);
  await kill(control);
  await rm(folder, { recursive: true, force: true });
}
