import type { AbstractEplbPolicy } from './abstract.ts';

/**
 * Whether a value can plan. Not `instanceof`: a policy's module may have loaded its own copy of the library.
 */
export function isPolicy(value: unknown): value is AbstractEplbPolicy {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof Reflect.get(value, 'rebalanceExperts') === 'function'
  );
}
