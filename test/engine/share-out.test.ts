import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type SharingJob, shareOut } from '../../src/engine/share-out.ts';
import { SEED } from '../helpers/library.ts';

/** A job that notes how many it was asked to give back. */
class FakeJob implements SharingJob {
  readonly numWorkers: number;
  readonly #worth: number;
  readonly heldSince: number;
  numGiven = 0;

  constructor(numWorkers: number, worth: number, heldMs = 0) {
    this.numWorkers = numWorkers;
    this.#worth = worth;
    this.heldSince = performance.now() - heldMs;
  }

  get numStaying(): number {
    return this.numWorkers - this.numGiven;
  }

  get numWorthwhile(): number {
    return this.numGiven > 0 ? 0 : this.#worth;
  }

  giveBackOne(): void {
    this.numGiven++;
  }
}

const givenBy = (...jobs: FakeJob[]) => {
  const waitMs = shareOut(jobs);
  return { given: jobs.map(({ numGiven }) => numGiven), isToLookAgain: waitMs !== undefined };
};

test('a job that has all threads gives half of them to one that has none', () => {
  assert.deepEqual(givenBy(new FakeJob(8, 8), new FakeJob(0, 8)), { given: [4, 0], isToLookAgain: false });
});

test('a job gets no more than it is worth, and one that wants none gets none', () => {
  assert.deepEqual(givenBy(new FakeJob(8, 8), new FakeJob(0, 2)).given, [2, 0]);
  assert.deepEqual(givenBy(new FakeJob(8, 8), new FakeJob(0, 0)).given, [0, 0]);
  assert.deepEqual(givenBy(new FakeJob(5, 8), new FakeJob(4, 8)).given, [0, 0]);
});

test('the only thread of a job goes to one that has none when its time is over', () => {
  assert.deepEqual(givenBy(new FakeJob(1, 4), new FakeJob(0, 4)), { given: [0, 0], isToLookAgain: true });
  assert.deepEqual(givenBy(new FakeJob(1, 4, 1000), new FakeJob(0, 4)), {
    given: [1, 0],
    isToLookAgain: false,
  });
});

test('what leaves already is not asked for twice', () => {
  const rich = new FakeJob(8, 8);
  const poor = new FakeJob(0, 8);
  givenBy(rich, poor);
  assert.deepEqual(givenBy(rich, poor).given, [4, 0]);
});

test('afterwards no job that wants threads has two fewer than another, and none gave all', () => {
  const job = fc.record({ workers: fc.nat(9), more: fc.nat(9) });
  fc.assert(
    fc.property(fc.array(job, { maxLength: 6 }), (rows) => {
      const jobs = rows.map(({ workers, more }) => new FakeJob(workers, workers + more));
      shareOut(jobs);
      // Who wants most may take all that was given.
      const takers = jobs.filter(({ numGiven }, i) => numGiven === 0 && rows[i]!.more > 0);
      const shares = takers.map(({ numWorkers }) => numWorkers);
      const rooms = takers.map((_, i) => rows[jobs.indexOf(takers[i]!)]!.more);
      for (let given = jobs.reduce((sum, { numGiven }) => sum + numGiven, 0); given > 0; given--) {
        const poorest = shares.reduce(
          (best, share, i) => (rooms[i]! > 0 && (best < 0 || share < shares[best]!) ? i : best),
          -1,
        );
        assert.ok(poorest >= 0, 'a thread that nobody takes');
        shares[poorest]!++;
        rooms[poorest]!--;
      }
      const most = Math.max(0, ...jobs.map(({ numStaying }) => numStaying));
      for (const [i, share] of shares.entries()) if (rooms[i]! > 0) assert.ok(most - share < 2);
      for (const [i, { numStaying }] of jobs.entries()) assert.ok(rows[i]!.workers === 0 || numStaying > 0);
    }),
    { seed: SEED, numRuns: 300 },
  );
});
