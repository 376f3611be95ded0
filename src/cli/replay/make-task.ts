import { resolve } from 'node:path';
import { EplbRangeError } from '../../core/errors.ts';
import type { Topology } from '../../core/topology.ts';
import { quotePath } from '../../formats/text.ts';
import { checkClosedSlots } from '../../policy/closed-slots.ts';
import {
  COMPETITION,
  COMPETITION_INTERVAL,
  type ReplayCost,
  type TriggerOptions,
} from '../../replay/index.ts';
import { contradiction } from '../option-values.ts';
import { readStartingPlacement } from '../placement-files.ts';
import { checkPolicySlots, choosePolicy } from '../policy-choice.ts';
import { topologyFrom } from '../topology-options.ts';
import { chooseCost } from './cost-choice.ts';
import { lookAt, type RecordingSetup } from './look-at.ts';
import { type CommonReplayOptions, triggerOf } from './options.ts';
import { newControl, type ReplayTask } from './task.ts';

/** A recording with the cost model. */
export interface ReplaySetup extends RecordingSetup {
  readonly cost: ReplayCost;
}

/** What one replay differs in from the others. */
interface Variant {
  readonly policy: string;
  /** The option that names it; `--policy` when left out. */
  readonly policyOption?: string;
  readonly slots: number;
  readonly ranks: number;
  readonly slotsPerRank?: readonly number[] | undefined;
  readonly interval: number | undefined;
  readonly name: string;
  /** The file of the placement to begin with. */
  readonly startFrom?: string | undefined;
}

/** {@link lookAt}, and the cost. */
export async function setUp(
  path: string,
  options: CommonReplayOptions & { readonly startFrom?: string },
  numRanks: number,
): Promise<ReplaySetup> {
  const setup = await lookAt(path, options, numRanks);
  const { cost, notes } = await chooseCost(options, setup.facts);
  const facts = { ...setup.facts, notes: [...setup.facts.notes, ...notes] };
  return { ...setup, facts, cost };
}

/**
 * Checks a variant and makes the task that replays it.
 *
 * @throws EplbError and its subclasses, naming the option
 */
export async function taskOf(
  setup: ReplaySetup,
  variant: Variant,
  options: CommonReplayOptions,
): Promise<ReplayTask> {
  const topology = topologyFrom(setup.facts, { ...variant, nodes: options.nodes, groups: options.groups });
  const { policy, slots, ranks, interval, name, startFrom } = variant;
  const isStatic = policy === 'static';
  const isCompetition = setup.cost.name === COMPETITION.name && options.cost === COMPETITION.name;
  if (topology.slotsPerRank !== undefined && setup.cost.name === COMPETITION.name) {
    throw contradiction(
      '--slots-per-rank: --cost competition compares with the default policy, which fills all slots',
    );
  }
  const given = triggerOf(options, interval);
  const planningSeconds = options.planningTime ?? options.planningSeconds;
  const trigger: TriggerOptions | undefined =
    given ?? (isCompetition ? { interval: COMPETITION_INTERVAL } : undefined);
  return {
    path: setup.path,
    open: setup.open,
    times: setup.batch.times,
    ...(startFrom === undefined ? {} : { from: resolve(startFrom) }),
    policy: await policyText(variant, topology),
    start: await startOf(setup, variant, topology, isCompetition),
    control: newControl(),
    options: {
      numPhysicalExperts: slots,
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
      ...(planningSeconds === undefined ? {} : { planningSeconds }),
    },
  };
}

/** The policy as a worker finds it: a module's file by its whole path. */
async function policyText(
  { policy, policyOption = '--policy' }: Variant,
  topology: Topology,
): Promise<string> {
  if (policy === 'static') return policy;
  const chosen = await choosePolicy(policy, undefined, {}, { name: policyOption, others: ['static'] });
  checkPolicySlots(chosen, topology);
  return chosen instanceof URL ? chosen.href : policy;
}

async function startOf(
  { layers }: ReplaySetup,
  { startFrom }: Variant,
  topology: Topology,
  isCompetition: boolean,
): Promise<ReplayTask['start']> {
  if (startFrom !== undefined) {
    const mapping = await readStartingPlacement(startFrom, topology, layers);
    const { phyToLog } = mapping;
    checkClosedSlots(`--start-from: ${quotePath(startFrom)}`, phyToLog, topology);
    return phyToLog;
  }
  if (!isCompetition) return 'initial';
  const { numLogicalExperts, numRanks } = topology;
  if (numLogicalExperts % numRanks === 0) return 'competition';
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `--ranks: ${numRanks} does not divide the ${numLogicalExperts} experts, as the competition's first ` +
      'table needs',
  );
}
