import { choosePolicy } from '../src/cli/policy-choice.ts';
import { ControlWord, type ReplayAnswer, type ReplayTask } from '../src/cli/replay/task.ts';
import { openBeside } from '../src/cli/slot-columns.ts';
import { isOwnError } from '../src/core/errors.ts';
import type { LoadRecording } from '../src/formats/recording.ts';
import { type AdaptiveCostModel, type CostModel, costModel, ExpertMapping } from '../src/index.ts';
import { loadPolicy } from '../src/policy/custom.ts';
import { secondsPerUnit } from '../src/replay/cost-model.ts';
import {
  competitionStart,
  type ReplayOptions,
  type ReplayProgress,
  replay,
  replayCost,
  resized,
} from '../src/replay/index.ts';

type Sizes = Pick<LoadRecording, 'numLayers' | 'numLogicalExperts' | 'numSteps'>;

/** Replays that this thread has begun. */
let numReplays = 0;

/** Replays one configuration from the file on: plans and scores are made in this thread. */
export async function replayInWorker(task: ReplayTask): Promise<ReplayAnswer> {
  try {
    const recording = await openBeside(task.path, task.open, task.from);
    try {
      const source = task.times === 1 ? recording : resized(recording, task.times);
      const result = await replay(source, await optionsOf(task, recording));
      return { ok: true, result };
    } finally {
      await recording.close();
    }
  } catch (error) {
    if (!(error instanceof Error)) return { ok: false, code: undefined, message: String(error) };
    const message =
      isOwnError(error) || !process.env.EPLB_DEBUG ? error.message : (error.stack ?? error.message);
    return { ok: false, code: isOwnError(error) ? error.code : undefined, message };
  }
}

async function optionsOf(task: ReplayTask, recording: Sizes): Promise<ReplayOptions> {
  const { start, options, control } = task;
  const { numLayers, numLogicalExperts } = recording;
  const sizes = { numLayers, numLogicalExperts, ...options };
  const mapping =
    start === 'initial'
      ? undefined
      : start === 'competition'
        ? competitionStart(sizes)
        : new ExpertMapping({ phyToLog: start, numLayers, numLogicalExperts });
  const onStep = ({ numSteps, bytesRead, numPlans }: ReplayProgress) => {
    Atomics.store(control, ControlWord.STEPS, numSteps);
    Atomics.store(control, ControlWord.KILOBYTES, Math.floor(bytesRead / 1000));
    Atomics.store(control, ControlWord.PLANS, numPlans);
    return Atomics.load(control, ControlWord.STOP) === 0;
  };
  return {
    ...options,
    onStep,
    policy: await policyOf(task, recording),
    ...(mapping === undefined ? {} : { start: mapping }),
  };
}

/**
 * A module's policy plans in this thread, which is apart from the command as it is: it needs no further one.
 * One of the library's that needs to know what moves and steps cost is told.
 */
async function policyOf(
  { policy, survive, options }: ReplayTask,
  recording: Sizes,
): Promise<ReplayOptions['policy']> {
  if (policy === 'static') return policy;
  const { dispatch } = options;
  const setting = { cost: costOf(options, recording), survive, dispatch };
  const chosen = await choosePolicy(policy, undefined, setting);
  // Loaded anew for every replay: what a module keeps must not reach from one configuration into the next.
  return chosen instanceof URL ? loadPolicy(`${chosen.href}?replay=${numReplays++}`) : chosen;
}

/**
 * What moves and steps cost, by the cost model that the replay is scored by: one that knows steps by their
 * PAR spreads the seconds of all steps over these.
 */
function costOf(
  { cost, steps }: ReplayTask['options'],
  recording: Sizes,
): AdaptiveCostModel | CostModel | undefined {
  if (cost === undefined) return undefined;
  const priced = replayCost('cost', cost);
  const { time, bytesPerExpert, intraNodeBytesPerSecond, interNodeBytesPerSecond } = priced;
  const moves = {
    bytesPerExpert,
    bandwidthWithinNode: intraNodeBytesPerSecond,
    bandwidthBetweenNodes: interNodeBytesPerSecond,
  };
  if (time.kind === 'load') return { ...moves, secondsPerLoad: time.secondsPerLoad };
  if (time.kind === 'slots') return costModel(time.model);
  const { from = 0, to = Number.POSITIVE_INFINITY } = steps ?? {};
  const end = Math.min(to, recording.numSteps ?? Number.POSITIVE_INFINITY);
  // Of a recording that does not say how long it is, what balance is worth is not known.
  if (end === Number.POSITIVE_INFINITY) return undefined;
  const numSteps = Math.max(0, end - from);
  return {
    ...moves,
    secondsAtBalance: secondsPerUnit(priced, numSteps, recording.numLayers),
  };
}
