import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CoactivationRecorder } from 'expert-load-balancer';
import fc from 'fast-check';
import { resolveRange, stepRange } from '../../src/cli/option-values.ts';
import { Progress } from '../../src/cli/progress.ts';
import { rangeOfSteps, stepsIn, sumLoads, unitOf } from '../../src/cli/recorded-loads.ts';
import type { OpenOptions } from '../../src/formats/open-options.ts';
import { type NpyParts, npyFile } from '../helpers/npy.ts';
import { withRecording } from '../helpers/recordings.ts';

/** A progress bar that keeps what it is told, and draws nothing. */
class Told extends Progress {
  readonly stages: [label: string, total: number, unit: string][] = [];
  readonly updates: number[] = [];

  constructor() {
    super(process.stderr, Number.POSITIVE_INFINITY);
  }

  override begin(label: string, total: number, unit: string): void {
    this.stages.push([label, total, unit]);
  }

  override update(done: number): void {
    this.updates.push(done);
  }
}

/** The summed loads of a range of a .npy file. */
function sumOf(parts: NpyParts, options: OpenOptions, range?: [number, number], told = new Told()) {
  return withRecording({ 'a.npy': npyFile(parts) }, 'a.npy', options, async (recording) => {
    const of = recording.routes?.numTokens ?? (await stepsIn(recording, told));
    const [from, to] = range ?? [0, of];
    return sumLoads(recording, { from, to, of }, told);
  });
}

describe('summing loads', () => {
  const sizes = fc.record({
    tokens: fc.integer({ min: 1, max: 20 }),
    layers: fc.integer({ min: 1, max: 4 }),
    topK: fc.integer({ min: 1, max: 4 }),
    experts: fc.integer({ min: 5, max: 9 }),
  });

  test('steps of routes are the tokens that a step has, the last one those that are left', async () => {
    const problem = fc.tuple(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 25 }),
      fc.nat(),
      fc.nat(),
    );
    await fc.assert(
      fc.asyncProperty(problem, async ([tokens, tokensPerStep, a, b]) => {
        const values = Array.from({ length: tokens * 2 * 2 }, (_, i) => (i * 31) % 7);
        const file = npyFile({ descr: '<i4', shape: [tokens, 2, 2], values });
        const options = { numExperts: 7, tokensPerStep, allowDuplicates: true };
        await withRecording({ 'a.npy': file }, 'a.npy', options, async (recording) => {
          const of = await stepsIn(recording);
          const from = a % of;
          const to = from + 1 + (b % (of - from));
          const expected = new Array<number>(14).fill(0);
          for await (const { loads } of recording.steps({ from, to })) {
            for (const [i, load] of loads.entries()) expected[i]! += load;
          }
          const loads = await sumLoads(recording, rangeOfSteps(recording, { from, to, of }), new Told());
          assert.deepEqual(Array.from(loads.data), expected);
        });
      }),
      { numRuns: 30 },
    );
  });

  test('routes are counted over the chosen tokens, and the pairs among them', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), fc.nat(), fc.nat(1000), async (problem, a, b, seed) => {
        const { tokens, layers, topK, experts } = problem;
        const from = a % tokens;
        const to = from + 1 + (b % (tokens - from));
        const ids = Int32Array.from({ length: tokens * layers * topK }, (_, i) => (i * 31 + seed) % experts);
        const expected = new Array<number>(layers * experts).fill(0);
        ids.forEach((id, i) => {
          const token = Math.floor(i / (layers * topK));
          const layer = Math.floor(i / topK) % layers;
          if (token >= from && token < to) expected[layer * experts + id]! += 1;
        });
        const wanted = new CoactivationRecorder({ numLayers: layers, numExperts: experts });
        wanted.record(ids.subarray(from * layers * topK, to * layers * topK), to - from, topK);

        const file = npyFile({ descr: '<i4', shape: [tokens, layers, topK], values: Array.from(ids) });
        await withRecording({ 'a.npy': file }, 'a.npy', { numExperts: experts }, async (recording) => {
          assert.equal(unitOf(recording), 'token');
          const pairs = new CoactivationRecorder({ numLayers: layers, numExperts: experts });
          const loads = await sumLoads(recording, { from, to, of: tokens }, new Told(), { pairs });
          assert.deepEqual(Array.from(loads.data), expected);
          assert.deepEqual([loads.numLayers, loads.numExperts], [layers, experts]);
          assert.deepEqual(pairs.matrix().data, wanted.matrix().data);
        });
      }),
      { numRuns: 50 },
    );
  });

  test('loads are added over the chosen steps', async () => {
    const parts: NpyParts = { descr: '<f4', shape: [3, 1, 2], values: [1, 2, 10, 20, 100, 200] };
    assert.deepEqual(Array.from((await sumOf(parts, {})).data), [111, 222]);
    assert.deepEqual(Array.from((await sumOf(parts, {}, [1, 2])).data), [10, 20]);
  });

  test('progress is told in megabytes until all is done', async () => {
    const values = new Array<number>(3 * 1024 * 1024).fill(1);
    const told = new Told();
    await sumOf({ descr: '|u1', shape: [3, 1024, 1024], values }, {}, undefined, told);
    assert.deepEqual(told.stages, [['reading', 4, 'MB']]);
    assert.deepEqual(told.updates, [2, 3, 4]);
    const part = new Told();
    await sumOf({ descr: '|u1', shape: [3, 1024, 1024], values }, {}, [1, 2], part);
    assert.deepEqual([part.stages, part.updates], [[['reading', 2, 'MB']], [2]]);
  });

  test('sums beyond float32 are refused', async () => {
    const parts: NpyParts = { descr: '<f8', shape: [2, 1, 2], values: [1, 3e38, 1, 3e38] };
    await assert.rejects(sumOf(parts, {}), {
      code: 'EPLB_LOAD',
      message: /layer 0, expert 1 add up to 6\.?\d*e\+38/,
    });
  });
});

describe('--steps', () => {
  const range = (text: string, length: number) => resolveRange(stepRange(text), length, 'token');

  test('is half-open, either side may be empty, negative counts from the end', () => {
    assert.deepEqual(range('2:5', 10), { from: 2, to: 5 });
    assert.deepEqual(range(':5', 10), { from: 0, to: 5 });
    assert.deepEqual(range('5:', 10), { from: 5, to: 10 });
    assert.deepEqual(range(':', 10), { from: 0, to: 10 });
    assert.deepEqual(range('-3:', 10), { from: 7, to: 10 });
    assert.deepEqual(range(':-3', 10), { from: 0, to: 7 });
    assert.deepEqual(resolveRange(undefined, 10, 'token'), { from: 0, to: 10 });
  });

  test('is refused when it is not a range', () => {
    for (const text of ['', '5', '1-5', 'a:b', '1:2:3', '1.5:2', '1e1:', ' 1:2', '0x1:']) {
      assert.throws(() => stepRange(text), { code: 'EPLB_OPTION' }, text);
    }
  });

  test('is refused outside the recording, reversed or empty', () => {
    for (const text of ['0:11', '11:', '-11:', ':-11', '99999999999999999999:']) {
      assert.throws(() => range(text, 10), { code: 'EPLB_RANGE', message: /reaches outside/ }, text);
    }
    for (const text of ['5:2', '5:5', '10:', ':0']) {
      assert.throws(() => range(text, 10), { code: 'EPLB_RANGE', message: /selects no token/ }, text);
    }
  });
});
