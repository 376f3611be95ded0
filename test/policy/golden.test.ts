import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { DefaultEplbPolicy, type ExpertMapping } from 'expert-load-balancer';
import { layerProblemArbitrary } from '../helpers/arbitraries.ts';
import { assertForAll } from '../helpers/property.ts';
import { rebalanceLayer, type Topology } from '../oracle/default-policy.ts';
import { countReplicas, invertLayer } from '../oracle/inverse.ts';
import { preserveSlots } from '../oracle/preserve.ts';

interface Golden extends Topology {
  name: string;
  numLayers: number;
  weight: number[][];
  physicalToLogical: number[][];
  logicalCount: number[][];
  logicalToPhysical: number[][][] | null;
}

const FOLDER = new URL('../fixtures/golden/', import.meta.url);
const goldens = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.json'))
  .map((file) => JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as Golden);

test('all golden placements are there', () => {
  assert.equal(goldens.length, 18);
});

for (const golden of goldens) {
  const { numLayers, numLogicalExperts, numReplicas, numGroups, numNodes, numRanks } = golden;
  // The golden tables are as wide as the expert with most replicas in any layer needs, the mapping's are too.
  const maxReplicas = Math.max(...golden.logicalCount.flat());

  test(`the oracle gives the golden placement ${golden.name}`, () => {
    assert.equal(golden.weight.length, numLayers);
    for (let layer = 0; layer < numLayers; layer++) {
      const { phyToLog, replicaRank } = rebalanceLayer(golden.weight[layer]!, golden);
      assert.deepEqual(phyToLog, golden.physicalToLogical[layer]);
      assert.deepEqual(countReplicas(phyToLog, numLogicalExperts), golden.logicalCount[layer]);
      if (golden.logicalToPhysical === null) continue;
      const logToPhy = invertLayer(phyToLog, replicaRank, numLogicalExperts, maxReplicas);
      assert.deepEqual(logToPhy, golden.logicalToPhysical[layer]);
    }
  });

  test(`the default policy gives the golden placement ${golden.name}`, () => {
    const policy = new DefaultEplbPolicy();
    const mapping = policy.rebalanceExperts(golden.weight, numReplicas, numGroups, numNodes, numRanks);
    assert.equal(mapping.maxReplicas, maxReplicas);
    assert.deepEqual([...mapping.phyToLog], golden.physicalToLogical.flat());
    assert.deepEqual([...mapping.replicaCount], golden.logicalCount.flat());
    if (golden.logicalToPhysical === null) return;
    assert.deepEqual([...mapping.logToPhy], golden.logicalToPhysical.flat(2));
  });
}

test('the default policy equals the oracle on random layers', () => {
  const policy = new DefaultEplbPolicy();
  assertForAll(layerProblemArbitrary, { small: 500, large: 30 }, ({ weight, topology }) => {
    const { numReplicas, numGroups, numNodes, numRanks } = topology;
    const mapping = policy.rebalanceExperts([weight], numReplicas, numGroups, numNodes, numRanks);
    const { phyToLog, replicaRank } = rebalanceLayer(weight, topology);
    assert.deepEqual([...mapping.phyToLog], phyToLog);
    const logToPhy = invertLayer(phyToLog, replicaRank, weight.length, mapping.maxReplicas);
    assert.deepEqual([...mapping.logToPhy], logToPhy.flat());
  });
});

test('given the previous mapping, the default policy keeps experts in their slots as the oracle does', () => {
  const policy = new DefaultEplbPolicy();
  assertForAll(layerProblemArbitrary, { small: 500, large: 30 }, ({ weight, topology }) => {
    const { numReplicas, numGroups, numNodes, numRanks } = topology;
    const rebalance = (loads: number[], previous?: ExpertMapping) =>
      policy.rebalanceExperts(
        [loads],
        numReplicas,
        numGroups,
        numNodes,
        numRanks,
        previous === undefined ? {} : { previous },
      );
    // Loads that are like the ones before, but for every third expert.
    const previous = rebalance(weight);
    const changed = weight.map((load, expert) => (expert % 3 === 0 ? weight.at(-1 - expert)! : load));
    const mapping = rebalance(changed, previous);
    const placed = rebalanceLayer(changed, topology);
    const { phyToLog, replicaRank } = preserveSlots([...previous.phyToLog], placed, numRanks);
    assert.deepEqual([...mapping.phyToLog], phyToLog);
    const logToPhy = invertLayer(phyToLog, replicaRank, weight.length, mapping.maxReplicas);
    assert.deepEqual([...mapping.logToPhy], logToPhy.flat());
  });
});

test('with nodes that do not divide the groups the default policy is the global one', () => {
  const policy = new DefaultEplbPolicy();
  const weight = Array.from({ length: 24 }, (_, expert) => (expert * 37) % 101);
  // 3 groups, 2 nodes; 8 groups, 3 nodes; more nodes than groups.
  for (const [numReplicas, numGroups, numNodes, numRanks] of [
    [32, 3, 2, 8],
    [36, 8, 3, 6],
    [32, 2, 4, 8],
  ] as const) {
    const mapping = policy.rebalanceExperts([weight], numReplicas, numGroups, numNodes, numRanks);
    const globally = policy.rebalanceExperts([weight], numReplicas, 1, 1, numRanks);
    assert.deepEqual(mapping.phyToLog, globally.phyToLog);
    const topology = { numLogicalExperts: 24, numReplicas, numGroups, numNodes, numRanks };
    assert.deepEqual([...mapping.phyToLog], rebalanceLayer(weight, topology).phyToLog);
  }
});
