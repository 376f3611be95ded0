// Fills a balancer's window with loads that differ from step to step, plans, and tells its peak memory.
import { AdaptiveEplbPolicy, DefaultEplbPolicy, ExpertLoadBalancer } from 'expert-load-balancer';
import { peakMemoryKb } from './peak-memory.mjs';

const { topology, windowSize, policy } = JSON.parse(process.argv[2]);
const { numLayers, numLogicalExperts } = topology;
const balancer = new ExpertLoadBalancer({
  ...topology,
  windowSize,
  threads: 1,
  policy: policy === 'adaptive' ? new AdaptiveEplbPolicy() : new DefaultEplbPolicy(),
});
const row = new Float32Array(numLogicalExperts);
for (let step = 0; step < windowSize; step++) {
  for (let layer = 0; layer < numLayers; layer++) {
    for (let expert = 0; expert < row.length; expert++)
      row[expert] = ((expert + 1) * (layer + 3) * (step + 7)) % 997;
    balancer.recordLogicalLoad(layer, row);
  }
  balancer.advanceWindow();
}
await balancer.rebalance();
const peakKb = peakMemoryKb();
await balancer.close();
process.stdout.write(JSON.stringify({ peakKb }));
