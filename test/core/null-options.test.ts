import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as library from 'expert-load-balancer';

const TAKE_OPTIONS = [
  'AdaptiveEplbPolicy',
  'AsyncExpertRebalancer',
  'CoactivationRecorder',
  'ExpertLoadBalancer',
  'ExpertMapping',
  'LocalityAwarePolicy',
] as const;

for (const name of TAKE_OPTIONS) {
  test(`${name} names options that are no object`, () => {
    const Class = library[name] as new (options: unknown) => object;
    for (const options of [null, 1, 'slots', () => 0]) {
      assert.throws(() => new Class(options), { name: 'EplbTypeError', code: 'EPLB_KIND' }, String(options));
    }
  });
}
