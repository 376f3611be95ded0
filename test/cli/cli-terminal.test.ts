import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, test } from 'node:test';
import type { WriteStream } from 'node:tty';
import { Progress } from '../../src/cli/progress.ts';
import { wantsColor } from '../../src/cli/terminal.ts';
import { counted, seconds } from '../../src/formats/number-text.ts';
import { quote } from '../../src/formats/text.ts';

/** A stream that keeps what is written, as a terminal or not. */
function fakeStream(isTTY: boolean): { stream: WriteStream; written: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  return {
    stream: Object.assign(stream, { isTTY, columns: 80 }) as unknown as WriteStream,
    written: () => text,
  };
}

describe('the progress bar', () => {
  test('shows the stage and its numbers, and is gone at the end', () => {
    const { stream, written } = fakeStream(true);
    const progress = new Progress(stream, 0);
    progress.begin('counting', 4, 'tokens');
    progress.update(1);
    progress.begin('planning', 26, 'layers');
    progress.update(13);
    progress.stop();
    assert.match(written(), /counting \[.*\] 25% \| 1 of 4 tokens/);
    assert.match(written(), /planning \[.*\] 50% \| 13 of 26 layers/);
    assert.doesNotMatch(written(), /\?(25|7)l/, 'nothing that an interrupt would leave switched off');
  });

  test('does not show before its time, or off a terminal', () => {
    for (const [isTTY, quietMs] of [
      [true, 60_000],
      [false, 0],
    ] as const) {
      const { stream, written } = fakeStream(isTTY);
      const progress = new Progress(stream, quietMs);
      progress.begin('planning', 26, 'layers');
      progress.update(13);
      progress.stop();
      assert.equal(written(), '');
    }
  });
});

test('colours are for terminals, and NO_COLOR turns them off', () => {
  const { NO_COLOR, TERM } = process.env;
  try {
    delete process.env.NO_COLOR;
    process.env.TERM = 'xterm';
    assert.equal(wantsColor(fakeStream(true).stream), true);
    assert.equal(wantsColor(fakeStream(false).stream), false);
    process.env.NO_COLOR = '1';
    assert.equal(wantsColor(fakeStream(true).stream), false);
    delete process.env.NO_COLOR;
    process.env.TERM = 'dumb';
    assert.equal(wantsColor(fakeStream(true).stream), false);
  } finally {
    for (const [name, value] of Object.entries({ NO_COLOR, TERM })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
});

test('texts', () => {
  assert.deepEqual([counted(1, 'rank'), counted(1024, 'rank')], ['1 rank', '1,024 ranks']);
  assert.deepEqual([4.12e-5, 3.21e-3, 0.09996, 0.4124, 1.25].map(seconds), [
    '41.2 µs',
    '3.21 ms',
    '100 ms',
    '412 ms',
    '1.25 s',
  ]);
  assert.equal(quote('a\u001b\u009b\n"'), '"a\\u001b\\u009b\\n\\""');
  assert.equal(quote('x'.repeat(100), 3), '"xxx..."');
});
