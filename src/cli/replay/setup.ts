import { resolve } from 'node:path';
import { checkMultiple } from '../../checks.ts';
import { EplbRangeError } from '../../errors.ts';
import { openRecording } from '../../formats/open.ts';
import type { OpenOptions } from '../../formats/open-options.ts';
import type { LayersBeside } from '../../formats/placements/align.ts';
import type { LoadRecording } from '../../formats/recording.ts';
import {
  COMPETITION,
  COMPETITION_INTERVAL,
  type CostModel,
  type RecordingFacts,
  type StepRange,
  type TriggerOptions,
} from '../../replay/index.ts';
import { resolveRange } from '../option-values.ts';
import { readPlacement } from '../placement.ts';
import { choosePolicy } from '../policy-choice.ts';
import { chooseCost } from './cost-choice.ts';
import { type CommonReplayOptions, contradiction, type RecordingOptions, triggerOf } from './options.ts';
import type { WorkSize } from './run.ts';
import { newControl, type ReplayTask } from './task.ts';

/** A recording that was looked at: what all replays of it share. */
export interface RecordingSetup {
  readonly path: string;
  readonly open: OpenOptions;
  readonly facts: RecordingFacts;
  readonly range: StepRange;
  readonly size: WorkSize;
  /** The model's numbers of its layers, where known. */
  readonly layers: LayersBeside;
}

/** A recording with the cost model. */
export interface ReplaySetup extends RecordingSetup {
  readonly cost: CostModel;
}

/** What one replay differs in from the others. */
export interface Variant {
  readonly policy: string;
  readonly replicas: number;
  readonly ranks: number;
  readonly interval: number | undefined;
  readonly name: string;
  /** The file of the placement to begin with. */
  readonly from?: string | undefined;
}

/** Opens the recording, to learn its shape and how many steps there are, and closes it again: the workers read it. */
export async function lookAt(path: string, options: RecordingOptions): Promise<RecordingSetup> {
  const open: OpenOptions = {
    format: options.format,
    numExperts: options.experts,
    tokensPerStep: options.tokensPerStep,
  };
  const recording = await openRecording(path, open);
  try {
    const range = await rangeOf(recording, options);
    const { format, numLayers, numLogicalExperts, notes, numBytes, routes } = recording;
    const { from = 0, to = recording.numSteps ?? null } = range;
    const numSteps = to === null ? undefined : to - from;
    return {
      path: resolve(path),
      open,
      range,
      size: { numSteps, numBytes },
      layers: { numLayers, layerNumbers: recording.layerNumbers },
      facts: {
        path,
        format,
        numLayers,
        numLogicalExperts,
        steps: { from, to },
        notes,
        tokensPerStep: routes?.tokensPerStep ?? null,
      },
    };
  } finally {
    await recording.close();
  }
}

/** {@link lookAt}, and the cost model. */
export async function setUp(path: string, options: CommonReplayOptions): Promise<ReplaySetup> {
  const setup = await lookAt(path, options);
  return { ...setup, cost: await chooseCost(options.cost, setup.facts) };
}

/** Checks a variant and makes the task that replays it. @throws EplbError and its subclasses, naming the option */
export async function taskOf(
  setup: ReplaySetup,
  variant: Variant,
  options: CommonReplayOptions,
): Promise<ReplayTask> {
  checkSizes(setup.facts, variant, options);
  const { policy, replicas, ranks, interval, name } = variant;
  const isStatic = policy === 'static';
  const isCompetition = setup.cost.name === COMPETITION.name && options.cost === COMPETITION.name;
  const given = triggerOf(options, interval);
  const trigger: TriggerOptions | undefined =
    given ?? (isCompetition ? { interval: COMPETITION_INTERVAL } : undefined);
  return {
    path: setup.path,
    open: setup.open,
    policy: await policyText(policy),
    start: await startOf(setup, variant, options, isCompetition),
    control: newControl(),
    options: {
      numPhysicalExperts: replicas,
      numRanks: ranks,
      numNodes: options.nodes,
      numGroups: options.groups,
      layersPerStep: options.layersPerStep,
      cost: setup.cost,
      steps: setup.range,
      name,
      policyName: policy,
      ...(isStatic || trigger === undefined ? {} : { trigger }),
      ...(options.window === undefined ? {} : { windowSize: options.window }),
      ...(options.planningSeconds === undefined ? {} : { planningSeconds: options.planningSeconds }),
    },
  };
}

/** Refuses options that a placement which is never planned anew has no use for. */
export function checkStatic(options: CommonReplayOptions & { readonly interval?: number }): void {
  const useless = {
    '--interval': options.interval,
    '--threshold': options.threshold,
    '--drift': options.drift,
    '--window': options.window,
    '--planning-seconds': options.planningSeconds,
  };
  const given = Object.entries(useless).find(([, value]) => value !== undefined);
  if (given !== undefined) throw contradiction(`${given[0]}: --policy static never plans`);
}

async function rangeOf(recording: LoadRecording, { steps }: RecordingOptions): Promise<StepRange> {
  if (steps === undefined) return {};
  let length = recording.numSteps;
  if (length === undefined) {
    length = 0;
    for await (const { step } of recording.steps()) length = step + 1;
  }
  return resolveRange(steps, length, 'step');
}

function checkSizes(
  { numLogicalExperts }: RecordingFacts,
  { replicas, ranks }: Variant,
  { nodes, groups }: CommonReplayOptions,
): void {
  if (replicas < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `--replicas: ${replicas} is less than the ${numLogicalExperts} logical experts; every expert needs a slot`,
    );
  }
  checkMultiple('--replicas', replicas, '--ranks', ranks);
  checkMultiple('--ranks', ranks, '--nodes', nodes);
  if (numLogicalExperts % groups === 0) return;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `--groups: ${groups} does not divide the ${numLogicalExperts} logical experts evenly`,
  );
}

/** The policy as a worker finds it: a module's file by its whole path. */
async function policyText(policy: string): Promise<string> {
  if (policy === 'static') return policy;
  const chosen = await choosePolicy(policy, undefined);
  return chosen instanceof URL ? chosen.href : policy;
}

async function startOf(
  { facts, layers }: ReplaySetup,
  { ranks, replicas, from }: Variant,
  { nodes, groups }: CommonReplayOptions,
  isCompetition: boolean,
): Promise<ReplayTask['start']> {
  const { numLayers, numLogicalExperts } = facts;
  if (from !== undefined) {
    const sizes = { numPhysicalExperts: replicas, numRanks: ranks, numNodes: nodes, numGroups: groups };
    return (await readPlacement(from, { numLayers, numLogicalExperts, ...sizes }, layers)).phyToLog;
  }
  if (!isCompetition) return 'initial';
  if (numLogicalExperts % ranks === 0) return 'competition';
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `--ranks: ${ranks} does not divide the ${numLogicalExperts} experts, as the competition's first table needs`,
  );
}
