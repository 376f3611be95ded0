import { isOwnError } from '../core/errors.ts';
import { ratio } from '../formats/number-text.ts';
import type { LoadRecording } from '../formats/recording.ts';
import {
  type AbstractEplbPolicy,
  brokenRules,
  CoactivationRecorder,
  type Dispatch,
  ExpertLoadBalancer,
  type ExpertMapping,
  type LoadMatrix,
  type PlanDecision,
  type PlanOptions,
  survival,
  type Topology,
} from '../index.ts';
import { rankLayoutOf } from '../mapping/relay-ranks.ts';
import { usesPairs } from '../policy/abstract.ts';
import { checkClosedSlots } from '../policy/closed-slots.ts';
import {
  measurePlan,
  type PlanMeasures,
  type PlannedSurvival,
  type PlanReport,
  type PlanSides,
} from './plan-report.ts';
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
  /** The level of failures that load is to survive, and the same policy without that. */
  readonly goal: { readonly level: string; readonly without: AbstractEplbPolicy | URL } | undefined;
  /** Which copies tokens take. */
  readonly dispatch: Dispatch | undefined;
}

/** A finished plan and what was measured of it. */
interface MeasuredPlan {
  readonly mapping: ExpertMapping;
  /** Why the policy keeps the placement it started from; null when it plans another. */
  readonly kept: PlanReport['kept'];
  /** What is doubtful about the plan. */
  readonly notes: readonly string[];
  readonly measures: PlanMeasures;
  readonly survival: PlannedSurvival | null;
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
  const { start, dispatch } = task;
  const sides = { previous, start, layout, dispatch };
  const chosen = chooseResult(task, decision, loads, sides);
  const survival = await survivalOf(task, chosen.mapping, loads, options, sides);
  return { ...chosen, survival, planningMs, threads: balancer.threads };
}

/** The plan, or what it starts from where that is to be kept. */
function chooseResult(
  { layout, keepBetter }: PlanTask,
  decision: PlanDecision,
  loads: LoadMatrix,
  sides: PlanSides,
): Pick<MeasuredPlan, 'mapping' | 'kept' | 'notes' | 'measures'> {
  const measures = measurePlan(loads, decision.mapping, sides);
  const mapping = resultOf(decision.mapping, layout);
  const before = measures.before.balancednessRatioOfSums;
  const after = measures.after.balancednessRatioOfSums;
  if (after >= before || layout.isOther) {
    const kept = decision.status === 'kept' ? decision.reason : null;
    return { mapping, kept, notes: [], measures };
  }
  const worse =
    `the plan of the policy balances these loads worse than what it starts from: balancedness ` +
    `${ratio(before)} before, ${ratio(after)} after`;
  if (!keepBetter || !canStay(sides.previous, layout.topology)) {
    return { mapping, kept: null, notes: [`${worse}; --keep-better keeps the better`], measures };
  }
  return {
    mapping: resultOf(sides.previous, layout),
    kept: 'the plan balances worse',
    notes: [worse],
    measures: measurePlan(loads, sides.previous, sides),
  };
}

/** What of a plan survives any single failure, beside what the policy would plan without that. */
async function survivalOf(
  { goal, layout, threads }: PlanTask,
  mapping: ExpertMapping,
  loads: LoadMatrix,
  options: PlanOptions,
  sides: PlanSides,
): Promise<PlannedSurvival | null> {
  if (goal === undefined) return null;
  const { level, without: policy } = goal;
  const { numDomains, overall } = survival(mapping, { level, topology: layout.asked, loads });
  const workers = threads === undefined ? {} : { threads };
  await using balancer = new ExpertLoadBalancer({ ...layout.topology, policy, windowSize: 1, ...workers });
  const decision = await balancer.decide(loads, options);
  const { after, moves } = measurePlan(loads, decision.mapping, sides);
  return { level, numDomains, overall, without: { after, moves } };
}

/** A mapping of the plan on the ranks that were asked for. */
function resultOf(mapping: ExpertMapping, { topology, asked }: PlanLayout): ExpertMapping {
  return relaid(mapping, rankLayoutOf(topology), rankLayoutOf(asked));
}

/** Whether a placement has no expert in a slot that is closed now, and breaks no rule. */
function canStay(mapping: ExpertMapping, topology: Topology): boolean {
  try {
    checkClosedSlots('--start-from', mapping.phyToLog, topology);
    return brokenRules(mapping, topology).length === 0;
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
