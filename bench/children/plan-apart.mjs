// A thread that makes plans of its own, in its own memory, whenever it is let go.
import { parentPort, workerData } from 'node:worker_threads';
import { AdaptiveEplbPolicy, DefaultEplbPolicy, ExpertLoadBalancer } from 'expert-load-balancer';

const { words, job } = workerData;
const { topology, policy, numSteps } = job;
const { numLayers, numLogicalExperts: numExperts } = topology;
const balancer = new ExpertLoadBalancer({
  ...topology,
  threads: 0,
  windowSize: Math.max(1, numSteps),
  policy: policy === 'default' ? new DefaultEplbPolicy() : new AdaptiveEplbPolicy({ rememberedSteps: 0 }),
});
let state = 1;
const draw = () => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor(4000 * (state / 2 ** 32) ** 3);
};
const rows = () => Float32Array.from({ length: numLayers * numExperts }, draw);
for (let step = 0; step < numSteps; step++) {
  const data = rows();
  for (let layer = 0; layer < numLayers; layer++)
    balancer.recordLogicalLoad(layer, data.subarray(layer * numExperts, (layer + 1) * numExperts));
  balancer.advanceWindow();
}
const weight = numSteps === 0 ? { data: rows(), numLayers, numExperts } : undefined;
parentPort.postMessage('ready');
for (let plans = 1; ; plans++) {
  Atomics.wait(words, 0, plans - 1);
  await balancer.plan(weight);
  parentPort.postMessage('done');
}
