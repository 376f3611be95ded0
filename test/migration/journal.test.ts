import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { EplbError } from 'expert-load-balancer';
import {
  CoordinatorMachine,
  FileJournal,
  type JournalRecord,
  MemoryJournal,
  MemoryTransport,
  MigrationCoordinator,
} from 'expert-load-balancer/migration';
import { inTempDir } from '../helpers/cli.ts';
import { refusal } from '../helpers/library.ts';

const size = { numRanks: 2, numLayers: 2, digest: 'a' };

/** Batches that follow from each other: a group comes up, and one operation goes live. */
function batches(): JournalRecord[][] {
  const machine = new CoordinatorMachine(size);
  const all: (readonly JournalRecord[])[] = [machine.tick(0).records];
  const say = (rank: number, message: object) => {
    const { records } = machine.receive(rank, { incarnation: 1, ...message }, 1);
    if (records.length > 0) all.push(records);
  };
  for (const rank of [0, 1]) {
    say(rank, { type: 'hello', token: 0, holds: { epoch: 0, digest: 'a' }, reason: '', broken: [] });
    say(rank, { type: 'confirmed', token: 1 + rank, epoch: 0 });
  }
  all.push(machine.offer({ operationId: 'op', digest: 'b', layers: [1] }, 2).records);
  for (const rank of [0, 1]) say(rank, { type: 'prepared', token: 3, layers: [1] });
  for (const rank of [0, 1]) say(rank, { type: 'armed', token: 3, lastStep: 7 });
  for (const rank of [0, 1]) say(rank, { type: 'confirmed', token: 3, epoch: 1 });
  return all.map((batch) => [...batch]);
}

async function written(path: string): Promise<Buffer> {
  const journal = new FileJournal(path);
  assert.deepEqual(await journal.read(), []);
  for (const batch of batches()) await journal.append(batch);
  await journal.close();
  return readFile(path);
}

async function recordsIn(path: string): Promise<readonly unknown[]> {
  const journal = new FileJournal(path);
  try {
    return await journal.read();
  } finally {
    await journal.close();
  }
}

test('a journal that is cut off at any byte keeps all appends that ended, and no more', async () => {
  await inTempDir(async (dir) => {
    const path = join(dir, 'journal');
    const whole = await written(path);
    // Where each append ends, by what of the file is there.
    const ends = [...whole.entries()].filter(([, byte]) => byte === 10).map(([at]) => at + 1);
    const sizes = batches().map(({ length }) => length);
    for (let length = 0; length < whole.length; length += 19) {
      await writeFile(path, whole.subarray(0, length));
      const numWhole = ends.filter((end) => end <= length).length - 1;
      const wanted = sizes.slice(0, Math.max(0, numWhole)).reduce((sum, each) => sum + each, 0);
      assert.equal((await recordsIn(path)).length, wanted, `${length} bytes`);
      // What is left is cut, so that the next append begins a line.
      assert.equal((await stat(path)).size, numWhole < 0 ? ends[0]! : ends[numWhole]!);
    }
  });
});

test('blocks of an append that were never written are cut off, damage is refused', async () => {
  await inTempDir(async (dir) => {
    const path = join(dir, 'journal');
    const whole = await written(path);
    const lastLine = whole.lastIndexOf(10, whole.length - 2) + 1;
    const torn = Buffer.from(whole);
    torn.fill(0, lastLine + 5, lastLine + 30);
    await writeFile(path, torn);
    assert.equal((await recordsIn(path)).length, batches().flat().length - batches().at(-1)!.length);
    for (let at = 0; at < whole.length - 1; at += 11) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 1;
      await writeFile(path, damaged);
      await assert.rejects(recordsIn(path), refusal('range', 'EPLB_FORMAT', /^journal: /));
      assert.deepEqual(await readFile(path), damaged, 'it is left as it is');
    }
  });
});

