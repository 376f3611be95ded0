/** Epochs of a group over any order of messages, deaths, restarts and kills of the service. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SEED } from '../helpers/library.ts';
import { EpochSimulation, emptyEpochTally } from './epochs-simulator.ts';

const RUNS = Math.min(20_000, Number(process.env.EPLB_LONG_RUNS ?? 60));

test(`epochs of all ranks are one sequence in ${RUNS} schedules`, { timeout: 3_000_000 }, async () => {
  const tally = emptyEpochTally();
  const schedules = fc.tuple(fc.integer({ min: 1, max: 2 ** 30 }), fc.integer({ min: 40, max: 260 }));
  await fc.assert(
    fc.asyncProperty(schedules, async ([seed, numTurns]) => {
      await new EpochSimulation(seed, tally).run(numTurns);
    }),
    { numRuns: RUNS, seed: SEED, includeErrorInReport: true },
  );
  console.log(JSON.stringify(tally));
  for (const [what, times] of Object.entries(tally)) assert.ok(times > 0, `${what} never happened`);
});
