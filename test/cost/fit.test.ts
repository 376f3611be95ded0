import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { costModel } from 'expert-load-balancer';
import fc from 'fast-check';
import {
  fitLine,
  fitMoves,
  fitSlots,
  type LinkMeasurement,
  type SlotFit,
  type SlotMeasurement,
  slotError,
} from '../../src/cost/fit.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { errorsOf, evenCells, unevenCells } from '../helpers/cost.ts';
import { SEED } from '../helpers/library.ts';

/** Tokens of ranks of three sizes: even, some slots idle, drawn ones: as the script measures, but fewer. */
function ranksOf(seed: number, numDrawn: number): number[][] {
  const random = seededRandom(seed);
  const even = [1, 16, 96, 128, 160, 192, 256, 320, 512, 1024].map((tokens) => Array<number>(8).fill(tokens));
  const idle = [1, 3, 5].map((active) => Array.from({ length: 8 }, (_, slot) => (slot < active ? 4 : 0)));
  const drawn = Array.from({ length: numDrawn }, (_, i) =>
    Array.from({ length: [8, 4, 2][i % 3]! }, () =>
      Math.round(2 ** (11 * ((i + 0.5) / numDrawn)) * Math.exp(1.5 * random() - 1)),
    ),
  );
  return [Array<number>(8).fill(0), ...even, ...idle, ...drawn];
}

/** What ranks with this cost would be measured to take, each time off by up to `noise`. */
function measure(time: (slots: readonly number[]) => number, noise: number, seed = 1): SlotMeasurement[] {
  const random = seededRandom(seed);
  return ranksOf(seed, 60).map((tokensPerSlot) => ({
    tokensPerSlot,
    seconds: time(tokensPerSlot) * (1 + noise * (2 * random() - 1)),
  }));
}

/** Median and worst error of a fit on loads that it has not seen. */
function judged(fit: SlotFit, time: (slots: readonly number[]) => number) {
  const others = ranksOf(77, 90).slice(14);
  return slotError(
    fit,
    others.map((tokensPerSlot) => ({ tokensPerSlot, seconds: time(tokensPerSlot) })),
  );
}

const modelOf = ({ fixedSeconds, slotSeconds }: SlotFit) => costModel({ fixedSeconds, slotSeconds });

