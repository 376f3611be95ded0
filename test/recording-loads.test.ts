import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { resolveRange, stepRange } from '../src/cli/option-values.ts';
import { interpret } from '../src/cli/recording/interpret.ts';
import { sumLoads } from '../src/cli/recording/loads.ts';
import type { NumberArray, Tensor } from '../src/cli/recording/tensor.ts';

function tensor(data: NumberArray, shape: number[], namedLoads = false): Tensor {
  return { data, shape, format: 'test', namedLoads };
}

const zeros = (...shape: number[]) =>
  tensor(new Uint8Array(shape.reduce((product, size) => product * size, 1)), shape);

describe('telling routes from loads', () => {
  test('two dimensions are loads', () => {
    const recording = interpret(zeros(3, 8), undefined);
    assert.ok(recording.kind === 'loads');
    assert.deepEqual([recording.numSteps, recording.numLayers, recording.numExperts], [1, 3, 8]);
    assert.deepEqual([recording.hasSteps, recording.assumed], [false, false]);
    assert.equal(interpret(zeros(3, 8), 8).kind, 'loads');
  });

  test('three dimensions are loads when the last is the number of experts', () => {
    const recording = interpret(zeros(5, 3, 8), 8);
    assert.ok(recording.kind === 'loads');
    assert.deepEqual([recording.numSteps, recording.numLayers, recording.numExperts], [5, 3, 8]);
    assert.equal(recording.assumed, false);
  });

  test('three dimensions are routes when the last is smaller, whatever type holds the ids', () => {
    for (const data of [new Uint8Array(30), new Int16Array(30), new Float32Array(30)]) {
      const recording = interpret(tensor(data, [5, 3, 2]), 8);
      assert.ok(recording.kind === 'routes');
      assert.deepEqual(
        [recording.numTokens, recording.numLayers, recording.topK, recording.numExperts],
        [5, 3, 2, 8],
      );
    }
  });

  test('three dimensions without a number of experts are loads, and said to be assumed when they could be routes', () => {
    const whole = interpret(zeros(5, 3, 2), undefined);
    assert.ok(whole.kind === 'loads' && whole.assumed);
    const fractions = interpret(tensor(new Float32Array(30).fill(0.5), [5, 3, 2]), undefined);
    assert.ok(fractions.kind === 'loads' && !fractions.assumed);
    const named = interpret(tensor(new Float64Array(30), [5, 3, 2], true), undefined);
    assert.ok(named.kind === 'loads' && !named.assumed);
  });

  test('what fits neither is refused', () => {
    const fractions = tensor(new Float32Array(30).fill(0.5), [5, 3, 2]);
    const bad: [Tensor, number | undefined, RegExp][] = [
      [zeros(3, 8), 64, /holds loads of 8 experts; --experts says 64/],
      [zeros(5, 3, 8), 4, /--experts says 4, the last dimension is larger/],
      [fractions, 8, /not all whole/],
      [tensor(new Float64Array(30), [5, 3, 2], true), 8, /holds loads of 2 experts/],
      [zeros(8), undefined, /has 1 dimensions/],
      [zeros(2, 2, 2, 2), undefined, /has 4 dimensions/],
      [tensor(new Uint8Array(0), []), undefined, /has 0 dimensions/],
      [zeros(0, 3, 8), 8, /holds nothing/],
      [zeros(3, 0), undefined, /holds nothing/],
    ];
    for (const [input, experts, message] of bad) {
      assert.throws(() => interpret(input, experts), { code: 'EPLB_SHAPE', message });
    }
  });
});

describe('summing loads', () => {
  test('routes are counted over the chosen tokens', () => {
    const sizes = fc.record({
      tokens: fc.integer({ min: 1, max: 20 }),
      layers: fc.integer({ min: 1, max: 4 }),
      topK: fc.integer({ min: 1, max: 4 }),
      experts: fc.integer({ min: 5, max: 9 }),
    });
    fc.assert(
      fc.property(
        sizes,
        fc.nat(),
        fc.nat(),
        fc.nat(1000),
        ({ tokens, layers, topK, experts }, a, b, seed) => {
          const from = a % tokens;
          const to = from + 1 + (b % (tokens - from));
          const ids = Int32Array.from(
            { length: tokens * layers * topK },
            (_, i) => (i * 31 + seed) % experts,
          );
          const expected = new Array<number>(layers * experts).fill(0);
          ids.forEach((id, i) => {
            const token = Math.floor(i / (layers * topK));
            const layer = Math.floor(i / topK) % layers;
            if (token >= from && token < to) expected[layer * experts + id]! += 1;
          });
          const loads = sumLoads(interpret(tensor(ids, [tokens, layers, topK]), experts), from, to);
          assert.deepEqual(Array.from(loads.data), expected);
          assert.deepEqual([loads.numLayers, loads.numExperts], [layers, experts]);
        },
      ),
    );
  });

  test('loads are added over the chosen steps', () => {
    const recording = interpret(tensor(Float32Array.from([1, 2, 10, 20, 100, 200]), [3, 1, 2]), undefined);
    assert.deepEqual(Array.from(sumLoads(recording, 0, 3).data), [111, 222]);
    assert.deepEqual(Array.from(sumLoads(recording, 1, 2).data), [10, 20]);
  });

  test('progress is told until all is done, in pieces', () => {
    const told: number[] = [];
    sumLoads(interpret(zeros(3, 1024, 1024), 1024), 0, 3, (done) => told.push(done));
    assert.deepEqual(told, [1, 2, 3]);
  });

  test('an id that is no expert is named with its token and layer', () => {
    for (const [id, shown] of [
      [8, '8'],
      [-1, '-1'],
      [200, '200'],
    ] as const) {
      const ids = new Int16Array(24);
      ids[17] = id;
      const recording = interpret(tensor(ids, [4, 3, 2]), 8);
      const message = new RegExp(`expert id ${shown} at token 2, layer 2; ids go from 0 to 7`);
      assert.throws(() => sumLoads(recording, 0, 4), { code: 'EPLB_RANGE', message });
      assert.doesNotThrow(() => sumLoads(recording, 0, 2));
    }
  });

  test('a load that is no load is named with its step, layer, expert and value', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1]) {
      const data = new Float64Array(24);
      data[19] = value;
      const stepped = interpret(tensor(data, [4, 3, 2]), 2);
      const message = new RegExp(`load ${value} at step 3, layer 0, expert 1; a load must be finite`);
      assert.throws(() => sumLoads(stepped, 0, 4), { code: 'EPLB_LOAD', message });
      const flat = interpret(tensor(data, [12, 2]), 2);
      const at = new RegExp(`load ${value} at layer 9, expert 1;`);
      assert.throws(() => sumLoads(flat, 0, 1), { code: 'EPLB_LOAD', message: at });
    }
  });

  test('sums beyond float32 are refused', () => {
    const recording = interpret(tensor(Float64Array.from([1, 3e38, 1, 3e38]), [2, 1, 2]), 2);
    assert.throws(() => sumLoads(recording, 0, 2), {
      code: 'EPLB_LOAD',
      message: /layer 0, expert 1 add up to 6e\+38/,
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

  test('is refused when it is no range', () => {
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
