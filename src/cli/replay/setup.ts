import { resolve } from 'node:path';
import { checkMultiple } from '../../core/checks.ts';
import { EplbRangeError } from '../../core/errors.ts';
import { checkSlotsPerRank, type Topology } from '../../core/topology.ts';
import { openRecording } from '../../formats/open.ts';
import type { OpenOptions } from '../../formats/open-options.ts';
import type { LayersBeside } from '../../formats/placements/align.ts';
import type { LoadRecording } from '../../formats/recording.ts';
import { checkClosedSlots } from '../../policy/closed-slots.ts';
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
import { checkPolicySlots, choosePolicy } from '../policy-choice.ts';
import { partNotes } from '../recorded-loads.ts';
import { quotePath } from '../text.ts';
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
  readonly slotsPerRank?: readonly number[] | undefined;
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
        notes: [...notes, ...notesOfPart(recording, range)],
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
  const topology = topologyOf(setup.facts, variant, options);
  const { policy, replicas, ranks, interval, name } = variant;
  const isStatic = policy === 'static';
  const isCompetition = setup.cost.name === COMPETITION.name && options.cost === COMPETITION.name;
  if (topology.slotsPerRank !== undefined && setup.cost.name === COMPETITION.name) {
    throw contradiction(
      '--slots-per-rank: --cost competition compares with the default policy, which fills all slots',
    );
  }
  const given = triggerOf(options, interval);
  const trigger: TriggerOptions | undefined =
    given ?? (isCompetition ? { interval: COMPETITION_INTERVAL } : undefined);
  return {
    path: setup.path,
    open: setup.open,
    policy: await policyText(policy, topology),
    start: await startOf(setup, variant, topology, isCompetition),
    control: newControl(),
    options: {
      numPhysicalExperts: replicas,
      numRanks: ranks,
      numNodes: options.nodes,
      numGroups: options.groups,
      ...(topology.slotsPerRank === undefined ? {} : { slotsPerRank: topology.slotsPerRank }),
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

/** A range that was asked for and is all there is needs no note. */
function notesOfPart(recording: LoadRecording, { from, to }: StepRange): string[] {
  const of = recording.numSteps;
  if (from === undefined || to === undefined || of === undefined) return [];
  return partNotes(recording, { from, to, of });
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

function topologyOf(
  { numLayers, numLogicalExperts }: RecordingFacts,
  { replicas, ranks, slotsPerRank: given }: Variant,
  { nodes, groups }: CommonReplayOptions,
): Topology {
  if (replicas < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `--replicas: ${replicas} is less than the ${numLogicalExperts} logical experts; every expert needs a slot`,
    );
  }
  checkMultiple('--replicas', replicas, '--ranks', ranks);
  checkMultiple('--ranks', ranks, '--nodes', nodes);
  if (numLogicalExperts % groups !== 0) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `--groups: ${groups} does not divide the ${numLogicalExperts} logical experts evenly`,
    );
  }
  const sizes = {
    numLayers,
    numLogicalExperts,
    numPhysicalExperts: replicas,
    numRanks: ranks,
    numNodes: nodes,
    numGroups: groups,
  };
  const slotsPerRank = checkSlotsPerRank(given, sizes, '--slots-per-rank');
  return slotsPerRank === undefined ? sizes : { ...sizes, slotsPerRank };
}

/** The policy as a worker finds it: a module's file by its whole path. */
async function policyText(policy: string, topology: Topology): Promise<string> {
  if (policy === 'static') return policy;
  const chosen = await choosePolicy(policy, undefined);
  checkPolicySlots(chosen, topology);
  return chosen instanceof URL ? chosen.href : policy;
}

async function startOf(
  { layers }: ReplaySetup,
  { from }: Variant,
  topology: Topology,
  isCompetition: boolean,
): Promise<ReplayTask['start']> {
  if (from !== undefined) {
    const mapping = await readPlacement(from, topology, layers);
    const { phyToLog } = mapping;
    checkClosedSlots(`--from: ${quotePath(from)}`, phyToLog, topology);
    return phyToLog;
  }
  if (!isCompetition) return 'initial';
  const { numLogicalExperts, numRanks } = topology;
  if (numLogicalExperts % numRanks === 0) return 'competition';
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `--ranks: ${numRanks} does not divide the ${numLogicalExperts} experts, as the competition's first table needs`,
  );
}
