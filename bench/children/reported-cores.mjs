// The first plan of a process whose system reports some number of cores: how long it takes, and the peak
// memory.
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { peakMemoryKb } from './peak-memory.mjs';

const { topology, cores } = JSON.parse(process.argv[2]);
os.availableParallelism = () => cores;
syncBuiltinESMExports();
const { ExpertLoadBalancer } = await import('expert-load-balancer');
const start = performance.now();
const balancer = new ExpertLoadBalancer(topology);
const { numLayers, numLogicalExperts: numExperts } = topology;
const data = Float32Array.from({ length: numLayers * numExperts }, (_, i) => (i * 7919) % 1013);
await balancer.plan({ data, numLayers, numExperts });
const planMs = performance.now() - start;
const peakKb = peakMemoryKb();
await balancer.close();
process.stdout.write(JSON.stringify({ planMs, peakKb }));
