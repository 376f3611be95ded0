// The first mapping of a process, by the policy alone or by a balancer with some threads. The loads come on
// stdin.
import { readFileSync } from 'node:fs';

const { topology, threads } = JSON.parse(process.argv[2]);
const data = new Float32Array(Uint8Array.from(readFileSync(0)).buffer);
const { numLayers, numLogicalExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
const weight = { data, numLayers, numExperts: numLogicalExperts };

const start = performance.now();
const { DefaultEplbPolicy, ExpertLoadBalancer } = await import('expert-load-balancer');
const imported = performance.now();
let mapping;
let balancer;
if (threads === undefined) {
  mapping = new DefaultEplbPolicy().rebalanceExperts(
    weight,
    numPhysicalExperts,
    numGroups,
    numNodes,
    numRanks,
  );
} else {
  balancer = new ExpertLoadBalancer({ ...topology, threads });
  mapping = await balancer.rebalance(weight);
}
const end = performance.now();
process.stdout.write(
  JSON.stringify({ planMs: end - imported, totalMs: end - start, digest: mapping.digest() }),
);
await balancer?.close();
