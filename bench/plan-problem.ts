import {
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertMapping,
  type LoadMatrix,
  type Topology,
} from 'expert-load-balancer';
import { assertPlacement, digestOf } from './check.ts';
import { type Limits, measure, measureAsync } from './measure.ts';
import { planReference, type ReferencePlacement } from './reference.ts';
import type { Stats } from './stats.ts';
import { makeWorkload, type Workload } from './workloads.ts';

/** A workload as a balancer plans it, from the mapping it begins with, and what the plan has to be. */
export interface PlanProblem {
  readonly workload: Workload;
  readonly previous: ExpertMapping;
  readonly expected: ReferencePlacement;
  readonly digest: string;
}

/** How a balancer gets the loads of a plan. */
export type LoadSource = 'copied' | 'on shared memory' | 'from the window';

export function makeProblem(topology: Topology, seed: number): PlanProblem {
  const workload = makeWorkload(topology, 'zipf', seed);
  const { mapping: previous } = new ExpertLoadBalancer({ ...topology, threads: 0, windowSize: 1 });
  const expected = planReference(workload.loads, topology, previous.phyToLog);
  return { workload, previous, expected, digest: digestOf(expected, topology) };
}

/** The policy in this thread, keeping slots as a balancer has it do. */
export function timeInline({ workload, previous, expected }: PlanProblem, limits: Limits): Promise<Stats> {
  const { topology, loads, size } = workload;
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const policy = new DefaultEplbPolicy();
  return measure(
    limits,
    () => policy.rebalanceExperts(loads, numPhysicalExperts, numGroups, numNodes, numRanks, { previous }),
    (mapping) => assertPlacement(mapping, expected, `${size} inline`),
  );
}

/** `plan()` of a balancer with some threads, from the call to the resolved promise. */
export async function timePooled(
  { workload, expected }: PlanProblem,
  threads: number,
  limits: Limits,
  source: LoadSource = 'copied',
): Promise<Stats> {
  const { topology, loads, size } = workload;
  await using balancer = new ExpertLoadBalancer({ ...topology, threads, windowSize: 1 });
  if (source === 'from the window') recordStep(balancer, loads);
  const weight = { copied: loads, 'on shared memory': onSharedMemory(loads), 'from the window': undefined }[
    source
  ];
  // Awaited here: the balancer is closed when this function ends.
  return await measureAsync(
    limits,
    () => balancer.plan(weight),
    (mapping) => assertPlacement(mapping, expected, `${size}, ${threads} threads, loads ${source}`),
  );
}

/** Records the loads as one step, so that they are the window's average. */
function recordStep(balancer: ExpertLoadBalancer, { data, numLayers, numExperts }: LoadMatrix): void {
  for (let layer = 0; layer < numLayers; layer++) {
    balancer.recordLogicalLoad(layer, data.subarray(layer * numExperts, (layer + 1) * numExperts));
  }
  balancer.advanceWindow();
}

function onSharedMemory({ data, numLayers, numExperts }: LoadMatrix): LoadMatrix {
  const shared = new Float32Array(new SharedArrayBuffer(data.byteLength));
  shared.set(data);
  return { data: shared, numLayers, numExperts };
}
