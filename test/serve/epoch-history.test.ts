/** The checker of histories: it passes what can have been, and finds what is planted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type SeenEpoch, violationsOf } from '../helpers/epoch-history.ts';

const seen = (
  kind: SeenEpoch['kind'],
  epoch: number,
  startMs: number,
  endMs: number,
  more = {},
): SeenEpoch => ({
  ...{ client: 'c', group: 'g', kind, epoch, digest: `d${epoch}`, startMs, endMs },
  ...more,
});

test('operations at one time may see either epoch', () => {
  assert.deepEqual(
    violationsOf([
      seen('commit', 1, 0, 10, { attempt: 'a', term: 2 }),
      seen('read', 0, 5, 12),
      seen('read', 1, 6, 7),
      // It began before the one that has seen epoch 1 ended.
      seen('read', 0, 7, 30),
      seen('read', 0, 20, 21, { isStale: true }),
      seen('abort', 2, 13, 14, { attempt: 'b' }),
      seen('commit', 2, 15, 16, { attempt: 'c', term: 2, digest: 'other' }),
      // Of another group.
      seen('read', 0, 20, 21, { group: 'h' }),
    ]),
    [],
  );
});

const PLANTED: readonly (readonly [string, RegExp, readonly SeenEpoch[]])[] = [
  ['two mappings of one epoch', /^fork/, [seen('read', 3, 0, 1), seen('read', 3, 0, 1, { digest: 'x' })]],
  [
    'a stale read of what never was',
    /^fork/,
    [seen('commit', 3, 0, 1), seen('read', 3, 5, 6, { digest: 'x', isStale: true })],
  ],
  ['an epoch that goes back', /^back/, [seen('read', 2, 0, 1), seen('read', 1, 2, 3)]],
  ['a commit that is lost', /^back/, [seen('commit', 1, 0, 1), seen('read', 0, 1.5, 3)]],
  [
    'a commit after a later one',
    /^back/,
    [seen('commit', 2, 0, 1, { attempt: 'a' }), seen('commit', 1, 2, 3, { attempt: 'b' })],
  ],
  [
    'an attempt that is aborted and live',
    /^twice/,
    [seen('abort', 1, 0, 1, { attempt: 'a' }), seen('commit', 1, 2, 3, { attempt: 'a' })],
  ],
  [
    'an attempt that is two epochs',
    /^twice/,
    [seen('commit', 1, 0, 1, { attempt: 'a' }), seen('commit', 2, 2, 3, { attempt: 'a' })],
  ],
  [
    'a former leader that decides',
    /^former leader/,
    [seen('commit', 1, 0, 9, { term: 7 }), seen('commit', 2, 0, 9, { term: 5 })],
  ],
];

for (const [what, message, history] of PLANTED) {
  test(`it finds ${what}`, () => {
    const found = violationsOf(history);
    assert.equal(found.length, 1, String(found));
    assert.match(found[0]!, message);
    assert.equal(violationsOf([...history].reverse()).length, 1, 'in whatever order it was written down');
  });
}

/** Operations on the epochs of a group, each with a moment in it at which it takes effect. */
const histories = fc
  .array(
    fc.record({
      gap: fc.integer({ min: 1, max: 20 }),
      before: fc.integer({ min: 0, max: 40 }),
      after: fc.integer({ min: 0, max: 40 }),
      isCommit: fc.boolean(),
      newTerm: fc.boolean(),
    }),
    { minLength: 2, maxLength: 60 },
  )
  .map((steps) => {
    let now = 100;
    let epoch = 0;
    let term = 1;
    return steps.map(({ gap, before, after, isCommit, newTerm }, i): SeenEpoch => {
      now += gap;
      if (newTerm) term++;
      if (isCommit) epoch++;
      const more = isCommit ? { attempt: `a${i}`, term } : {};
      return seen(isCommit ? 'commit' : 'read', epoch, now - before, now + after, more);
    });
  });

test('what took effect at one moment each is passed, and what is changed in it is found', () => {
  fc.assert(
    fc.property(histories, fc.nat(), fc.nat(), (history, at, by) => {
      assert.deepEqual(violationsOf(history), []);
      const i = at % history.length;
      const own = history[i]!;
      const others = history.filter((_, j) => j !== i);
      const twin = others.find(({ epoch }) => epoch === own.epoch);
      if (twin !== undefined) {
        assert.notDeepEqual(violationsOf([...others, { ...own, digest: 'x' }]), []);
      }
      const known = others.filter(({ endMs }) => endMs < own.startMs).map(({ epoch }) => epoch);
      const least = Math.max(0, ...known);
      if (least === 0) return;
      const epoch = by % least;
      const other: SeenEpoch = { ...own, kind: 'read', epoch, digest: `d${epoch}` };
      assert.notDeepEqual(violationsOf([...others, other]), []);
    }),
  );
});
