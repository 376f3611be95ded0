import { show } from '../core/checks.ts';
import { EplbError, EplbRangeError } from '../core/errors.ts';
import { checkSource, checkStep, stepsOf } from '../formats/check-recording.ts';
import { checkedSourceLoads } from '../formats/source-loads.ts';
import { type ReplayOptions, type ReplaySettings, readReplayOptions } from './options.ts';
import { ReplayPlanner } from './plan-runner.ts';
import { ChangeClock, type RankChange } from './rank-events.ts';
import { ReplayState } from './replay-state.ts';
import type { ReplayResult, TriggerReason } from './result.ts';
import { RouteSteps } from './route-steps.ts';
import type { ReplaySource } from './source.ts';
import { Trigger } from './trigger.ts';

/** Steps between two turns of the event loop, for sources that never wait. */
const STEPS_A_TURN = 256;

/**
 * Replays a recording step by step, in the calling thread. Before each step, the layers of a plan that are
 * due change, in the planner's order. The mapping that is then live is scored on the loads of the step, and
 * the step enters the window. When the trigger fires, a plan is made from the window. Its first layers change
 * 1 + ceil(planning seconds / seconds of a step) steps later, and `layersPerStep` layers in each step from
 * then on. Layers in which no slot changes are skipped. When ranks die, what they hold is lost before the
 * step, and the mapping is repaired; see the option `events`.
 *
 * The same steps are also scored under the first mapping, and, while a plan is in effect, under the mapping
 * that it replaced. Plans are measured against these. Memory does not grow with the number of steps.
 *
 * @returns the result; if `onStep` returned false, that of the steps so far, marked `partial`
 * @throws (as a rejection) EplbTypeError and EplbRangeError for wrong options; EplbError `EPLB_MAPPING` for a
 *   plan that is not a valid mapping, `EPLB_POLICY`; EplbRangeError `EPLB_SHAPE`, `EPLB_LOAD`, `EPLB_FORMAT`
 *   for steps of another shape, with loads that are negative or not finite, or that go backwards; and
 *   whatever the source throws
 * @example
 * ```ts
 * const policy = new DefaultEplbPolicy();
 * const result = await replay(recording, { numPhysicalExperts: 80, numRanks: 16, policy });
 * result.totals.secondsSaved; // against the first mapping, never changed
 * ```
 */
export async function replay(source: ReplaySource, options: ReplayOptions): Promise<ReplayResult> {
  const settings = readReplayOptions(options, checkSource(source));
  const { routes } = source;
  const state = new ReplayState(settings, source);
  const routeSteps =
    routes !== undefined && state.takesRoutes
      ? new RouteSteps(routes, settings.topology.numLayers)
      : undefined;
  const fromStep = options.steps?.from ?? 0;
  const runner =
    settings.policy === 'static' ? undefined : new ReplayPlanner(settings, state.loads, routes, fromStep);
  try {
    await runner?.start();
    const isComplete = await replaySteps(source, options, settings, state, { runner, routeSteps });
    return state.result(isComplete ? 'complete' : 'partial', source.tokensTimes);
  } finally {
    await routeSteps?.close();
    await runner?.close();
  }
}

/** What goes on beside the scoring of steps. */
interface Sides {
  readonly runner: ReplayPlanner | undefined;
  readonly routeSteps: RouteSteps | undefined;
}

/** Returns false when the caller ended it. */
async function replaySteps(
  source: ReplaySource,
  { steps, onStep }: ReplayOptions,
  settings: ReplaySettings,
  state: ReplayState,
  { runner, routeSteps }: Sides,
): Promise<boolean> {
  const { numLayers, numLogicalExperts } = settings.topology;
  const trigger = new Trigger(settings.configuration.trigger, numLogicalExperts);
  const clock = new ChangeClock(settings.changes);
  let last = Number.NEGATIVE_INFINITY;
  for await (const recorded of stepsOf(source, steps)) {
    checkStep(recorded, numLayers, numLogicalExperts);
    const { step, loads, bytesRead } = recorded;
    if (!(step > last)) {
      throw new EplbRangeError(
        'EPLB_FORMAT',
        `recording: step ${step} comes after step ${last}; steps only go forwards`,
      );
    }
    last = step;
    // Recording takes as long as scoring twice: steps that leave the window before the next plan are passed
    // over.
    const isRecorded =
      settings.changes.length > 0 ||
      state.numSteps + 1 > trigger.earliestStart - settings.configuration.windowSize;
    const changed = changeRanks(clock.due(step), state, runner);
    // What is recorded is checked by the balancer.
    state.takeLoads(step, loads, runner === undefined || !isRecorded);
    const { numSourceRanks = 0 } = source;
    if (state.takesSources)
      state.takeSources(checkedSourceLoads(recorded, { numLayers, numLogicalExperts, numSourceRanks }));
    if (isRecorded) runner?.record(step);
    state.changeLayers(step);
    if (routeSteps !== undefined) {
      state.beginRoutes();
      await routeSteps.read(step, (ids, ...tokens) => state.addRoutes(ids, ...tokens));
    }
    state.score(step);
    if (runner !== undefined) await planIfDue(step, trigger, state, runner, settings, changed);
    if (onStep?.({ numSteps: state.numSteps, bytesRead, numPlans: state.numPlans }) === false) return false;
    if (state.numSteps % STEPS_A_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  if (state.numSteps > 0) return true;
  throw new EplbError(
    'EPLB_FORMAT',
    `recording: holds no step${steps === undefined ? '' : ` from ${show(steps.from)} to ${show(steps.to)}`}`,
  );
}

/** Changes the ranks before a step. @returns why a plan is to be made after it */
function changeRanks(
  changes: readonly RankChange[],
  state: ReplayState,
  runner: ReplayPlanner | undefined,
): readonly TriggerReason[] {
  if (changes.length === 0) return [];
  const limit = state.numLiveRanks;
  for (const change of changes) {
    const hasLoads = runner !== undefined && runner.numSamples > 0;
    const slots = state.changeRanks(change, hasLoads ? runner.meanLoads() : undefined);
    runner?.changeRanks(change.topology, slots);
  }
  return [{ kind: 'ranks', value: state.numLiveRanks, limit }];
}

async function planIfDue(
  step: number,
  trigger: Trigger,
  state: ReplayState,
  runner: ReplayPlanner,
  { configuration }: ReplaySettings,
  changed: readonly TriggerReason[],
): Promise<void> {
  if (state.isChanging) return;
  let meanLoads: Float32Array | undefined;
  const triggered = trigger.reasons(state.numSteps, {
    meanLoads: () => {
      meanLoads = runner.meanLoads();
      return meanLoads;
    },
    rankLoadImbalance: (loads) => state.rankLoadImbalance(loads),
  });
  const reasons = [...changed, ...triggered];
  if (reasons.length === 0) return;
  meanLoads ??= runner.meanLoads();
  trigger.started(state.numSteps, meanLoads);
  const plan = await runner.plan(step);
  const { planningSeconds: fixed } = configuration;
  const planningSeconds = fixed === 'measured' ? plan.measuredSeconds : fixed;
  state.begin({
    slots: plan.slots,
    layerOrder: plan.layerOrder,
    startedAfterStep: step,
    reasons,
    numSamples: runner.numSamples,
    planningSeconds,
    ...(plan.keptReason === undefined ? {} : { keptReason: plan.keptReason }),
    meanLoads,
    whenChanged: (slots) => runner.commit(plan, slots),
  });
}
