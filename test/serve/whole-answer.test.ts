/** Answers to what a process asks itself, in one piece. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { EtcdError } from '../../src/serve/cluster/etcd-client.ts';
import { wholeAnswer } from '../../src/serve/whole-answer.ts';

test('an answer is read whole, and one that is too long no further than that shows', async () => {
  const pieces = ['a', '', 'nswer'].map((text) => Buffer.from(text));
  assert.equal((await wholeAnswer(Readable.from(pieces))).toString(), 'answer');
  assert.equal((await wholeAnswer(Readable.from([]))).length, 0);
  let numParts = 0;
  const part = Buffer.alloc(2 ** 20);
  const endless = async function* () {
    for (;;) {
      numParts++;
      yield part;
    }
  };
  await assert.rejects(wholeAnswer(endless()), /it has more than 268435456 bytes/);
  assert.equal(numParts, 257);
  const refused = (reason: string) => new EtcdError(reason, false);
  await assert.rejects(wholeAnswer(endless(), refused), { code: 'EPLB_ETCD', isUnknown: false });
});