describe('the fit of measurements', () => {
  test('finds a roofline again, its tile too, and forecasts cells that were not there', () => {
    const init = fc.record({
      fixedSeconds: fc.integer({ min: 10, max: 100 }).map((us) => us * 1e-6),
      slotSeconds: fc.record({
        floor: fc.integer({ min: 10, max: 60 }).map((us) => us * 1e-6),
        perToken: fc.integer({ min: 80, max: 400 }).map((ns) => ns * 1e-9),
        tile: fc.constantFrom(1, 64, 128, 256),
      }),
    });
    fc.assert(
      fc.property(init, fc.integer({ min: 1, max: 9 }), (given, seed) => {
        const truth = costModel(given);
        const time = (slots: readonly number[]) => truth.rankSeconds(slots);
        const fit = fitSlots(measure(time, 0.02, seed));
        const { median, worst } = judged(fit, time);
        assert.ok(median < 0.01 && worst < 0.03, `${JSON.stringify(fit)}: ${median}, ${worst}`);
        const found = fit.slotSeconds.tile!;
        // Where the floor is as long as a tile's tokens, smaller tiles are not seen.
        const isSeen =
          given.slotSeconds.tile > 1 && given.slotSeconds.perToken * 256 > given.slotSeconds.floor;
        if (isSeen) assert.equal(found, given.slotSeconds.tile);
      }),
      { seed: SEED, numRuns: 12 },
    );
  });

  test('finds a measured table again, though it is not a roofline', () => {
    const truth = costModel({
      fixedSeconds: 40e-6,
      slotSeconds: {
        tokens: [64, 256, 512, 2048],
        seconds: [20e-6, 50e-6, 120e-6, 300e-6],
        tile: 64,
      },
    });
    const time = (slots: readonly number[]) => truth.rankSeconds(slots);
    const fit = fitSlots(measure(time, 0.03));
    assert.ok('tokens' in fit.slotSeconds, JSON.stringify(fit));
    const { median, worst } = judged(fit, time);
    assert.ok(median < 0.03 && worst < 0.08, `${median}, ${worst}`);
  });

  test('a device whose tiles follow the mean of its slots is met on average, though it falls there', () => {
    // Tiles of 128 while the mean is at most that, then of 256 that take little longer.
    const time = (slots: readonly number[]) => {
      const tokens = slots.reduce((sum, own) => sum + own, 0);
      const [tile, seconds] = tokens <= 128 * slots.length ? [128, 29e-6] : [256, 34e-6];
      return slots.reduce((sum, own) => sum + Math.ceil(own / tile) * seconds, 45e-6);
    };
    assert.ok(time([129, 129, 129, 129]) < time([160, 96, 129, 127]));
    const fit = fitSlots(measure(time, 0.02));
    const { median, worst } = judged(fit, time);
    assert.ok(median < 0.05 && worst < 0.35, `${median}, ${worst}`);
    const told = fit.errorOnOthers.median;
    assert.ok(told > median / 3 && told < 3 * median, `held out ${told}, on others ${median}, ${worst}`);
  });

  test('of few cells it makes the simpler curve, and a rank without tokens says nothing', () => {
    const truth = costModel({ fixedSeconds: 50e-6, slotSeconds: { floor: 30e-6, perToken: 0.2e-6 } });
    const cells = [[1], [8, 8], [64, 64, 64], [200], [400, 100], [800, 20], [1600], [300, 300, 300]];
    const measured = cells.map((tokensPerSlot) => ({
      tokensPerSlot,
      seconds: truth.rankSeconds(tokensPerSlot),
    }));
    const fit = fitSlots(measured);
    const { median, worst } = judged(fit, (slots) => truth.rankSeconds(slots));
    assert.ok(median < 0.05 && worst < 0.15, `${JSON.stringify(fit)}: ${median}, ${worst}`);
    assert.deepEqual(fitSlots([{ tokensPerSlot: [0, 0], seconds: 1e-6 }, ...measured]), fit);
  });

  test('a cell that is measured again and again is never its own judge', () => {
    const cell = { tokensPerSlot: [64, 64], seconds: 1e-4 };
    const fit = fitSlots([cell, cell, cell, cell, { ...cell, tokensPerSlot: [64, 0], seconds: 5e-5 }]);
    // Fits to one of the two cells have never seen the other.
    assert.ok(fit.errorOnOthers.worst > fit.error.worst, JSON.stringify(fit));
  });

  test('of the H200 it is a table in tiles of 128, near the preset', () => {
    const fit = fitSlots(evenCells());
    const preset = costModel('h200:deepseek-v3:bf16').toJSON();
    assert.ok('tokens' in fit.slotSeconds && 'tokens' in preset.slotSeconds);
    assert.deepEqual(fit.slotSeconds.tokens, preset.slotSeconds.tokens);
    assert.equal(fit.slotSeconds.tile, 128);
    // The preset was fitted for the least fourth powers of errors, with a rank without tokens.
    const figures = [fit.fixedSeconds, ...fit.slotSeconds.seconds];
    [preset.fixedSeconds, ...preset.slotSeconds.seconds].forEach((stated, i) => {
      assert.ok(Math.abs(stated / figures[i]! - 1) < 0.1, `${stated}, not ${figures[i]}`);
    });
    assert.ok(fit.error.median < 0.06 && fit.error.worst < 0.255, JSON.stringify(fit.error));
    assert.ok(fit.errorOnOthers.median < 0.06 && fit.errorOnOthers.worst < 0.275, JSON.stringify(fit));
    const uneven = slotError(fit, unevenCells());
    assert.ok(uneven.median < 0.065 && uneven.worst < 0.15, JSON.stringify(uneven));
  });

  test('its errors are those of its forecasts', () => {
    const cells = evenCells().filter(({ tokensPerSlot }) => tokensPerSlot[0]! > 0);
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

  test('moves are no faster than their links, and the error is that of what is written', () => {
    // Each transfer takes a start of 100 us and its bytes at 200 GB/s.
    const transfers = [1, 4, 16].flatMap((count) =>
      [1, 4].map((rounds) => ({
        rounds,
        bytes: count * 1e8,
        seconds: rounds * 1e-4 + (count * 1e8) / 200e9,
      })),
    );
    const free = fitMoves(transfers, 400e9)!;
    assert.ok(Math.abs(free.moves.bandwidthShare - 0.5) < 1e-3 && free.error.worst < 1e-3);
    const bound = fitMoves(transfers, 100e9)!;
    assert.equal(bound.moves.bandwidthShare, 1);
    const { secondsPerRound } = bound.moves;
    const { median, worst } = errorsOfMoves(
      transfers,
      (one) => one.rounds * secondsPerRound + one.bytes / 100e9,
    );
    assert.ok(Math.abs(bound.error.median - median) < 1e-12 && Math.abs(bound.error.worst - worst) < 1e-12);
    assert.ok(worst > 0.5, 'half of the bandwidth is lost');
    assert.equal(fitMoves([], 1e9), undefined);
  });
});

function errorsOfMoves(
  transfers: readonly LinkMeasurement[],
  forecast: (one: LinkMeasurement) => number,
): { readonly median: number; readonly worst: number } {
  const errors = transfers.map((one) => Math.abs(forecast(one) / one.seconds - 1)).sort((a, b) => a - b);
  return { median: (errors[2]! + errors[3]!) / 2, worst: errors[5]! };
}