test('a journal replaced by one record goes on from it', async () => {
  await inTempDir(async (dir) => {
    const path = join(dir, 'journal');
    const journal = new FileJournal(path);
    await journal.read();
    for (const batch of batches()) await journal.append(batch);
    const machine = new CoordinatorMachine(size, batches().flat());
    await journal.replace(machine.checkpoint()!);
    const more: JournalRecord = { type: 'fenced', token: 4, rank: 1, reason: 'gone' };
    await journal.append([more]);
    await journal.close();
    const records = await recordsIn(path);
    assert.deepEqual(records, [machine.checkpoint(), more]);
    const next = new CoordinatorMachine(size, records);
    assert.equal(next.live.digest, 'b');
    assert.equal(next.outcome('op')?.status, 'active');
    assert.equal(next.view().ranks[1]!.state, 'fenced');
  });
});

test('who finds that another has written to its journal appends nothing', async () => {
  await inTempDir(async (dir) => {
    const path = join(dir, 'journal');
    const [older, newer] = [new FileJournal(path), new FileJournal(path)];
    await older.read();
    await older.append(batches()[0]!);
    await newer.read();
    await newer.append(batches()[1]!);
    await assert.rejects(older.append(batches()[1]!), refusal('other', 'EPLB_STALE', /another process/));
    await assert.rejects(older.append(batches()[1]!), refusal('other', 'EPLB_CLOSED', /not open/));
    await newer.close();
    assert.equal((await recordsIn(path)).length, batches()[0]!.length + batches()[1]!.length);
    await assert.rejects(recordsIn(dir), refusal('other', 'EPLB_FILE', /cannot be read/));
  });
});

test('records that do not follow from each other are refused', () => {
  const good = batches().flat();
  for (const [i, record] of good.entries()) {
    // Each record is needed, but for confirmations: an operation tells them again.
    if (record.type === 'ended') continue;
    const without = good.toSpliced(i, 1);
    assert.throws(() => new CoordinatorMachine(size, without), refusal('range', 'EPLB_FORMAT', /^journal: /));
  }
  assert.throws(
    () => new CoordinatorMachine({ ...size, numRanks: 3 }, good),
    refusal('range', 'EPLB_SHAPE', /numRanks/),
  );
});

/** A journal that fails from some append on. */
class FailingJournal extends MemoryJournal {
  numLeft = 1;

  override append(records: readonly JournalRecord[]): Promise<void> {
    if (this.numLeft-- > 0) return super.append(records);
    return Promise.reject(new EplbError('EPLB_FILE', 'disk full'));
  }
}

test('a coordinator whose journal fails says nothing more, and the next one goes on', async () => {
  const journal = new FailingJournal();
  const sent: unknown[] = [];
  const errors: unknown[] = [];
  let say: (rank: number, message: unknown) => void = () => {};
  const transport = {
    send: (_rank: number, message: unknown) => void sent.push(message),
    onMessage: (listener: (rank: number, message: unknown) => void) => {
      say = listener;
      return () => {};
    },
  };
  const onError = (error: unknown) => void errors.push(error);
  const coordinator = await MigrationCoordinator.open({ ...size, journal, transport, onError });
  const hello = { type: 'hello', token: 0, holds: { epoch: 0, digest: 'a' }, reason: '', broken: [] };
  say(0, { incarnation: 1, ...hello });
  const target = { operationId: 'op', digest: 'b', layers: [0] };
  await assert.rejects(coordinator.migrate(target), refusal('other', 'EPLB_CLOSED', /its journal failed/));
  assert.deepEqual(sent, [], 'the admission is not in the journal');
  assert.equal(errors.length, 2);
  await coordinator.close();
  journal.numLeft = 9;
  const next = await MigrationCoordinator.open({ ...size, journal, transport: new MemoryTransport() });
  assert.equal(next.view().ranks[0]!.state, 'fenced');
  await next.close();
});
