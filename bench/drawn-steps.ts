import type { ExpertLoadBalancer, Topology } from 'expert-load-balancer';
import { Random } from './random.ts';

/** Loads of steps: `[layers x logical]` each. */
export type Steps = readonly Float32Array[];

/**
 * Steps whose experts have a popularity that drifts, with bursts, and the chance of whole tokens: about 100
 * an expert.
 */
export function drawSteps({ numLayers, numLogicalExperts }: Topology, seed: number, numSteps: number): Steps {
  const random = new Random(seed, 'steps for the adaptive policy');
  const size = numLayers * numLogicalExperts;
  const logs = Float64Array.from({ length: size }, () => 0.8 * random.normal());
  return Array.from({ length: numSteps }, () =>
    Float32Array.from(logs, (log, i) => {
      logs[i] = 0.98 * log + 0.15 * random.normal();
      const mean = 100 * Math.exp(log + 0.3 * random.normal());
      return Math.max(0, Math.round(mean + Math.sqrt(mean) * random.normal()));
    }),
  );
}

/** Records steps of experts' loads. */
export function recordSteps(balancer: ExpertLoadBalancer, steps: Steps): void {
  const { numLayers, numLogicalExperts } = balancer.topology;
  for (const step of steps) {
    for (let layer = 0; layer < numLayers; layer++) {
      balancer.recordLogicalLoad(
        layer,
        step.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts),
      );
    }
    balancer.advanceWindow();
  }
}
