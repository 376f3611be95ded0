// Fills a balancer's window with the loads [layers x physical] on stdin, plans when asked to, and tells its
// peak memory.
import { readFileSync } from 'node:fs';
import { ExpertLoadBalancer } from 'expert-load-balancer';
import { peakMemoryKb } from './peak-memory.mjs';

const { topology, windowSize, plans } = JSON.parse(process.argv[2]);
const { numLayers, numPhysicalExperts } = topology;
const loads = new Float32Array(Uint8Array.from(readFileSync(0)).buffer);
const rows = Array.from({ length: numLayers }, (_, layer) =>
  loads.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts),
);

const balancer = new ExpertLoadBalancer({ ...topology, windowSize, threads: 1 });
for (let step = 0; step < windowSize; step++) {
  for (let layer = 0; layer < numLayers; layer++) balancer.recordLoad(layer, rows[layer]);
  balancer.advanceWindow();
}
// Every step was the same: so is their average.
const { data } = balancer.getAverageLoad();
const isRight = balancer.numSamples === windowSize && data.every((load, i) => load === loads[i]);
const digest = plans ? (await balancer.rebalance()).digest() : undefined;
const peakKb = peakMemoryKb();
await balancer.close();
process.stdout.write(JSON.stringify({ peakKb, isRight, digest }));
