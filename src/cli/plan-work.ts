import {
  type AbstractEplbPolicy,
  CoactivationRecorder,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertMapping,
  type PlanOptions,
  type Topology,
} from '../index.ts';
import { readPlacement } from './placement.ts';
import { measurePlan, type PlanMeasures } from './plan-report.ts';
import type { Progress } from './progress.ts';
import type { Recording } from './recording/interpret.ts';
import { sumLoads } from './recording/loads.ts';

/** What is to be planned. */
export interface PlanTask {
  readonly recording: Recording;
  /** The tokens or steps to use, half-open. */
  readonly range: { readonly from: number; readonly to: number };
  readonly topology: Topology;
  readonly policy: AbstractEplbPolicy | URL;
  /** Worker threads; the library's own choice when left out. */
  readonly threads: number | undefined;
  /** The file of the placement to start from; the initial mapping when left out. */
  readonly from: string | undefined;
}

/** A finished plan and what was measured of it. */
export interface PlanResult {
  readonly mapping: ExpertMapping;
  readonly measures: PlanMeasures;
  readonly planningMs: number;
  readonly threads: number;
}

/** Tokens whose pairs of experts are counted between two looks at the bar. */
const PAIRS_PIECE = 4096;

/** Counts the loads, plans on them, and measures the plan against the placement it started from. */
export async function makePlan(task: PlanTask, progress: Progress): Promise<PlanResult> {
  const { recording, range, topology, policy, threads } = task;
  // Made first: it is what refuses a topology whose memory would not fit.
  await using balancer = new ExpertLoadBalancer({
    ...topology,
    policy,
    windowSize: 1,
    ...(threads === undefined ? {} : { threads }),
  });
  if (task.from !== undefined) balancer.commit(await readPlacement(task.from, topology));
  const previous = balancer.mapping;

  progress.begin('counting', range.to - range.from, recording.kind === 'routes' ? 'tokens' : 'steps');
  const loads = sumLoads(recording, range.from, range.to, (done) => progress.update(done));
  const options = planOptions(task, progress);

  await balancer.start();
  const started = performance.now();
  const mapping = await watched(balancer, progress, () => balancer.plan(loads, options));
  const planningMs = performance.now() - started;
  const measures = measurePlan(loads, previous, mapping, topology.numRanks);
  return { mapping, measures, planningMs, threads: balancer.threads };
}

/** Which experts are routed together, which only routes tell; every policy but the default may use it. */
function planOptions({ recording, range, policy }: PlanTask, progress: Progress): PlanOptions {
  if (recording.kind !== 'routes' || policy instanceof DefaultEplbPolicy) return {};
  const { data, numLayers, numExperts, topK } = recording;
  const recorder = new CoactivationRecorder({ numLayers, numExperts });
  progress.begin('counting pairs', range.to - range.from, 'tokens');
  for (let token = range.from; token < range.to; token += PAIRS_PIECE) {
    const end = Math.min(range.to, token + PAIRS_PIECE);
    recorder.record(data.subarray(token * numLayers * topK, end * numLayers * topK), end - token, topK);
    progress.update(end - range.from);
  }
  return { coactivation: recorder.matrix() };
}

/** Runs a plan while the bar follows it. */
async function watched<T>(
  balancer: ExpertLoadBalancer,
  progress: Progress,
  work: () => Promise<T>,
): Promise<T> {
  const { numLayers } = balancer.mapping;
  progress.begin('planning', numLayers, 'layers');
  const timer = setInterval(() => progress.update(balancer.planProgress.layersDone), 100);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    progress.stop();
  }
}
