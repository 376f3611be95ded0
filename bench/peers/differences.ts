import assert from 'node:assert/strict';
import { ExpertMapping, layerBalances } from 'expert-load-balancer';
import type { Workload } from '../workloads.ts';

/** A rank's load may differ by this part where only the order of float32 sums does. */
const ACCURACY = 1e-5;

/**
 * Compares a peer's placement with ours, slot for slot. torch does not promise a stable sort and sums in
 * another order: layers where experts or groups weigh the same may therefore be placed in another way, no
 * better and no worse.
 *
 * @returns the number of such layers
 * @throws AssertionError when a layer differs in its largest rank load too
 */
export function countDifferentLayers(
  { loads, topology, size }: Workload,
  ours: ExpertMapping,
  phyToLog: Int32Array,
  peer: string,
): number {
  const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = topology;
  const table = ours.phyToLog;
  assert.equal(phyToLog.length, table.length, `${peer}, ${size}: slots`);
  const theirs = new ExpertMapping({ phyToLog, numLayers, numLogicalExperts });
  const [ourBalance, theirBalance] = [ours, theirs].map((mapping) => layerBalances(loads, mapping, numRanks));
  let different = 0;
  for (let layer = 0; layer < numLayers; layer++) {
    const first = layer * numPhysicalExperts;
    const isSame = table
      .subarray(first, first + numPhysicalExperts)
      .every((expert, slot) => expert === phyToLog[first + slot]);
    if (isSame) continue;
    different++;
    const [our, their] = [ourBalance![layer]!.maxRankLoad, theirBalance![layer]!.maxRankLoad];
    assert.ok(
      Math.abs(our - their) <= ACCURACY * our,
      `${peer}, ${size}, layer ${layer}: placed so that the largest rank load is ${their}, not ${our}`,
    );
  }
  return different;
}
