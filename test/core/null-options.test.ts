import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  AsyncExpertRebalancer,
  CoactivationRecorder,
  ExpertLoadBalancer,
  ExpertMapping,
  LocalityAwarePolicy,
} from 'expert-load-balancer';

const TAKE_OPTIONS = {
  AdaptiveEplbPolicy,
  AsyncExpertRebalancer,
  CoactivationRecorder,
  ExpertLoadBalancer,
  ExpertMapping,
  LocalityAwarePolicy,
};

for (const [name, Class] of Object.entries(TAKE_OPTIONS)) {
  test(`${name} names options that are not an object`, () => {
    for (const options of [null, 1, 'slots', () => 0]) {
      const make = () => Reflect.construct(Class, [options]);
      assert.throws(make, { name: 'EplbTypeError', code: 'EPLB_KIND' }, String(options));
    }
  });
}
