import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { survivalAdvice } from '../../src/replay/survival-advice.ts';
import type { SweepPointDone } from '../../src/replay/sweep-result.ts';
import { SEED } from '../helpers/library.ts';

const texts = {
  seconds: (s: number) => `${s} s`,
  bytes: (b: number) => `${b} B`,
  percent: (p: number) => `${p}`,
};

function point(slots: number, time: number, losses: Record<string, number>): SweepPointDone {
  const failureLosses = Object.entries(losses).map(([level, loadShare]) => ({
    ...{ level, domain: 0, expertsShare: loadShare, loadShare },
    ...{ survivingLoadShare: 1 - loadShare, mostSurvivingLoadShare: 1 },
  }));
  const sizes = { numPhysicalExperts: slots, numRanks: 4, redundantBytesPerRank: slots - 8 };
  const name = `adaptive, ${slots} slots, ${time}`;
  return {
    ...sizes,
    name,
    status: 'done',
    modelledSeconds: time,
    failureLosses,
  } as unknown as SweepPointDone;
}

test('the fewest slots that survive a node are named, and what they cost', () => {
  const grid = [
    point(8, 9, { rank: 0.3, node: 0.5 }),
    point(16, 8, { rank: 0, node: 0 }),
    point(12, 7, { rank: 0, node: 0.1 }),
    point(24, 5, { rank: 0, node: 0 }),
  ];
  assert.equal(
    survivalAdvice(grid, texts),
    'To survive the failure of any node take adaptive, 16 slots, 8, with 8 B a rank for redundant experts. It ' +
      'takes 8 s; adaptive, 8 slots, 9 takes 9 s and loses 0.5.',
  );
  assert.equal(
    survivalAdvice([grid[0]!, grid[2]!], texts),
    'No configuration survives the failure of any node: adaptive, 12 slots, 7 loses least, 0.1 of the load, ' +
      'with 4 B a rank for redundant experts. It takes 7 s; adaptive, 8 slots, 9 takes 9 s and loses 0.5.',
  );
  assert.match(
    survivalAdvice([point(8, 9, { rank: 1 }), point(8, 7, { rank: 0 })], texts)!,
    /any rank .*\.$/,
  );
});

test('the level that is asked for is told', () => {
  const grid = [
    point(8, 9, { rank: 0.3, node: 0.5, rack: 0.7 }),
    point(16, 8, { rank: 0, node: 0, rack: 0.2 }),
  ];
  assert.match(
    survivalAdvice(grid, texts, 'rack')!,
    /^No configuration survives the failure of any rack: .*0\.7/,
  );
  assert.match(survivalAdvice(grid, texts, 'rank')!, /^To survive the failure of any rank take .*0\.3\.$/);
});

test('with nothing to choose from there is no advice', () => {
  const failed = { status: 'failed', name: 'x' } as unknown as SweepPointDone;
  assert.equal(survivalAdvice([], texts), undefined);
  assert.equal(survivalAdvice([point(8, 1, { node: 0 }), failed], texts), undefined);
  assert.equal(survivalAdvice([point(8, 1, {}), point(9, 1, {})], texts), undefined);
});

test('nothing loses less than what is named, and nothing as good takes less memory', () => {
  const any = fc.record({
    slots: fc.integer({ min: 8, max: 20 }),
    time: fc.integer({ min: 1, max: 5 }),
    loss: fc.constantFrom(0, 0.1, 0.2),
  });
  const property = fc.property(fc.array(any, { minLength: 2, maxLength: 8 }), (given) => {
    const points = given.map(({ slots, time, loss }) => point(slots, time, { node: loss }));
    const advice = survivalAdvice(points, texts)!;
    const [, slots] = /adaptive, (\d+) slots/.exec(advice)!;
    const least = Math.min(...given.map(({ loss }) => loss));
    const fewest = Math.min(...given.filter(({ loss }) => loss === least).map((one) => one.slots));
    assert.equal(Number(slots), fewest);
    assert.equal(advice.startsWith('To survive'), least === 0);
  });
  fc.assert(property, { numRuns: 200, seed: SEED });
});
