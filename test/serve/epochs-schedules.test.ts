/** Epochs of a group over any order of messages, deaths, restarts and kills of the service. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { loadEpochs } from '../helpers/epochs.ts';
import { SEED } from '../helpers/library.ts';
import { EpochSimulation, emptyEpochTally } from './epochs-simulator.ts';

const RUNS = Math.min(20_000, Number(process.env.EPLB_LONG_RUNS ?? 50));

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

test('streams of events have ends: for those who miss much, read slowly, or are one too many', async () => {
  const { EventHub } = await loadEpochs();
  const hub = new EventHub(2);
  const state = () => ({ what: 'state' });
  const reader = (bytesAWrite: number) => {
    const texts: string[] = [];
    const sink = {
      ...{ waitingBytes: 0, ended: '' },
      write(text: string) {
        texts.push(text);
        sink.waitingBytes += bytesAWrite;
      },
      end() {
        sink.ended = 'end';
      },
      cut() {
        sink.ended = 'cut';
      },
    };
    const ids = () => texts.map((text) => /^id: (.*)$/m.exec(text)![1]!);
    const types = () => texts.map((text) => /^event: (.*)$/m.exec(text)![1]!);
    return { sink, texts, ids, types };
  };
  const fast = reader(0);
  const slow = reader(100_000);
  hub.listen(fast.sink, { state });
  hub.listen(slow.sink, { rank: 1, state });
  assert.throws(() => hub.listen(reader(0).sink, { state }), {
    code: 'EPLB_LIMIT',
    message: /^events: 2 streams are open/,
  });
  for (let i = 0; i < 4; i++) hub.publish('rank', { i });
  hub.publish('message', { i: 4 }, 1);
  assert.deepEqual([slow.sink.ended, slow.types()], ['cut', ['state', 'rank', 'rank']]);
  assert.deepEqual(fast.types(), ['state', 'rank', 'rank', 'rank', 'rank']);
  // Who comes back gets what is missing, as long as that is kept.
  const again = reader(0);
  const leave = hub.listen(again.sink, { rank: 1, lastEventId: slow.ids().at(-1), state });
  assert.deepEqual(again.types(), ['rank', 'rank', 'message']);
  leave();
  for (let i = 0; i < 600; i++) hub.publish('rank', { i });
  for (const lastEventId of [slow.ids().at(-1), 'other-3', `${fast.ids()[0]}0000`, '', 'x'.repeat(1000)]) {
    const late = reader(0);
    hub.listen(late.sink, { lastEventId, state })();
    assert.deepEqual(late.types(), ['state'], lastEventId);
  }
  assert.equal(hub.numListeners, 1);
  hub.close();
  assert.equal(fast.sink.ended, 'end');
  assert.throws(() => hub.listen(reader(0).sink, { state }), { code: 'EPLB_CLOSED', message: /closed/ });
});
