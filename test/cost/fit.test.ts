import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type CostModelInit, costModel } from 'expert-load-balancer';
import fc from 'fast-check';
import { fitLine, fitSlots, type SlotFit, type SlotMeasurement, slotError } from '../../src/cost/fit.ts';
import { errorsOf, evenCells, unevenCells } from '../helpers/cost.ts';
import { SEED } from '../helpers/library.ts';

/** What a rank with this cost would be measured to take, each time off by up to `noise`. */
function measure(init: CostModelInit, noise: readonly number[]): SlotMeasurement[] {
  const cost = costModel(init);
  const cells = [1, 3, 8].flatMap((active) =>
    [1, 32, 64, 100, 128, 129, 200, 256, 400, 512, 1024].map((tokens) =>
      Array.from({ length: 8 }, (_, slot) => (slot < active ? tokens : 0)),
    ),
  );
  cells.push(Array<number>(8).fill(0), [3000, 10, 10, 10, 10, 10, 10, 10]);
  return cells.map((tokensPerSlot, i) => ({
    tokensPerSlot,
    seconds: cost.rankSeconds(tokensPerSlot) * (1 + noise[i % noise.length]!),
  }));
}

const modelOf = ({ fixedSeconds, slotSeconds }: SlotFit) => costModel({ fixedSeconds, slotSeconds });

describe('the fit of measurements', () => {
  test('finds a roofline again, its tile too, and forecasts cells that were not there', () => {
    const init = fc.record({
      fixedSeconds: fc.integer({ min: 10, max: 100 }).map((us) => us * 1e-6),
      slotSeconds: fc.record({
        floor: fc.integer({ min: 10, max: 60 }).map((us) => us * 1e-6),
        perToken: fc.integer({ min: 80, max: 400 }).map((ns) => ns * 1e-9),
        tile: fc.constantFrom(1, 64, 128),
      }),
    });
    const noises = fc.array(fc.double({ min: -0.01, max: 0.01, noNaN: true }), {
      minLength: 5,
      maxLength: 9,
    });
    fc.assert(
      fc.property(init, noises, (given, noise) => {
        const fit = fitSlots(measure(given, noise));
        assert.ok(fit.error.median < 0.02, `${fit.error.median}`);
        const [truth, found] = [costModel(given), modelOf(fit)];
        for (const slots of [[1, 1, 1, 1], [90, 20, 0, 0, 7], [700, 130, 4], [2000], [384, 384]]) {
          const off = found.rankSeconds(slots) / truth.rankSeconds(slots) - 1;
          assert.ok(Math.abs(off) < 0.06, `${slots}: ${off}`);
        }
      }),
      { seed: SEED, numRuns: 4 },
    );
  });

  test('of the H200 it is the preset, and the table in tiles of 128 that other halves bear out best', () => {
    const fit = fitSlots(evenCells());
    const preset = costModel('h200:deepseek-v3:bf16').toJSON();
    assert.ok('tokens' in fit.slotSeconds && 'tokens' in preset.slotSeconds);
    assert.deepEqual(fit.slotSeconds.tokens, preset.slotSeconds.tokens);
    assert.equal(fit.slotSeconds.tile, 128);
    const figures = [fit.fixedSeconds, ...fit.slotSeconds.seconds];
    [preset.fixedSeconds, ...preset.slotSeconds.seconds].forEach((stated, i) => {
      assert.ok(Math.abs(stated / figures[i]! - 1) < 1e-3, `${stated}, not ${figures[i]}`);
    });
    assert.ok(fit.error.median < 0.06 && fit.error.worst < 0.238, JSON.stringify(fit.error));
    assert.ok(fit.errorOnOthers.median < 0.065 && fit.errorOnOthers.worst < 0.242, JSON.stringify(fit));
    const uneven = slotError(fit, unevenCells());
    assert.ok(uneven.median < 0.068 && uneven.worst < 0.138, JSON.stringify(uneven));
  });

  test('its errors are those of its forecasts', () => {
    const cells = evenCells();
    const fit = fitSlots(cells);
    const cost = modelOf(fit);
    const { median, worst } = errorsOf((tokens) => cost.rankSeconds(tokens), cells);
    assert.ok(Math.abs(median - fit.error.median) < 1e-12 && Math.abs(worst - fit.error.worst) < 1e-12);
  });

  test('a line through transfers has their start and their bandwidth', () => {
    const lines = fc.record({
      start: fc.integer({ min: 1, max: 1000 }),
      rate: fc.integer({ min: 1, max: 900 }),
    });
    fc.assert(
      fc.property(lines, ({ start, rate }) => {
        const measured = [1, 10, 100, 1000].flatMap((mb) =>
          [1, 3].map((rounds) => ({
            rounds,
            bytes: mb * 1e6,
            seconds: rounds * start * 1e-6 + (mb * 1e6) / (rate * 1e9),
          })),
        );
        const fit = fitLine(measured)!;
        assert.ok(Math.abs(fit.latencySeconds / (start * 1e-6) - 1) < 1e-3, `${fit.latencySeconds}`);
        assert.ok(Math.abs(fit.bytesPerSecond / (rate * 1e9) - 1) < 1e-3, `${fit.bytesPerSecond}`);
        assert.ok(fit.error.worst < 1e-3);
      }),
      { seed: SEED, numRuns: 50 },
    );
    assert.equal(fitLine([]), undefined);
    assert.equal(
      fitLine([
        { rounds: 1, bytes: 1, seconds: 1 },
        { rounds: 1, bytes: 1e9, seconds: 0.5 },
      ]),
      undefined,
    );
  });
});
