/** Ranks in Python: their machine does what the library's does, and an engine of them goes through epochs. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { RankMachine } from 'expert-load-balancer/migration';
import { seededRandom } from '../helpers/arbitraries.ts';
import { inTempDir, runProgram } from '../helpers/cli.ts';
import { ask, serve } from '../helpers/service.ts';

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const PACKAGE = path('../../plugins/python/eplb_engine/src');
const PYTHON = '/usr/bin/python3';
const NUM_RUNS = 150;

const hasPython = (await runProgram(PYTHON, ['-c', ''])).code === 0;
const skip = hasPython ? false : 'no python3';

interface Run {
  readonly incarnation: number;
  readonly holds: { readonly epoch: number; readonly digest: string } | null;
  readonly leadSteps: number;
  readonly calls: (readonly [name: string, args: readonly unknown[]])[];
}

type Call = Run['calls'][number];

/** What brings a machine to its next state. */
function nextCall(machine: RankMachine, token: number, step: number): Call {
  const { status, holds, operation } = machine.view();
  const receive = (message: object): Call => ['receive', [{ incarnation: 1, ...message }]];
  if (status === 'fenced') {
    if (holds === null) return receive({ type: 'restore', epoch: 0, digest: 'd0' });
    return receive({ type: 'admit', token, firstStep: step, ...holds });
  }
  const epoch = holds!.epoch + 1;
  switch (operation?.state) {
    case undefined:
      return receive({ type: 'prepare', token, layers: [0, 1], epoch, digest: `d${epoch}` });
    case 'preparing':
      return ['prepared', [operation.token, [0, 1]]];
    case 'prepared':
      return receive({ type: 'arm', token: operation.token });
    case 'armed':
      return receive({ type: 'activate', token: operation.token, epoch, firstStep: step + 1 });
    case 'swapping':
      return ['swapped', [operation.token]];
    default:
      return ['beginStep', [step]];
  }
}

/** What may come in at any time. */
function anyCalls(machine: RankMachine, token: number, step: number, random: () => number): readonly Call[] {
  const below = (end: number) => Math.floor(random() * end);
  const near = Math.max(0, token - below(3));
  const open = machine.openToken ?? near;
  const epoch = below(3);
  const held = { epoch, digest: `d${epoch}` };
  const layers = [[0], [0, 1]][below(2)]!;
  const messages = [
    { type: 'admit', token: near, firstStep: below(3), ...held },
    { type: 'prepare', token: near, layers, ...held },
    { type: 'arm', token: near },
    { type: 'activate', token: near, epoch, firstStep: step + below(4) },
    { type: 'abort', token: open },
    { type: 'restore', ...held },
    { type: 'fence', token: near },
  ];
  const incarnation = random() < 0.1 ? 0 : 1;
  return [
    ...messages.map((message): Call => ['receive', [{ incarnation, ...message }]]),
    ['tick', []],
    ['prepared', [open, [0]]],
    ['refused', [open, [1], 'no room']],
    ['failed', [open, [0], 'x'.repeat(below(1200))]],
    ['restored', [held]],
    ['notRestored', ['none']],
    ['beginStep', [step]],
  ];
}

function randomRun(random: () => number): { readonly run: Run; readonly outputs: readonly unknown[] } {
  const holds = random() < 0.2 ? null : { epoch: 0, digest: 'd0' };
  const options = { incarnation: 1, holds, leadSteps: 1 + Math.floor(2 * random()) };
  const machine = new RankMachine({ numLayers: 2, ...options });
  const run: Run = { ...options, calls: [] };
  const outputs: unknown[] = [];
  let step = 0;
  for (let token = 1; token <= 25; token++) {
    const others = anyCalls(machine, token, step, random);
    const isNext = random() < 0.6;
    const call = isNext ? nextCall(machine, token, step) : others[Math.floor(random() * others.length)]!;
    const [name, args] = call;
    const work = machine[name as 'tick'] as (...all: readonly unknown[]) => object;
    const output = work.apply(machine, [...args] as []);
    const { answer = null, ...rest } = output as { answer?: { status: string } };
    if (answer?.status === 'serve') step++;
    run.calls.push(call);
    outputs.push({ answer, ...rest });
  }
  return { run, outputs };
}

test('the machine of a rank is the same in Python', { skip }, async () => {
  const random = seededRandom(5);
  const runs = Array.from({ length: NUM_RUNS }, () => randomRun(random));
  const wanted = runs.map(({ outputs }) => outputs);
  const seen = JSON.stringify(wanted);
  for (const kind of [
    'prepared',
    'refused',
    'armed',
    'confirmed',
    'hello',
    'swap',
    'restore',
    'drop',
    'serve',
  ]) {
    assert.ok(seen.includes(`"${kind}"`), `${kind} never happened`);
  }
  await inTempDir(async (dir) => {
    const file = join(dir, 'runs.json');
    await writeFile(file, JSON.stringify(runs.map(({ run }) => run)));
    const ran = await runProgram(PYTHON, ['-B', path('epoch_ranks.py'), PACKAGE, 'machine', file]);
    assert.equal(ran.code, 0, ran.stderr);
    for (const [i, outputs] of (JSON.parse(ran.stdout) as unknown[][]).entries()) {
      assert.deepEqual(outputs, JSON.parse(JSON.stringify(wanted[i])), JSON.stringify(runs[i]!.run));
    }
  });
});

test('an engine of ranks in Python goes through epochs, a refusal, a death and a return', {
  skip,
}, async () => {
  const running = await serve.startService({ listen: '127.0.0.1:0' });
  try {
    const migration = { resendMs: 50 };
    const sizes = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 9, numRanks: 3 };
    await ask(running.address, 'PUT', '/v1/groups/g', { ...sizes, migration });
    const args = ['-B', path('epoch_ranks.py'), PACKAGE, 'ranks', running.address, 'g'];
    const ran = await runProgram(PYTHON, args);
    assert.equal(ran.code, 0, ran.stderr);
    const { digest, slots, mixed, wrong, epochs, ...found } = JSON.parse(ran.stdout);
    assert.deepEqual([mixed, wrong, epochs], [[], [], [0, 1, 2, 3]]);
    assert.deepEqual(slots, Array(3).fill([digest, digest]));
    const { refused, ...others } = found;
    assert.deepEqual([refused.cause, refused.rank], ['refused', 1]);
    assert.match(refused.text, /no room/);
    assert.deepEqual(others, {
      ...{ active: 'active', silent: 'fenced', unreachable: 'EpochError' },
      refusal: [409, 'EPLB_STALE'],
    });
  } finally {
    await running.close();
  }
});
