import { choosePolicy } from '../src/cli/policy-choice.ts';
import { ControlWord, type ReplayAnswer, type ReplayTask } from '../src/cli/replay/task.ts';
import { isOwnError } from '../src/core/errors.ts';
import { openRecording } from '../src/formats/open.ts';
import { type AdaptiveCostModel, ExpertMapping } from '../src/index.ts';
import { loadPolicy } from '../src/policy/custom.ts';
import { competitionStart, type ReplayOptions, type ReplayProgress, replay } from '../src/replay/index.ts';

/** Replays that this thread has begun. */
let numReplays = 0;

/** Replays one configuration from the file on: plans and scores are made in this thread. */
export async function replayInWorker(task: ReplayTask): Promise<ReplayAnswer> {
  try {
    const recording = await openRecording(task.path, task.open);
    try {
      const result = await replay(recording, await optionsOf(task, recording));
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

async function optionsOf(
  { policy, start, options, control }: ReplayTask,
  { numLayers, numLogicalExperts }: { numLayers: number; numLogicalExperts: number },
): Promise<ReplayOptions> {
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
    policy: await policyOf(policy, options),
    ...(mapping === undefined ? {} : { start: mapping }),
  };
}

/**
 * A module's policy plans in this thread, which is apart from the command as it is: it needs no further one.
 * One of the library's that needs to know what moves and steps cost is told.
 */
async function policyOf(text: string, options: ReplayTask['options']): Promise<ReplayOptions['policy']> {
  if (text === 'static') return text;
  const chosen = await choosePolicy(text, undefined, { cost: costOf(options) });
  // Loaded anew for every replay: what a module keeps must not reach from one configuration into the next.
  return chosen instanceof URL ? loadPolicy(`${chosen.href}?replay=${numReplays++}`) : chosen;
}

function costOf({ cost, trigger, windowSize }: ReplayTask['options']): AdaptiveCostModel | undefined {
  // By PAR, a load has no time of its own.
  if (cost === undefined || cost.time.kind !== 'load') return undefined;
  return {
    secondsPerLoad: cost.time.secondsPerLoad,
    bytesPerExpert: cost.bytesPerExpert,
    bandwidthWithinNode: cost.intraNodeBytesPerSecond,
    bandwidthBetweenNodes: cost.interNodeBytesPerSecond,
    stepsPerPlan: trigger?.interval ?? windowSize ?? 32,
  };
}
