import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JOURNAL_HEADER } from '../../src/migration/file-journal.ts';
import { journalLine, readJournalBytes } from '../../src/migration/journal-lines.ts';
import type { JournalRecord } from '../../src/migration/records.ts';
import { type Built, buildMachines, MUTATIONS } from './mutations.ts';
import { emptyTally, type Tear } from './simulator.ts';

/** How many schedules are played. */
const NUM_SCHEDULES = Number(process.env.EPLB_LONG_RUNS ?? 20_000);
/** By then each mutation is seen. */
const MOST_SCHEDULES = 20_000;

/** The journal as bytes, cut off within its last line, or with blocks there that were never written. */
const tearBytes: Tear = (durable, batch, random) => {
  const whole = Buffer.concat([Buffer.from(JOURNAL_HEADER), ...durable.map(journalLine)]);
  const line = journalLine(batch);
  const kept = Math.floor(random() * line.length);
  const torn = Buffer.concat([whole, line.subarray(0, kept)]);
  const zeros = random() < 0.3 ? Buffer.alloc(line.length - kept) : Buffer.alloc(0);
  const { records, wholeBytes } = readJournalBytes(Buffer.concat([torn, zeros]), JOURNAL_HEADER);
  assert.equal(wholeBytes, whole.length);
  return records.length === 0 ? [] : [records as JournalRecord[]];
};

function play(from: number, end: number, machines: Built, tally = emptyTally()): void {
  for (let seed = from; seed < end; seed++) {
    try {
      machines.playSchedule(seed, machines, tally, tearBytes);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      error.message = `schedule ${seed}: ${error.message}`;
      throw error;
    }
  }
}

test('lost, doubled, reordered, cut off or killed: no step has two epochs and all ends', async () => {
  const machines = await buildMachines();
  const tally = emptyTally();
  play(1, NUM_SCHEDULES + 1, machines, tally);
  // All of it happened, so that what holds does not hold for want of it.
  for (const [what, times] of Object.entries(tally))
    assert.ok(times > NUM_SCHEDULES / 1000, `${what}: ${times}`);
});

const isLong = process.env.EPLB_LONG_RUNS !== undefined;

for (const mutation of MUTATIONS) {
  if (mutation.isRare && !isLong) continue;
  test(`without its check it is seen that ${mutation.what}`, async () => {
    const machines = await buildMachines(mutation);
    assert.throws(() => play(1, MOST_SCHEDULES, machines));
  });
}
