import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { costModel, costPresetNames } from 'expert-load-balancer';
import { bytesPerExpert, MODEL_SHAPES } from 'expert-load-balancer/replay';
import { errorsOf, evenCells, h200Measurements, slowestLoad, unevenCells } from '../helpers/cost.ts';
import { refusal } from '../helpers/library.ts';

describe('the H200 as measured', () => {
  const cost = costModel('h200:deepseek-v3:bf16');
  const forecast = (tokensPerSlot: number[]) => cost.rankSeconds(tokensPerSlot);

  test('is within 10 % of the measured cells in the median, and within 25 % of all', () => {
    const cells = evenCells();
    assert.equal(cells.length, 79);
    const { median, worst } = errorsOf(forecast, cells);
    assert.ok(median < 0.06, `${median}`);
    assert.ok(worst < 0.238, `${worst}`);
  });

  test('so it is for cells that it was not fitted to, where one slot has most of the tokens', () => {
    const { median, worst } = errorsOf(forecast, unevenCells());
    assert.ok(median < 0.068, `${median}`);
    assert.ok(worst < 0.138, `${worst}`);
  });

  // Of these only the load of the slowest rank is known: its slots are taken to have the same share each.
  test('the slowest of sixteen ranks is within 17 %, and within 4 % where there are many tokens', () => {
    const { ranks16 } = h200Measurements();
    assert.equal(ranks16.length, 16);
    for (const one of ranks16) {
      const slots = Array<number>(5).fill(slowestLoad(one, 16) / 5);
      const off = (cost.rankSeconds(slots) * 1e6) / one.gemm_max_us - 1;
      assert.ok(Math.abs(off) < (one.scale === 64 ? 0.04 : 0.17), `${JSON.stringify(one)}: ${off}`);
    }
  });

  test('a whole layer on four devices is within 6 % in the median, and 19 % at worst', () => {
    const cells = h200Measurements().layers4.map((one) => {
      const load = slowestLoad(one, 4);
      return { tokensPerSlot: [load], seconds: one.layer_us * 1e-6 };
    });
    assert.equal(cells.length, 24);
    const { median, worst } = errorsOf(([load]) => {
      const slots = Array<number>(20).fill(load! / 20);
      return cost.rankSeconds(slots, { tokensReceived: load! * 0.75 });
    }, cells);
    assert.ok(median < 0.06, `${median}`);
    assert.ok(worst < 0.19, `${worst}`);
  });

  test('moves of weights in one batch or in rounds are within 20 %', () => {
    // Of those that go one at a time between other pairs several are under way at once: no rounds.
    const moves = h200Measurements().moves.filter(({ pattern }) => !pattern.startsWith('one at a time'));
    assert.equal(moves.length, 6);
    for (const { pattern, moves: count, rounds, ms } of moves) {
      const ofOneRank = pattern.startsWith('3 rings') ? 3 : pattern.startsWith('hot') ? count : 1;
      const seconds = cost.moveSeconds(ofOneRank * cost.bytesPerExpert, 'intraNode', rounds);
      assert.ok(Math.abs((seconds * 1e3) / ms - 1) < 0.2, `${pattern}: ${seconds} s`);
    }
  });

  test('is that of every model with experts of this size, and no other', () => {
    assert.equal(cost.toJSON().basis, 'measured');
    assert.deepEqual(
      { ...costModel('h200:kimi-k2:bf16').toJSON(), name: '' },
      { ...cost.toJSON(), name: '' },
    );
    for (const other of ['h200:deepseek-v3:fp8', 'h100:deepseek-v3:bf16', 'h200:qwen3-235b:bf16'])
      assert.equal(costModel(other).toJSON().basis, 'computed', other);
  });

  test('what is computed from peak figures is near what was measured', () => {
    // GLM-5's experts have 6/7 of the weights: the computed curve scaled by that, beside the measured one.
    const computed = costModel('h200:glm-5:bf16');
    for (const tokens of [1, 100, 128, 256, 512, 1024, 4096]) {
      const ratio = computed.slotSeconds(tokens) / (cost.slotSeconds(tokens) * (6 / 7));
      assert.ok(ratio > 0.93 && ratio < 1.1, `${tokens} tokens: ${ratio}`);
    }
  });
});

describe('presets', () => {
  test('every device, model and precision that go together make one, with its own name', () => {
    const { devices, models, precisions } = costPresetNames();
    assert.deepEqual(devices, ['h100', 'h200', 'b200', 'mi300x', 'ascend-910b']);
    assert.deepEqual(
      models,
      MODEL_SHAPES.map(({ name }) => name),
    );
    for (const device of devices) {
      for (const model of models) {
        for (const precision of precisions) {
          const name: string = `${device}:${model}:${precision}`;
          if (device === 'ascend-910b' && precision === 'fp8') {
            assert.throws(
              () => costModel(name),
              refusal('range', 'EPLB_RANGE', /"fp8" is not of device ascend/),
            );
            continue;
          }
          const cost = costModel(name.toUpperCase());
          assert.equal(cost.name, name);
          assert.ok(cost.slotSeconds(1) > 1e-7 && cost.slotSeconds(1) < 1e-3, name);
          assert.ok(cost.slotSeconds(1e4) > 2 * cost.slotSeconds(1), name);
        }
      }
    }
  });

  test('without a precision it is that in which the model is published', () => {
    for (const shape of MODEL_SHAPES) {
      const cost = costModel(`b200:${shape.name}`);
      assert.equal(cost.bytesPerExpert, bytesPerExpert(shape), shape.name);
      assert.equal(costModel(cost.name).name, cost.name);
    }
    assert.equal(costModel('ascend-910b:deepseek-v3').name, 'ascend-910b:deepseek-v3:int8');
  });

  test('names that are none are refused with those that are', () => {
    const cases: readonly [string, RegExp][] = [
      ['', /"" is not DEVICE:MODEL\[:PRECISION\]: devices h100, .*models deepseek-v3/],
      ['h200', /"h200" is not DEVICE:MODEL/],
      ['h200:deepseek-v3:bf16:x', /is not DEVICE:MODEL/],
      ['h300:deepseek-v3', /^device: "h300" is none of h100, h200/],
      ['h200:gpt-5', /^model: "gpt-5" is none of deepseek-v3/],
      ['h200:deepseek-v3:fp64', /^precision: "fp64" is none of bf16/],
      ['h200:deepseek-v3:', /^precision: "" is none of/],
    ];
    for (const [name, message] of cases) {
      assert.throws(() => costModel(name), refusal('range', 'EPLB_RANGE', message), name);
    }
  });
});
