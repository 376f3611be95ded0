import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type ExpertMapping, planTransfer, type TransferOptions } from 'expert-load-balancer';
import fc from 'fast-check';
import { runProgram } from '../helpers/cli.ts';
import { SEED } from '../helpers/library.ts';
import { transferProblems } from '../helpers/transfer.ts';

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));
/** Debian's, which has its python3-torch. */
const PYTHON = '/usr/bin/python3';
const BUNDLE = [
  { name: 'scales', bytes: 12 },
  { name: 'weights', bytes: 8 },
  { name: 'id', bytes: 8 },
] as const;

const rowsOf = ({ phyToLog, numPhysicalExperts, numLayers }: ExpertMapping) =>
  Array.from({ length: numLayers }, (_, layer) =>
    Array.from(phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts)),
  );

test('four processes over gloo move what the plan says, byte for byte', { timeout: 120_000 }, async (t) => {
  const found = await runProgram(PYTHON, ['-c', 'import torch']);
  if (found.code !== 0) {
    assert.equal(process.env.NEED_TORCH, undefined, 'python3-torch has to be here');
    return t.skip("no PyTorch in Debian's python3");
  }
  const ofFour = fc.sample(
    transferProblems.filter(({ options }) => options.numRanks === 4 && options.deadRanks.length < 3),
    { numRuns: 24, seed: SEED },
  );
  const extra: Partial<TransferOptions>[] = [{ schedule: 'batch' }, {}];
  const problems = ofFour.flatMap(
    ({ from, to, options: { bytesPerExpert, maxBytesInFlight, ...options } }, i) =>
      extra.map((more) => {
        const isBatch = more.schedule === 'batch' && options.mode !== 'inPlace' && !options.relay;
        const plan = planTransfer(from, to, {
          ...options,
          deadRanks: i === 0 ? [] : options.deadRanks,
          bundle: BUNDLE,
          ...(isBatch && options.staging === undefined ? more : {}),
        });
        return { plan: plan.toJSON(), from: rowsOf(from), to: rowsOf(to) };
      }),
  );
  assert.ok(problems.some(({ plan }) => plan.schedule === 'batch' && plan.numTransfers > 0));
  assert.ok(problems.some(({ plan }) => plan.mode === 'inPlace' && plan.numTransfers > 0));
  assert.ok(problems.some(({ plan }) => plan.layers.some(({ hostLoads }) => hostLoads.length > 0)));
  const folder = await mkdtemp(join(tmpdir(), 'eplb-torch-'));
  try {
    const file = join(folder, 'problems.json');
    await writeFile(file, JSON.stringify(problems));
    const run = await runProgram(PYTHON, [path('execute_plans.py'), path('../../plugins/python'), file]);
    assert.equal(run.code, 0, run.stderr);
    const { answers } = JSON.parse(run.stdout) as {
      answers: { wrong: number[][]; refused: string[]; same: boolean }[];
    };
    assert.equal(answers.length, 4);
    for (const { wrong, refused, same } of answers) {
      assert.deepEqual(wrong, [], 'problem, layer, rank, slot');
      assert.deepEqual(refused, ['plan: the ranks do not have the same one']);
      assert.ok(same);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
