import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { AdaptiveEplbPolicy, ExpertLoadBalancer, type LoadSamples } from 'expert-load-balancer';
import { inTempDir, RECORDING, sharedEplb } from '../helpers/cli.ts';
import { npyFile, npyShape } from '../helpers/npy.ts';

const eplb = sharedEplb();

const SIZES = ['--replicas', '80', '--ranks', '16', '--policy', 'adaptive'];

/** Runs of tokens of the shipped recording, at most so many, counted in the plainest way. */
async function lawSamples(maxSamples: number): Promise<LoadSamples> {
  const file = await readFile(RECORDING);
  const [tokens, layers, topK] = npyShape(file) as [number, number, number];
  const ids = file.subarray(-tokens * layers * topK);
  const length = Math.ceil(tokens / maxSamples);
  const numSamples = Math.ceil(tokens / length);
  const data = new Float32Array(numSamples * layers * 64);
  ids.forEach((id, i) => {
    const sample = Math.floor(i / (layers * topK) / length);
    data[(sample * layers + (Math.floor(i / topK) % layers)) * 64 + id]! += 1;
  });
  return { data, numSamples, numLayers: layers, numExperts: 64 };
}

test('--policy adaptive plans from runs of the recording, and tells when the placement stays', async () => {
  await inTempDir(async (dir) => {
    const out = join(dir, 'placement.json');
    const run = await eplb(['plan', RECORDING, '--experts', '64', ...SIZES, '--json', '-o', out]);
    assert.equal(run.code, 0, run.stderr);
    const report = JSON.parse(run.stdout);
    const samples = await lawSamples(64);
    const sizes = { numLayers: 26, numLogicalExperts: 64, numPhysicalExperts: 80, numRanks: 16 };
    const { mapping: previous } = new ExpertLoadBalancer({ ...sizes, threads: 0, windowSize: 1 });
    const { mapping } = new AdaptiveEplbPolicy().planExperts(samples, 80, 1, 1, 16, { previous });
    assert.equal(report.digest, mapping.digest());
    assert.equal(report.kept, null);
    const again = ['plan', RECORDING, '--experts', '64', ...SIZES, '--start-from', out, '--threads', '0'];
    let kept = report;
    // From a file nothing is remembered: each plan goes on from the one before, until nothing pays any more.
    for (let plans = 0; kept.kept === null && plans < 6; plans++) {
      const { moves } = kept;
      kept = JSON.parse((await eplb([...again, '--json', '-o', out])).stdout);
      assert.ok(kept.moves < moves, `${kept.moves} moves after ${moves}`);
    }
    assert.equal(kept.moves, 0);
    assert.match((await eplb(again)).stdout, new RegExp(`kept +the starting placement stays: ${kept.kept}`));
  });
});

test('--policy adaptive joins steps to runs of their mean', async () => {
  await inTempDir(async (dir) => {
    const [steps, layers, experts] = [131, 2, 4];
    const values = Array.from({ length: steps * layers * experts }, (_, i) => (i * 7919) % 101);
    const path = join(dir, 'loads.npy');
    await writeFile(path, npyFile({ descr: '<f4', shape: [steps, layers, experts], values }));
    const run = await eplb([
      'plan',
      path,
      '--replicas',
      '6',
      '--ranks',
      '2',
      '--policy',
      'adaptive',
      '--json',
    ]);
    assert.equal(run.code, 0, run.stderr);
    const sizes = { numLayers: layers, numLogicalExperts: experts, numPhysicalExperts: 6, numRanks: 2 };
    const { mapping: previous } = new ExpertLoadBalancer({ ...sizes, threads: 0, windowSize: 1 });
    const [stepsPerSample, numSamples] = [3, 44]; // 131 steps in at most 64 runs
    const data = new Float32Array(numSamples * layers * experts);
    for (let sample = 0; sample < numSamples; sample++) {
      const length = Math.min(stepsPerSample, steps - sample * stepsPerSample);
      for (let at = 0; at < layers * experts; at++) {
        let sum = 0;
        for (let step = 0; step < length; step++)
          sum += values[(sample * stepsPerSample + step) * layers * experts + at]!;
        data[sample * layers * experts + at] = sum / length;
      }
    }
    const samples = {
      data,
      numSamples,
      numLayers: layers,
      numExperts: experts,
      stepsPerSample,
      newestShare: 2 / 3,
    };
    const { mapping } = new AdaptiveEplbPolicy().planExperts(samples, 6, 1, 1, 2, { previous });
    assert.equal(JSON.parse(run.stdout).digest, mapping.digest());
  });
});
