/**
 * The text of a policy's module that needs no library: it puts the experts in their order, one further at
 * every plan.
 *
 * @param atPlan statements run at every plan before it is made; `turn` is how many were made
 */
export function turningPolicy(name: string, atPlan = ''): string {
  return `
import { writeSync } from 'node:fs';
let turn = 0;
export const policy = {
  name: '${name}',
  rebalanceExperts(weight, numReplicas) {
    ${atPlan}
    turn++;
    const row = Array.from({ length: numReplicas }, (_, slot) => (slot + turn) % weight.numExperts);
    const phyToLog = Array.from({ length: weight.numLayers }, () => row);
    return { phyToLog, numLogicalExperts: weight.numExperts };
  },
};
`;
}

/** A statement that takes so long. */
export function wait(ms: number): string {
  return `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${ms});`;
}

/** {@link turningPolicy} that takes 50 ms a plan and tells at the third that it is at work. */
export const SLOW_AT_WORK = turningPolicy(
  'turning',
  `if (turn === 2) writeSync(2, 'at work');\n    ${wait(50)}`,
);
