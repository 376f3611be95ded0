import { isOwnError } from '../core/errors.ts';
import { ratio } from '../formats/number-text.ts';
import type { LoadRecording } from '../formats/recording.ts';
import {
  type AbstractEplbPolicy,
  CoactivationRecorder,
  ExpertLoadBalancer,
  type ExpertMapping,
  type Topology,
} from '../index.ts';
import { usesPairs } from '../policy/abstract.ts';
import { checkClosedSlots } from '../policy/closed-slots.ts';
import { layoutOf, measurePlan, type PlanMeasures, type PlanReport } from './plan-report.ts';
import { type PlanLayout, type PlanStart, relaid } from './plan-start.ts';
import type { Progress } from './progress.ts';
import { type KnownRange, sumLoads, unitOf } from './recorded-loads.ts';
import { SampleRuns } from './sample-runs.ts';

/** What is to be planned. */
interface PlanTask {
  readonly recording: LoadRecording;
  /** The tokens of routes, or the steps, to use. */
  readonly range: KnownRange;
  readonly layout: PlanLayout;
  readonly policy: AbstractEplbPolicy | URL;
  /** Worker threads; the library's own choice when left out. */
  readonly threads: number | undefined;
  /** The placement to start from; the initial mapping when left out. */
  readonly start: PlanStart | undefined;
  /** Whether the placement that it starts from stays when it balances the loads better. */
  readonly keepBetter: boolean;
}

/** A finished plan and what was measured of it. */
interface MeasuredPlan {
  readonly mapping: ExpertMapping;
  /** Why the policy keeps the placement it started from; null when it plans another. */
  readonly kept: PlanReport['kept'];
  /** What is doubtful about the plan. */
  readonly notes: readonly string[];
  readonly measures: PlanMeasures;
  readonly planningMs: number;
  readonly threads: number;
}

/** Counts the loads, plans on them, and measures the plan against the placement it started from. */
export async function makePlan(task: PlanTask, progress: Progress): Promise<MeasuredPlan> {
  const { recording, range, layout, policy, threads } = task;
  const { topology } = layout;
  // Made first: it is what refuses a topology whose memory would not fit.
  await using balancer = new ExpertLoadBalancer({
    ...topology,
    policy,
    windowSize: 1,
    ...(threads === undefined ? {} : { threads }),
  });
  // Not made live: it may have experts in slots that are closed now.
  const previous = layout.previous ?? balancer.mapping;
  const pairs = pairRecorder(task);
  const maxSamples = policy instanceof URL ? 0 : policy.maxSamples;
  const samples = maxSamples === 0 ? undefined : new SampleRuns(recording, range, maxSamples);
  const loads = await sumLoads(recording, range, progress, { pairs, samples });
  const options = {
    previous,
    ...(pairs === undefined ? {} : { coactivation: pairs.matrix() }),
    ...(samples === undefined ? {} : { samples: samples.toSamples(unitOf(recording)) }),
  };

  await balancer.start();
  const started = performance.now();
  const decision = await watched(balancer, progress, () => balancer.decide(loads, options));
  const planningMs = performance.now() - started;
  const sides = { previous, start: task.start, layout };
  const planned = measurePlan(loads, decision.mapping, sides);
  const mapping = resultOf(decision.mapping, layout);
  const common = { planningMs, threads: balancer.threads };
  const [before, after] = [planned.before, planned.after].map((one) => one.balancednessRatioOfSums) as [
    number,
    number,
  ];
  if (after >= before || layout.isOther) {
    const kept = decision.status === 'kept' ? decision.reason : null;
    return { ...common, mapping, kept, notes: [], measures: planned };
  }
  const worse =
    `the plan of the policy balances these loads worse than what it starts from: balancedness ` +
    `${ratio(before)} before, ${ratio(after)} after`;
  if (!task.keepBetter || !canStay(previous, topology)) {
    return {
      ...common,
      mapping,
      kept: null,
      notes: [`${worse}; --keep-better keeps the better`],
      measures: planned,
    };
  }
  const measures = measurePlan(loads, previous, sides);
  return {
    ...common,
    mapping: resultOf(previous, layout),
    kept: 'the plan balances worse',
    notes: [worse],
    measures,
  };
}

/** A mapping of the plan on the ranks that were asked for. */
function resultOf(mapping: ExpertMapping, { topology, asked }: PlanLayout): ExpertMapping {
  return relaid(mapping, layoutOf(topology), layoutOf(asked));
}

/** Whether a placement has no expert in a slot that is closed now. */
function canStay(mapping: ExpertMapping, topology: Topology): boolean {
  try {
    checkClosedSlots('--start-from', mapping.phyToLog, topology);
    return true;
  } catch (error) {
    if (isOwnError(error)) return false;
    throw error;
  }
}

/** Counts which experts are routed together, which only routes show, for policies that may use it. */
function pairRecorder({ recording, policy }: PlanTask): CoactivationRecorder | undefined {
  if (recording.routes === undefined) return undefined;
  if (!usesPairs(policy)) return undefined;
  return new CoactivationRecorder({
    numLayers: recording.numLayers,
    numExperts: recording.numLogicalExperts,
  });
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
