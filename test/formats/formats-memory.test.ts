import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FORMATS } from 'expert-load-balancer/formats';
import { GOOD_LOADS, HOSTILE_LOADS } from '../helpers/large-files.ts';
import { readsWithinBound } from '../helpers/memory-bound.ts';

describe('reading loads takes memory of 8 times their size and 160 MiB at most', { concurrency: 2 }, () => {
  for (const file of GOOD_LOADS) test(file.title, () => readsWithinBound(file));
});

describe('so does reading what is made to take more', { concurrency: 2 }, () => {
  for (const file of HOSTILE_LOADS) test(file.title, () => readsWithinBound(file));
});

test('every format of loads is measured', () => {
  const measured = GOOD_LOADS.map(({ title }) => title.split(/[ ,]/)[0]);
  const all = FORMATS.filter(({ holds }) => holds === 'loads').map(({ name }) => name);
  assert.deepEqual([...new Set(measured)].sort(), all.sort());
});
