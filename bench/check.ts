/** Checks of results: a benchmark whose result is wrong ends the run before its times are printed. */
import assert from 'node:assert/strict';
import { ExpertMapping, type LoadMatrix, type Topology } from 'expert-load-balancer';
import type { ReferencePlacement } from './reference.ts';

/** The mapping has exactly the tables of the reference. */
export function assertPlacement(mapping: ExpertMapping, reference: ReferencePlacement, what: string): void {
  assertSame(mapping.phyToLog, reference.phyToLog, `${what}: phyToLog`);
  const { numLogicalExperts, maxReplicas } = mapping;
  const counts = new Int32Array(mapping.numLayers * numLogicalExperts);
  const slotsOf = new Int32Array(counts.length * maxReplicas).fill(-1);
  reference.phyToLog.forEach((expert, at) => {
    const layer = Math.floor(at / mapping.numPhysicalExperts);
    const row = layer * numLogicalExperts + expert;
    counts[row]!++;
    slotsOf[row * maxReplicas + reference.replicaRank[at]!] = at % mapping.numPhysicalExperts;
  });
  assertSame(mapping.replicaCount, counts, `${what}: replicaCount`);
  assertSame(mapping.logToPhy, slotsOf, `${what}: logToPhy`);
}

/** Same length and numbers. Unlike `deepEqual` it is quick for large tables. */
function assertSame(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) assert.fail(`${what}: at ${i} is ${actual[i]}, not ${expected[i]}`);
  }
}

/** Averages agree to float32 accuracy. */
export function assertLoads(actual: LoadMatrix, expected: ArrayLike<number>, what: string): void {
  assert.equal(actual.data.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual.data[i]! - expected[i]!);
    if (!(difference <= 1e-6 * expected[i]!)) {
      assert.fail(`${what}: at ${i} is ${actual.data[i]}, not ${expected[i]}`);
    }
  }
}

/** The digest that a mapping of the reference's table has. */
export function digestOf({ phyToLog }: ReferencePlacement, topology: Topology): string {
  const { numLayers, numLogicalExperts } = topology;
  return new ExpertMapping({ phyToLog, numLayers, numLogicalExperts }).digest();
}
